//! What a transfer makes of servers that do as they should, and of those that do not.

#[path = "support/server.rs"]
mod server;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use server::{Served, Server, redirect, status};
use tally_fetch::{
    Client, Event, Expected, FetchError, Fetched, Hub, Reference, Request, Retry, VouchedBy, fetch,
};

const MAGIC: &[u8] = b"GGUF";

/// A file that begins right and repeats nowhere.
fn file(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes[..4].copy_from_slice(MAGIC);
    bytes
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

/// What happened, as words.
type Story = Arc<Mutex<Vec<String>>>;

struct Pull<'a> {
    dir: &'a Path,
    hub: String,
    token: Option<&'a str>,
    expected: Expected,
    retries: u32,
    silence: Duration,
    story: Story,
}

impl<'a> Pull<'a> {
    fn into(dir: &'a Path) -> Self {
        Self {
            dir,
            hub: Hub::PUBLIC.to_owned(),
            token: None,
            expected: Expected::default(),
            retries: 0,
            silence: Duration::from_secs(60),
            story: Story::default(),
        }
    }

    fn from(&self, reference: &str) -> Result<Fetched, FetchError> {
        let hub = Hub::at(&self.hub).expect("the hub has an address");
        let reference = Reference::parse(reference, &hub).expect("the reference is one");
        let client = Client::with_silence(
            hub,
            self.token.map(|token| token.to_owned().into()),
            self.silence,
        );
        let request = Request {
            reference: &reference,
            expected: self.expected,
            magic: ("GGUF", MAGIC),
            retry: Retry {
                times: self.retries,
                pause: Duration::from_millis(1),
            },
        };
        let story = self.story.clone();
        fetch(&client, &request, self.dir, &mut |event| {
            let mut story = story.lock().expect("one thread");
            match event {
                Event::Begun { have, .. } => story.push(format!("from {have}")),
                Event::Again { reason } => story.push(format!("again: {reason}")),
                Event::Waiting { .. } => story.push("waiting".to_owned()),
                _ => {}
            }
        })
    }

    fn story(&self) -> String {
        self.story.lock().expect("one thread").join("; ")
    }
}

fn contents(fetched: &Fetched) -> Vec<u8> {
    std::fs::read(fetched.part.path()).expect("the file is there")
}

fn files_in(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[test]
fn a_whole_file_comes_with_its_hashes() {
    let bytes = file(700_000);
    let served = Served::new(bytes.clone());
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let fetched = Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect("it comes");
    assert_eq!(contents(&fetched), bytes);
    assert_eq!(fetched.bytes, 700_000);
    assert_eq!(fetched.checksums.sha256, sha256(&bytes));
    assert_eq!(fetched.checksums.blake3, *blake3::hash(&bytes).as_bytes());
    assert_eq!(fetched.vouched_by, VouchedBy::Nobody);
    assert_eq!(
        server.asked()[0].header("accept-encoding"),
        Some("identity")
    );
    fetched.part.remove().expect("it can be removed");
    assert_eq!(files_in(dir.path()), 0);
}

#[test]
fn a_file_without_an_announced_length_comes_whole() {
    let bytes = file(300_000);
    let served = Served {
        chunked: true,
        ..Served::new(bytes.clone())
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let fetched = Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect("it comes");
    assert_eq!(contents(&fetched), bytes);
}

/// The connection breaks at every possible kind of place, again and again, within one call.
#[test]
fn a_connection_that_breaks_is_made_again_and_brings_only_the_rest() {
    let bytes = file(1 << 20);
    let served = Served {
        cut_after: Some(200_001),
        ..Served::new(bytes.clone())
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let pull = Pull {
        retries: 1,
        ..Pull::into(dir.path())
    };
    let fetched = pull
        .from(&server.url("m.gguf"))
        .expect("it comes in the end");
    assert_eq!(contents(&fetched), bytes);
    let asked: Vec<_> = server
        .asked()
        .iter()
        .map(|asked| asked.from().unwrap_or(0))
        .collect();
    assert_eq!(asked, [0, 200_001, 400_002, 600_003, 800_004, 1_000_005]);
    assert!(
        server.asked()[1..]
            .iter()
            .all(|asked| asked.header("if-range") == Some("\"v1\""))
    );
}

/// The connection stands and nothing comes over it any more: the commonest way in which a long download ends.
#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let bytes = file(1 << 20);
    let whole = Served::new(bytes.clone());
    let silent = Served {
        cut_after: Some(300_000),
        hold: true,
        ..whole.clone()
    };
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => silent.answer(asked, wire),
            _ => whole.answer(asked, wire),
        },
    );
    let dir = dir();
    let pull = Pull {
        retries: 1,
        silence: Duration::from_millis(300),
        ..Pull::into(dir.path())
    };
    let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
    assert_eq!(contents(&fetched), bytes);
    assert_eq!(pull.story(), "from 0; waiting; from 300000");
}

#[test]
fn what_was_left_is_gone_on_with_by_the_next_call() {
    let bytes = file(1 << 20);
    let cut = Served {
        cut_after: Some(300_000),
        ..Served::new(bytes.clone())
    };
    let whole = Served::new(bytes.clone());
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => cut.answer(asked, wire),
            _ => whole.answer(asked, wire),
        },
    );
    let dir = dir();
    let pull = Pull::into(dir.path());
    let error = pull
        .from(&server.url("m.gguf"))
        .expect_err("the connection is cut");
    assert!(
        matches!(
            error,
            FetchError::Interrupted {
                have: 300_000,
                total: Some(1_048_576),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.is_resumable());
    let left = tally_fetch::unfinished(dir.path());
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].have, left[0].total), (300_000, Some(1 << 20)));
    assert_eq!(left[0].source, server.url("m.gguf"));
    let fetched = pull.from(&server.url("m.gguf")).expect("the rest comes");
    assert_eq!(contents(&fetched), bytes);
    assert_eq!(fetched.resumed_from, 300_000);
    assert_eq!(pull.story(), "from 0; from 300000");
}

#[test]
fn a_whole_part_needs_no_server() {
    let bytes = file(50_000);
    let served = Served::new(bytes.clone());
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let pull = Pull::into(dir.path());
    drop(pull.from(&server.url("m.gguf")).expect("it comes"));
    let again = pull.from(&server.url("m.gguf")).expect("it is there");
    assert_eq!(contents(&again), bytes);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_server_without_ranges_begins_again_and_that_is_said() {
    let bytes = file(600_000);
    let served = Served {
        ranges: false,
        ..Served::new(bytes.clone())
    };
    let cut = Served {
        cut_after: Some(250_000),
        ..served.clone()
    };
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => cut.answer(asked, wire),
            _ => served.answer(asked, wire),
        },
    );
    let dir = dir();
    let pull = Pull {
        retries: 1,
        ..Pull::into(dir.path())
    };
    let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
    assert_eq!(contents(&fetched), bytes);
    assert_eq!(
        pull.story(),
        "from 0; waiting; again: the server sends the whole file when it is asked for the rest; from 0"
    );
    assert_eq!(
        server.asked().len(),
        2,
        "the whole answer is used, not asked for again"
    );
}

#[test]
fn two_versions_are_never_mixed() {
    let (old, new) = (file(600_000), {
        let mut new = file(600_000);
        new[4..].reverse();
        new
    });
    let first = Served {
        cut_after: Some(250_000),
        ..Served::new(old)
    };
    let then = Served {
        etag: Some("\"v2\"".to_owned()),
        ..Served::new(new.clone())
    };
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => first.answer(asked, wire),
            _ => then.answer(asked, wire),
        },
    );
    let dir = dir();
    let pull = Pull {
        retries: 1,
        ..Pull::into(dir.path())
    };
    let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
    assert_eq!(contents(&fetched), new);
    assert!(
        pull.story().contains("has changed on the server"),
        "{}",
        pull.story()
    );
}

/// The length is the same, the range is the one that was asked for, and the bytes are of another file.
#[test]
fn a_rest_of_another_version_is_not_glued_on_by_a_server_that_ignores_if_range() {
    let (old, new) = (file(600_000), {
        let mut new = file(600_000);
        new[4..].reverse();
        new
    });
    let first = Served {
        cut_after: Some(250_000),
        ..Served::new(old)
    };
    let then = Served {
        etag: Some("\"v2\"".to_owned()),
        hears_if_range: false,
        ..Served::new(new.clone())
    };
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => first.answer(asked, wire),
            _ => then.answer(asked, wire),
        },
    );
    let dir = dir();
    let pull = Pull {
        retries: 1,
        ..Pull::into(dir.path())
    };
    let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
    assert_eq!(contents(&fetched), new);
    assert_eq!(server.asked()[1].from(), Some(250_000));
    assert_eq!(
        pull.story(),
        "from 0; waiting; again: the file has changed on the server since the earlier part; from 0"
    );
}

/// No validator and no hash: nobody could tell two versions apart, so nothing is resumed.
#[test]
fn without_a_validator_only_a_known_hash_allows_resuming() {
    let bytes = file(600_000);
    for expected in [
        Expected::default(),
        Expected {
            sha256: Some(sha256(&bytes)),
            blake3: None,
        },
    ] {
        let whole = Served {
            etag: Some("W/\"weak\"".to_owned()),
            ..Served::new(bytes.clone())
        };
        let cut = Served {
            cut_after: Some(250_000),
            ..whole.clone()
        };
        let calls = AtomicUsize::new(0);
        let server = Server::start(
            move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
                0 => cut.answer(asked, wire),
                _ => whole.answer(asked, wire),
            },
        );
        let dir = dir();
        let pull = Pull {
            expected,
            ..Pull::into(dir.path())
        };
        pull.from(&server.url("m.gguf"))
            .expect_err("the connection is cut");
        let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
        assert_eq!(contents(&fetched), bytes);
        let asked = &server.asked()[1];
        assert_eq!(
            asked.header("if-range"),
            None,
            "a weak validator is no condition"
        );
        assert_eq!(asked.from(), expected.sha256.map(|_| 250_000));
    }
}

/// A part of a machine that lost power may end in zeros; the note says which boot it is from.
#[test]
fn a_part_of_another_boot_is_not_gone_on_with_unjudged() {
    let bytes = file(600_000);
    let whole = Served::new(bytes.clone());
    let cut = Served {
        cut_after: Some(250_000),
        ..whole.clone()
    };
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => cut.answer(asked, wire),
            _ => whole.answer(asked, wire),
        },
    );
    let dir = dir();
    let pull = Pull::into(dir.path());
    pull.from(&server.url("m.gguf"))
        .expect_err("the connection is cut");
    for entry in std::fs::read_dir(dir.path())
        .expect("the folder is there")
        .flatten()
    {
        if entry.path().extension().is_some_and(|end| end == "json") {
            let note = std::fs::read_to_string(entry.path()).expect("the note is text");
            let mut note: serde_json::Value =
                serde_json::from_str(&note).expect("the note is JSON");
            note["boot"] = "another".into();
            std::fs::write(entry.path(), note.to_string()).expect("the note can be written");
        }
    }
    let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
    assert_eq!(contents(&fetched), bytes);
    assert!(
        pull.story().contains("the machine was restarted"),
        "{}",
        pull.story()
    );
}

#[test]
fn a_note_that_is_no_note_costs_the_part_and_nothing_else() {
    let bytes = file(600_000);
    let whole = Served::new(bytes.clone());
    let cut = Served {
        cut_after: Some(250_000),
        ..whole.clone()
    };
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => cut.answer(asked, wire),
            _ => whole.answer(asked, wire),
        },
    );
    let dir = dir();
    let pull = Pull::into(dir.path());
    pull.from(&server.url("m.gguf"))
        .expect_err("the connection is cut");
    for entry in std::fs::read_dir(dir.path())
        .expect("the folder is there")
        .flatten()
    {
        if entry.path().extension().is_some_and(|end| end == "json") {
            std::fs::write(entry.path(), "{\"format\":1,\"etag\":7")
                .expect("the note can be written");
        }
    }
    let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
    assert_eq!(contents(&fetched), bytes);
    assert_eq!(fetched.resumed_from, 0);
}

#[test]
fn a_wrong_hash_removes_what_came() {
    let bytes = file(100_000);
    let server = {
        let served = Served::new(bytes);
        Server::start(move |asked, wire| served.answer(asked, wire))
    };
    for expected in [
        Expected {
            sha256: Some([1; 32]),
            blake3: None,
        },
        Expected {
            sha256: None,
            blake3: Some([1; 32]),
        },
    ] {
        let dir = dir();
        let error = Pull {
            expected,
            ..Pull::into(dir.path())
        }
        .from(&server.url("m.gguf"))
        .expect_err("it is another file");
        assert!(matches!(error, FetchError::WrongHash { .. }), "{error:?}");
        assert_eq!(files_in(dir.path()), 0);
    }
}

#[test]
fn the_hub_says_what_a_large_file_hashes_to() {
    let bytes = file(100_000);
    let cdn = {
        let served = Served::new(bytes.clone());
        Server::start(move |asked, wire| served.answer(asked, wire))
    };
    let (right, wrong) = (hex::encode(sha256(&bytes)), "ab".repeat(32));
    for (says, length, good) in [
        (&right, "100000", true),
        (&wrong, "100000", false),
        (&right, "99999", false),
    ] {
        let to = cdn.url("blob?sig=1");
        let (says, length) = (format!("\"{says}\""), length.to_owned());
        let hub = Server::start(move |_, wire| {
            status(
                wire,
                "302 Found",
                &[
                    ("Location", &to),
                    ("X-Linked-Etag", &says),
                    ("X-Linked-Size", &length),
                    ("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567"),
                ],
            )
        });
        let dir = dir();
        let pull = Pull {
            hub: hub.url(""),
            token: Some("hf_secret"),
            ..Pull::into(dir.path())
        };
        let outcome = pull.from("hf:owner/repo/m.gguf@v1");
        assert_eq!(hub.asked()[0].path, "owner/repo/resolve/v1/m.gguf");
        assert_eq!(
            hub.asked()[0].header("authorization"),
            Some("Bearer hf_secret")
        );
        match outcome {
            Ok(fetched) => {
                assert!(good);
                assert!(matches!(fetched.vouched_by, VouchedBy::Hub(_)));
                assert_eq!(
                    fetched.commit.as_deref(),
                    Some("0123456789abcdef0123456789abcdef01234567")
                );
            }
            Err(error) => {
                assert!(!good, "{error}");
                assert!(
                    matches!(
                        error,
                        FetchError::WrongHash { .. } | FetchError::Contradiction { .. }
                    ),
                    "{error:?}"
                );
            }
        }
    }
    // The token went to the hub alone, on every way.
    assert!(
        cdn.asked()
            .iter()
            .all(|asked| asked.header("authorization").is_none())
    );
    assert!(!cdn.asked().is_empty());
}

/// A server that is not the hub may not say what the hub says.
#[test]
fn the_hubs_headers_are_heard_from_the_hub_alone() {
    let served = Served {
        headers: vec![(
            "X-Linked-Etag".to_owned(),
            format!("\"{}\"", "ab".repeat(32)),
        )],
        ..Served::new(file(1000))
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let fetched = Pull {
        token: Some("hf_secret"),
        ..Pull::into(dir.path())
    }
    .from(&server.url("m.gguf"))
    .expect("it comes");
    assert_eq!(fetched.vouched_by, VouchedBy::Nobody);
    assert_eq!(server.asked()[0].header("authorization"), None);
}

#[test]
fn the_callers_hash_is_compared_with_the_hubs_before_anything_comes() {
    let says = format!("\"{}\"", "ab".repeat(32));
    let served = Served {
        headers: vec![("X-Linked-Etag".to_owned(), says)],
        ..Served::new(file(1000))
    };
    let hub = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let expected = Expected {
        sha256: Some([7; 32]),
        blake3: None,
    };
    let pull = Pull {
        hub: hub.url(""),
        expected,
        ..Pull::into(dir.path())
    };
    let error = pull
        .from("hf:owner/repo/m.gguf")
        .expect_err("it is another file");
    assert!(matches!(error, FetchError::HubDiffers { .. }), "{error:?}");
    assert_eq!(pull.story(), "");
}

#[test]
fn redirects_end() {
    let server = Server::start(|_, wire| redirect(wire, "/again"));
    let dir = dir();
    let error = Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect_err("it goes in circles");
    assert!(
        matches!(error, FetchError::Redirects { limit: 8, .. }),
        "{error:?}"
    );
    assert_eq!(server.asked().len(), 9);
}

#[test]
fn redirects_out_of_tls_or_the_web_are_not_followed() {
    for to in [
        "http://example.org/m.gguf",
        "file:///etc/passwd",
        "ftp://example.org/m",
        "https://a:b@example.org/",
        "::",
    ] {
        let server = Server::start(move |_, wire| redirect(wire, to));
        let dir = dir();
        let error = Pull::into(dir.path())
            .from(&server.url("m.gguf"))
            .expect_err("it is not followed");
        if to == "::" {
            // A relative address like any other, on the same server, which redirects for ever.
            assert!(matches!(error, FetchError::Redirects { .. }), "{error:?}");
        } else {
            assert!(
                matches!(error, FetchError::Insecure { .. }),
                "{to}: {error:?}"
            );
        }
    }
}

#[test]
fn what_the_server_refuses_is_said_by_whom() {
    for (line, kind) in [
        ("404 Not Found", "not there"),
        ("410 Gone", "not there"),
        ("401 Unauthorized", "not allowed"),
        ("403 Forbidden", "not allowed"),
        ("451 Unavailable For Legal Reasons", "status"),
    ] {
        let server = Server::start(move |_, wire| status(wire, line, &[]));
        let dir = dir();
        let error = Pull {
            retries: 3,
            ..Pull::into(dir.path())
        }
        .from(&server.url("m.gguf"))
        .expect_err("it is refused");
        let found = match error {
            FetchError::NotThere { .. } => "not there",
            FetchError::NotAllowed { .. } => "not allowed",
            FetchError::Status { .. } => "status",
            _ => panic!("{error:?}"),
        };
        assert_eq!(found, kind, "{line}");
        assert_eq!(
            server.asked().len(),
            1,
            "{line}: asking again would change nothing"
        );
    }
}

#[test]
fn a_server_that_is_restarting_is_asked_again() {
    let bytes = file(1000);
    let served = Served::new(bytes.clone());
    let calls = AtomicUsize::new(0);
    let server = Server::start(
        move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => status(wire, "503 Service Unavailable", &[]),
            1 => Ok(()),
            _ => served.answer(asked, wire),
        },
    );
    let dir = dir();
    let fetched = Pull {
        retries: 2,
        ..Pull::into(dir.path())
    }
    .from(&server.url("m.gguf"))
    .expect("it comes");
    assert_eq!(contents(&fetched), bytes);
}

#[test]
fn a_page_in_place_of_the_file_is_noticed_at_its_first_bytes() {
    let mut page = b"<!doctype html>".to_vec();
    page.resize(5_000_000, b' ');
    let served = Served {
        cut_after: Some(100_000),
        hold: true,
        ..Served::new(page)
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let error = Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect_err("it is a page");
    assert!(
        matches!(&error, FetchError::OtherKind { kind: "GGUF", begins, .. } if begins.starts_with("<!doctype")),
        "{error:?}"
    );
    assert_eq!(files_in(dir.path()), 0);
}

#[test]
fn a_body_that_is_shorter_than_announced_is_not_the_file() {
    let served = Served {
        announce: Some(200_000),
        ..Served::new(file(100_000))
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let error = Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect_err("half of it is missing");
    assert!(
        matches!(
            error,
            FetchError::Interrupted {
                have: 100_000,
                total: Some(200_000),
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_coded_body_is_not_taken_for_the_file() {
    let served = Served {
        headers: vec![("Content-Encoding".into(), "gzip".into())],
        ..Served::new(file(1000))
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = dir();
    let error = Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect_err("it is coded");
    assert!(
        matches!(error, FetchError::Contradiction { .. }),
        "{error:?}"
    );
}

/// A server may send less of the rest than there is (RFC 9110, 15.3.7): that is no end of the file.
#[test]
fn a_rest_that_comes_in_pieces_is_put_together() {
    let bytes = file(600_000);
    let first = Served {
        cut_after: Some(250_000),
        ..Served::new(bytes.clone())
    };
    let all = bytes.clone();
    let server = Server::start(move |asked, wire| {
        let Some(from) = asked.from() else {
            return first.answer(asked, wire);
        };
        let end = (from + 100_000).min(all.len());
        write!(
            wire,
            "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes {from}-{}/{}\r\nContent-Length: {}\r\n\r\n",
            end - 1,
            all.len(),
            end - from
        )?;
        wire.write_all(&all[from..end])
    });
    let dir = dir();
    let pull = Pull {
        retries: 1,
        ..Pull::into(dir.path())
    };
    let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
    assert_eq!(contents(&fetched), bytes);
}

#[test]
fn ranges_that_were_not_asked_for_are_not_glued_on() {
    let bytes = file(600_000);
    let cut = Served {
        cut_after: Some(250_000),
        ..Served::new(bytes.clone())
    };
    let whole = Served::new(bytes.clone());
    for lie in [
        "bytes 0-349999/600000",
        "bytes 250000-599999/700000",
        "nonsense",
    ] {
        let (cut, whole) = (cut.clone(), whole.clone());
        let calls = AtomicUsize::new(0);
        let server = Server::start(
            move |asked, wire| match calls.fetch_add(1, Ordering::SeqCst) {
                0 => cut.answer(asked, wire),
                1 => {
                    write!(
                        wire,
                        "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: {lie}\r\nContent-Length: 350000\r\n\r\n"
                    )?;
                    wire.write_all(&[0; 350_000])
                }
                _ => whole.answer(asked, wire),
            },
        );
        let dir = dir();
        let pull = Pull {
            retries: 1,
            ..Pull::into(dir.path())
        };
        let fetched = pull.from(&server.url("m.gguf")).expect("it comes");
        assert_eq!(contents(&fetched), bytes, "{lie}");
        assert!(pull.story().contains("again"), "{}", pull.story());
        if lie.ends_with("/700000") {
            assert!(pull.story().contains("has 700000 now"), "{}", pull.story());
        }
    }
}

#[test]
fn more_than_the_disk_holds_is_refused_before_a_byte_is_written() {
    let dir = dir();
    let free = {
        let disk = rustix::fs::statvfs(dir.path()).expect("the disk can be measured");
        disk.f_bavail * disk.f_frsize
    };
    let served = Served {
        announce: Some(free + 1),
        cut_after: Some(1000),
        ..Served::new(file(2000))
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let pull = Pull::into(dir.path());
    let error = pull
        .from(&server.url("m.gguf"))
        .expect_err("there is no room");
    match error {
        // A disk of more than 4 TiB meets the limit of one file first.
        FetchError::TooLarge { found, .. } => assert!(found > 4 << 40),
        FetchError::NoSpace {
            needed, free: room, ..
        } => {
            assert_eq!(needed, free + 1);
            assert!(
                room <= free - tally_fetch::RESERVE_BYTES + (1 << 30),
                "about what is free, less the reserve"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pull.story(), "");
}

/// A disk with room for one MiB beyond the reserve, in a mount namespace of its own; elsewhere the test says that it did not run.
#[test]
fn a_disk_that_fills_is_not_the_fault_of_a_server_that_announces_no_length() {
    const INSIDE: &str = "TALLY_TEST_SMALL_DISK";
    const NAME: &str = "a_disk_that_fills_is_not_the_fault_of_a_server_that_announces_no_length";
    if let Some(disk) = std::env::var_os(INSIDE) {
        let served = Served {
            chunked: true,
            ..Served::new(file(3 << 20))
        };
        let server = Server::start(move |asked, wire| served.answer(asked, wire));
        let pull = Pull::into(Path::new(&disk));
        let error = pull
            .from(&server.url("m.gguf"))
            .expect_err("there is no room");
        let FetchError::Full {
            have, needed: None, ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert!(have > 0 && have <= 1 << 20, "{have}");
        assert!(error.is_resumable());
        let left = tally_fetch::unfinished(Path::new(&disk));
        assert_eq!((left.len(), left[0].have), (1, have));
        return;
    }
    let disk = dir();
    let size = tally_fetch::RESERVE_BYTES + (1 << 20);
    let script =
        format!("mount -t tmpfs -o size={size} none \"$0\" || exit 77; exec \"$1\" --exact {NAME}");
    let unshared = |command: &[&std::ffi::OsStr]| {
        std::process::Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount"])
            .args(command)
            .env(INSIDE, disk.path())
            .stdout(std::process::Stdio::null())
            .status()
            .ok()
            .and_then(|status| status.code())
    };
    let program = std::env::current_exe().expect("this test");
    let code = unshared(&[
        "sh".as_ref(),
        "-c".as_ref(),
        script.as_ref(),
        disk.path().as_os_str(),
        program.as_os_str(),
    ]);
    match code {
        Some(0) => {}
        None | Some(1 | 77) if unshared(&["true".as_ref()]) != Some(0) || code == Some(77) => {
            eprintln!("NOT RUN: this machine does not let a test mount a file system");
        }
        code => panic!("the test inside ended with {code:?}"),
    }
}

#[test]
fn one_at_a_time_writes_a_part() {
    let served = Served {
        cut_after: Some(100_000),
        hold: true,
        ..Served::new(file(600_000))
    };
    let server = Server::start(move |asked, wire| served.answer(asked, wire));
    let dir = Arc::new(dir());
    let (url, place) = (server.url("m.gguf"), dir.clone());
    std::thread::spawn(move || Pull::into(place.path()).from(&url).is_ok());
    while server.asked().is_empty() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let error = Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect_err("the first has it");
    assert!(matches!(error, FetchError::Busy { .. }), "{error:?}");
    assert_eq!(server.asked().len(), 1);
    // Another file is another part.
    let other = Served::new(file(1000));
    let server = Server::start(move |asked, wire| other.answer(asked, wire));
    Pull::into(dir.path())
        .from(&server.url("m.gguf"))
        .expect("it comes");
}

#[test]
fn nobody_there_is_told_from_somebody_who_stops() {
    let dir = dir();
    let error = Pull {
        retries: 3,
        ..Pull::into(dir.path())
    }
    .from(&format!("{}/m.gguf", Server::nowhere()))
    .expect_err("nobody listens");
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    assert!(error.is_offline());
}

#[test]
fn a_local_file_takes_the_same_way() {
    let place = dir();
    let bytes = file(300_000);
    let path = place.path().join("m.gguf");
    std::fs::write(&path, &bytes).expect("the folder can be written");
    let dir = dir();
    let expected = Expected {
        sha256: Some(sha256(&bytes)),
        blake3: None,
    };
    let text = format!("file:{}", path.display());
    let fetched = Pull {
        expected,
        ..Pull::into(dir.path())
    }
    .from(&text)
    .expect("it comes");
    assert_eq!(contents(&fetched), bytes);
    assert_eq!(fetched.vouched_by, VouchedBy::Caller);
    fetched.part.remove().expect("it can be removed");
    let wrong = Expected {
        sha256: Some([1; 32]),
        blake3: None,
    };
    Pull {
        expected: wrong,
        ..Pull::into(dir.path())
    }
    .from(&text)
    .expect_err("it is another file");
    assert_eq!(files_in(dir.path()), 0);
    assert_eq!(std::fs::read(&path).expect("the original stays"), bytes);
    Pull::into(dir.path())
        .from(&format!("{}x", path.display()))
        .expect_err("there is none");
}

/// What a killed copy leaves takes space, so it is named; nobody goes on with it, so it can be given up at any moment.
#[test]
fn a_copy_of_a_local_file_that_was_stopped_is_named_and_can_be_discarded() {
    let place = dir();
    let bytes = file(700_000);
    let path = place.path().join("m.gguf");
    std::fs::write(&path, &bytes).expect("the folder can be written");
    let (dir, text) = (dir(), format!("file:{}", path.display()));
    // A `Fetched` that is dropped leaves its files, as a kill would.
    drop(Pull::into(dir.path()).from(&text).expect("it comes"));
    let left = tally_fetch::unfinished(dir.path());
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].source, text);
    assert_eq!((left[0].have, left[0].total), (700_000, Some(700_000)));
    tally_fetch::discard_copy(&path, dir.path()).expect("it can be removed");
    assert_eq!(files_in(dir.path()), 0);
    tally_fetch::discard_copy(&path, dir.path()).expect("nothing to remove is no fault");
    assert_eq!(std::fs::read(&path).expect("the original stays"), bytes);
}
