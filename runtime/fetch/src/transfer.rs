//! Bringing one file: asked for, continued, measured, hashed.
//!
//! A transfer ends in one of three ways: the whole file with its hashes, an error that keeps the part, or an error
//! that has removed it (the bytes were wrong). Each connection that brought at least one byte earns the full number of
//! retries again, so a bad line costs time and not the download.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use crate::checksum::{Checksums, Expected, Hashing};
use crate::error::FetchError;
use crate::http::{Answer, Client, Rest};
use crate::part::{CHUNK, Note, Part, io_error};
use crate::reference::{Place, Reference};

/// Most bytes of one file. The largest model files in one piece are a tenth of it.
const MAX_BYTES: u64 = 4 << 40;
/// Most bytes of a file whose length nobody announces.
const MAX_UNANNOUNCED_BYTES: u64 = 64 << 30;
/// Most connections of one transfer, however well each begins.
const MAX_CONNECTIONS: u32 = 1000;
const CHANGED: &str = "the file has changed on the server since the earlier part";

/// What to bring.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Where it is.
    pub reference: &'a Reference,
    /// What the caller knows about it.
    pub expected: Expected,
    /// What files of this kind are called, and how they begin: a web page is noticed at once.
    pub magic: (&'static str, &'static [u8]),
    /// What to do when the other side ends early.
    pub retry: Retry,
}

/// How often a silent or broken connection is made again.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// How often without one byte of progress.
    pub times: u32,
    /// How long before the first; each later one waits twice as long as the one before.
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            times: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// What a person may see meanwhile.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An earlier part is read and hashed.
    Rereading {
        /// Bytes read.
        done: u64,
        /// Bytes there are.
        total: u64,
    },
    /// Bytes come, from this one on.
    Begun {
        /// What is here already.
        have: u64,
        /// What there will be, when it is known.
        total: Option<u64>,
    },
    /// So many are here now.
    At(u64),
    /// What was here is given up and the file comes from its beginning.
    Again {
        /// Why.
        reason: &'a str,
    },
    /// The connection ended early and is made again after a pause.
    Waiting {
        /// Why.
        error: &'a FetchError,
        /// How long.
        pause: Duration,
    },
}

/// Who said what the file should hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VouchedBy {
    /// The caller.
    Caller,
    /// The hub, for a file of its large-file store.
    Hub(String),
    /// Nobody: it is what the server sent.
    Nobody,
}

/// A whole file, checked. Holds the lock until it is dropped; the files stay until [`Part::remove`].
#[derive(Debug)]
pub struct Fetched {
    /// The file.
    pub part: Part,
    /// Its length.
    pub bytes: u64,
    /// Its hashes.
    pub checksums: Checksums,
    /// Who vouches for them.
    pub vouched_by: VouchedBy,
    /// The hub's commit that it is from.
    pub commit: Option<String>,
    /// How many of its bytes were here before.
    pub resumed_from: u64,
}

/// Brings a file into `dir`, continuing what an earlier call left there.
///
/// # Errors
/// [`FetchError`]; [`FetchError::is_resumable`] says whether the same request continues.
pub fn fetch(
    client: &Client,
    request: &Request<'_>,
    dir: &Path,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Fetched, FetchError> {
    let place = match request.reference {
        Reference::File(path) => return copy(request, path, dir, watch),
        Reference::Hub(file) => client.hub().place(file),
        Reference::Web(place) => place.clone(),
    };
    let part = Part::open(dir, place.url().as_str())?;
    Transfer::take_up(client, request, place, part, watch)?.run(watch)
}

/// What a server says about a file without sending it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Its length.
    pub bytes: Option<u64>,
    /// Its SHA-256, as the hub knows it.
    pub sha256: Option<[u8; 32]>,
}

/// Asks about a file and takes none of it. A local file is announced by nobody.
///
/// # Errors
/// [`FetchError`]
pub fn look(client: &Client, reference: &Reference) -> Result<Announced, FetchError> {
    let place = match reference {
        Reference::File(_) => return Ok(Announced::default()),
        Reference::Hub(file) => client.hub().place(file),
        Reference::Web(place) => place.clone(),
    };
    let answer = client.get(&place, None)?;
    Ok(Announced {
        bytes: answer.length().or(answer.hub.bytes),
        sha256: answer.hub.sha256,
    })
}

/// A local file takes the same way, so that what is hashed is what is handed out.
fn copy(
    request: &Request<'_>,
    path: &Path,
    dir: &Path,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Fetched, FetchError> {
    let mut from = std::fs::File::open(path).map_err(io_error("open", path))?;
    let metadata = from.metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(io_error("read", path)(std::io::Error::other(
            "it is not a regular file",
        )));
    }
    let address = address_of_file(path)?;
    let mut part = Part::open(dir, &address)?;
    part.clear()?;
    let total = metadata.len();
    let goal = Goal {
        expected: request.expected,
        by_hub: None,
        host: path.display().to_string(),
    };
    let outcome = (|| {
        room_for(&part, dir, total)?;
        // Nothing goes on with a copy that was killed; the note is how `unfinished` knows what takes the space.
        let mut note = Note::new(address);
        note.bytes = Some(total);
        part.write_note(&note)?;
        watch(Event::Begun {
            have: 0,
            total: Some(total),
        });
        let mut hashing = Hashing::default();
        let mut have = 0;
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = from.read(&mut buffer).map_err(io_error("read", path))?;
            if read == 0 {
                break;
            }
            let bytes = &buffer[..read];
            if have == 0 {
                begins_right(request, bytes)?;
            }
            part.append(bytes, have, Some(total.saturating_sub(have)))?;
            hashing.feed(bytes);
            have += read as u64;
            watch(Event::At(have));
        }
        if have != total {
            return Err(FetchError::Contradiction {
                host: goal.host.clone(),
                what: format!(
                    "it had {total} bytes when it was opened and {have} when it was read"
                ),
            });
        }
        Ok(hashing.finish())
    })();
    // There is nothing to resume: the file is here.
    let checked = outcome.and_then(|sums| goal.judge(&sums).map(|vouched_by| (sums, vouched_by)));
    match checked {
        Err(error) => {
            part.remove()?;
            Err(error)
        }
        Ok((checksums, vouched_by)) => {
            part.sync()?;
            Ok(Fetched {
                part,
                bytes: total,
                checksums,
                vouched_by,
                commit: None,
                resumed_from: 0,
            })
        }
    }
}

/// Removes what a [`fetch`] of the local file at `path` wrote into `dir`, which nobody goes on with: the file is here.
///
/// # Errors
/// [`FetchError::Io`]
pub fn discard_copy(path: &Path, dir: &Path) -> Result<(), FetchError> {
    crate::part::discard(dir, &address_of_file(path)?)
}

/// What the part of a local file is known by.
fn address_of_file(path: &Path) -> Result<String, FetchError> {
    let absolute = std::path::absolute(path).map_err(io_error("resolve", path))?;
    Ok(format!("file:{}", absolute.display()))
}

/// What the whole must be.
struct Goal {
    expected: Expected,
    by_hub: Option<[u8; 32]>,
    /// The hub, or the local file.
    host: String,
}

impl Goal {
    fn judge(&self, found: &Checksums) -> Result<VouchedBy, FetchError> {
        let checks = [
            ("SHA-256", self.expected.sha256, found.sha256, "the command"),
            ("BLAKE3", self.expected.blake3, found.blake3, "the command"),
            ("SHA-256", self.by_hub, found.sha256, &self.host),
        ];
        for (hash, expected, found, by) in checks {
            if let Some(expected) = expected
                && expected != found
            {
                return Err(FetchError::WrongHash {
                    hash,
                    found: hex::encode(found),
                    expected: hex::encode(expected),
                    by: by.to_owned(),
                });
            }
        }
        Ok(if self.expected.is_some() {
            VouchedBy::Caller
        } else if self.by_hub.is_some() {
            VouchedBy::Hub(self.host.clone())
        } else {
            VouchedBy::Nobody
        })
    }
}

struct Transfer<'a> {
    client: &'a Client,
    request: &'a Request<'a>,
    place: Place,
    part: Part,
    note: Note,
    have: u64,
    hashing: Hashing,
    resumed_from: u64,
}

/// What the bytes of a file must not go beyond, and whose limit that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// The length that the server announced.
    Announced(u64),
    /// Ours, for files whose length nobody announces.
    Unannounced(u64),
    /// What this machine's disk takes.
    Room(u64),
}

impl Bound {
    /// Of a file of which `have` bytes are here, on a disk that takes `room` more.
    fn unannounced(have: u64, room: u64) -> Self {
        let room = have.saturating_add(room);
        if room < MAX_UNANNOUNCED_BYTES {
            Self::Room(room)
        } else {
            Self::Unannounced(MAX_UNANNOUNCED_BYTES)
        }
    }

    fn bytes(self) -> u64 {
        match self {
            Self::Announced(bytes) | Self::Unannounced(bytes) | Self::Room(bytes) => bytes,
        }
    }
}

/// How a connection ended.
enum Ended {
    /// All bytes are here.
    Whole,
    /// The server's version is another one, or it cannot give the rest: once more, from the beginning.
    Restart(String),
}

impl<'a> Transfer<'a> {
    /// Looks at what an earlier transfer left, and keeps what can be gone on with.
    fn take_up(
        client: &'a Client,
        request: &'a Request<'a>,
        place: Place,
        part: Part,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Self, FetchError> {
        let left = part.len()?;
        let fresh = || Note::new(request.reference.to_string());
        let note = part.note();
        let judged = |note: &Note| note.sha256.is_some() || request.expected.is_some();
        let given_up = match &note {
            _ if left == 0 => None,
            None => Some("the note beside the earlier part is missing"),
            Some(note) if note.bytes.is_some_and(|bytes| left > bytes) => {
                Some("the earlier part is longer than the file")
            }
            Some(note) if !note.is_of_this_boot() && !judged(note) => Some(
                "the machine was restarted and no hash is known that would find a damaged part",
            ),
            Some(note) if note.etag.is_none() && !judged(note) => Some(
                "the server gave no validator and no hash is known, so parts of two versions could be mixed",
            ),
            Some(_) => None,
        };
        let mut transfer = Self {
            client,
            request,
            place,
            part,
            note: note.unwrap_or_else(fresh),
            have: 0,
            hashing: Hashing::default(),
            resumed_from: 0,
        };
        if left == 0 || given_up.is_some() {
            transfer.begin_again(given_up, watch)?;
        } else {
            transfer.hashing = transfer
                .part
                .hash(&mut |done| watch(Event::Rereading { done, total: left }))?;
            transfer.have = left;
            transfer.resumed_from = left;
        }
        Ok(transfer)
    }

    fn begin_again(
        &mut self,
        reason: Option<&str>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), FetchError> {
        if let Some(reason) = reason {
            watch(Event::Again { reason });
        }
        self.part.clear()?;
        self.note = Note::new(self.request.reference.to_string());
        self.hashing = Hashing::default();
        self.have = 0;
        self.resumed_from = 0;
        Ok(())
    }

    fn run(mut self, watch: &mut dyn FnMut(Event<'_>)) -> Result<Fetched, FetchError> {
        let mut left = self.request.retry.times;
        let mut pause = self.request.retry.pause;
        let mut restarts = 0;
        let mut reached = false;
        // A part that is complete needs no server: the last process ended between its last byte and its end.
        let mut connections = 0;
        while self.note.bytes != Some(self.have) {
            connections += 1;
            let before = self.have;
            match self.connect(&mut reached, watch) {
                Ok(Ended::Whole) => break,
                Ok(Ended::Restart(reason)) => {
                    restarts += 1;
                    if restarts > 2 {
                        return Err(FetchError::Contradiction {
                            host: self.place.host(),
                            what: reason,
                        });
                    }
                    self.begin_again(Some(&reason), watch)?;
                }
                Err(error) => {
                    if self.have > before {
                        left = self.request.retry.times;
                        pause = self.request.retry.pause;
                    }
                    let error = self.with_position(error);
                    if left == 0 || connections >= MAX_CONNECTIONS || !may_pass(&error, reached) {
                        // An empty part is worth nothing, and the beginning of another kind of file less.
                        if self.have == 0 || matches!(error, FetchError::OtherKind { .. }) {
                            self.part.remove()?;
                        }
                        return Err(error);
                    }
                    left -= 1;
                    watch(Event::Waiting {
                        error: &error,
                        pause,
                    });
                    std::thread::sleep(pause);
                    pause = pause.saturating_mul(2);
                }
            }
        }
        self.note.bytes = Some(self.have);
        self.part.sync()?;
        self.part.write_note(&self.note)?;

        let checksums = self.hashing.finish();
        let goal = Goal {
            expected: self.request.expected,
            by_hub: self.note.sha256,
            host: self.client.hub().host(),
        };
        match goal.judge(&checksums) {
            Err(error) => {
                self.part.remove()?;
                Err(error)
            }
            Ok(vouched_by) => Ok(Fetched {
                part: self.part,
                bytes: self.have,
                checksums,
                vouched_by,
                commit: self.note.commit,
                resumed_from: self.resumed_from,
            }),
        }
    }

    /// One connection, until its body ends one way or another.
    fn connect(
        &mut self,
        reached: &mut bool,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Ended, FetchError> {
        let rest = (self.have > 0).then_some(Rest {
            from: self.have,
            only_if: self.note.etag.as_deref(),
        });
        let answer = self.client.get(&self.place, rest.as_ref())?;
        *reached = true;
        if let Some(coding) = answer.coding() {
            return Err(FetchError::Contradiction {
                host: answer.host.clone(),
                what: format!(
                    "it was asked for the bytes as they are and sends them coded ({coding})"
                ),
            });
        }
        self.hub_agrees(&answer)?;
        if let Some(reason) = self.is_another_version(&answer) {
            return Ok(Ended::Restart(reason));
        }
        let total = match answer.status {
            416 if self.have > 0 => {
                return Ok(Ended::Restart(
                    "the server has no bytes after the earlier part".to_owned(),
                ));
            }
            206 if self.have > 0 => match answer.range() {
                Some((from, _)) if from != self.have => {
                    return Ok(Ended::Restart(
                        "the server sends another range than it was asked for".to_owned(),
                    ));
                }
                // Some servers honour `Range` and not `If-Range`: the rest of what they have now.
                Some(_) if self.has_changed(&answer) => {
                    return Ok(Ended::Restart(CHANGED.to_owned()));
                }
                Some((from, whole)) => {
                    whole.or_else(|| answer.length().map(|length| from.saturating_add(length)))
                }
                None => {
                    return Ok(Ended::Restart(
                        "the server does not say which bytes it sends".to_owned(),
                    ));
                }
            },
            200 => {
                if self.have > 0 {
                    let reason = if self.has_changed(&answer) {
                        CHANGED
                    } else {
                        "the server sends the whole file when it is asked for the rest"
                    };
                    // This answer is the whole file already; it is not asked for a second time.
                    self.begin_again(Some(reason), watch)?;
                }
                answer.length()
            }
            status => {
                return Err(FetchError::Contradiction {
                    host: answer.host.clone(),
                    what: format!("status {status} was not asked for"),
                });
            }
        };
        if let (Some(hub), Some(found)) = (answer.hub.bytes, total)
            && hub != found
        {
            return Err(FetchError::Contradiction {
                host: answer.host.clone(),
                what: format!("the hub says the file has {hub} bytes and {found} are announced"),
            });
        }
        let total = total.or(answer.hub.bytes);
        if let (Some(old), Some(new)) = (self.note.bytes, total)
            && old != new
        {
            return Ok(Ended::Restart(format!(
                "the file had {old} bytes when the earlier part came and has {new} now"
            )));
        }
        self.describe(&answer, total)?;
        self.receive(answer, total, watch)
    }

    /// The caller's hash against the hub's, before anything is downloaded for nothing.
    fn hub_agrees(&self, answer: &Answer) -> Result<(), FetchError> {
        match (self.request.expected.sha256, answer.hub.sha256) {
            (Some(expected), Some(found)) if expected != found => Err(FetchError::HubDiffers {
                host: self.client.hub().host(),
                found: hex::encode(found),
                expected: hex::encode(expected),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the hub names other bytes than those that are here.
    fn is_another_version(&self, answer: &Answer) -> Option<String> {
        let differs = match (self.note.sha256, answer.hub.sha256) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        };
        (self.have > 0 && differs).then(|| {
            "the hub has another version of the file than the earlier part is from".to_owned()
        })
    }

    /// Whether the answer is of another version than the part, as their validators say.
    fn has_changed(&self, answer: &Answer) -> bool {
        match (self.note.etag.as_deref(), answer.strong_etag()) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        }
    }

    /// Notes which version comes, and that there is room for it.
    fn describe(&mut self, answer: &Answer, total: Option<u64>) -> Result<(), FetchError> {
        let limit = if total.is_some() {
            MAX_BYTES
        } else {
            MAX_UNANNOUNCED_BYTES
        };
        if let Some(found) = total.filter(|total| *total > limit) {
            return Err(FetchError::TooLarge {
                host: answer.host.clone(),
                found,
                limit,
            });
        }
        if self.have == 0 {
            self.note.etag = answer.strong_etag().map(str::to_owned);
        }
        self.note.bytes = total.or(self.note.bytes);
        self.note.sha256 = answer.hub.sha256.or(self.note.sha256);
        self.note.commit = answer.hub.commit.clone().or(self.note.commit.take());
        self.part.write_note(&self.note)?;
        if let Some(total) = total {
            let dir = self
                .part
                .path()
                .parent()
                .unwrap_or(Path::new("."))
                .to_owned();
            room_for(&self.part, &dir, total.saturating_sub(self.have))?;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        mut answer: Answer,
        total: Option<u64>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Ended, FetchError> {
        watch(Event::Begun {
            have: self.have,
            total,
        });
        let bound = match total {
            Some(total) => Bound::Announced(total),
            None => Bound::unannounced(self.have, self.part.room()?),
        };
        let mut buffer = vec![0; CHUNK];
        let mut filled = 0;
        loop {
            let ended = match answer.body.read(&mut buffer[filled..]) {
                Ok(0) => Some(None),
                Ok(read) => {
                    filled += read;
                    None
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => None,
                Err(error) => Some(Some(error)),
            };
            // The first bytes are judged together, even when they come one by one.
            if ended.is_none() && self.have == 0 && filled < self.request.magic.1.len() {
                continue;
            }
            if filled > 0 {
                let bytes = &buffer[..filled];
                if self.have == 0 {
                    begins_right(self.request, bytes)?;
                }
                let after = self.have.saturating_add(filled as u64);
                if after > bound.bytes() {
                    return Err(match bound {
                        Bound::Announced(limit) | Bound::Unannounced(limit) => {
                            FetchError::TooLarge {
                                host: answer.host.clone(),
                                found: after,
                                limit,
                            }
                        }
                        Bound::Room(_) => FetchError::Full {
                            path: self.part.path().to_owned(),
                            have: self.have,
                            needed: None,
                            reason: "the rest of the disk is kept free".to_owned(),
                        },
                    });
                }
                self.part
                    .append(bytes, self.have, total.map(|total| total - self.have))?;
                self.hashing.feed(bytes);
                self.have = after;
                filled = 0;
                watch(Event::At(self.have));
            }
            if let Some(fault) = ended {
                let reason = match fault {
                    Some(error) => error.to_string(),
                    None if total.is_none_or(|total| total == self.have) && self.have > 0 => {
                        return Ok(Ended::Whole);
                    }
                    None => "the connection was closed".to_owned(),
                };
                return Err(FetchError::Interrupted {
                    host: answer.host,
                    have: self.have,
                    total,
                    reason,
                });
            }
        }
    }

    /// An error of a connection, with what is here by now.
    fn with_position(&self, error: FetchError) -> FetchError {
        match error {
            FetchError::Interrupted { host, reason, .. } => FetchError::Interrupted {
                host,
                have: self.have,
                total: self.note.bytes,
                reason,
            },
            other => other,
        }
    }
}

/// Whether the same question may be answered in a moment.
fn may_pass(error: &FetchError, reached: bool) -> bool {
    match error {
        FetchError::Interrupted { .. } => true,
        // A server that answered a moment ago is restarting; one that never did is not there.
        FetchError::Unreachable { .. } => reached,
        FetchError::Status { status, .. } => {
            matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
        }
        _ => false,
    }
}

fn begins_right(request: &Request<'_>, bytes: &[u8]) -> Result<(), FetchError> {
    let (kind, magic) = request.magic;
    let seen = bytes.len().min(magic.len());
    if bytes[..seen] == magic[..seen] {
        return Ok(());
    }
    let begins = String::from_utf8_lossy(&bytes[..bytes.len().min(24)])
        .chars()
        .take(24)
        .collect();
    Err(FetchError::OtherKind {
        from: request.reference.to_string(),
        kind,
        begins,
    })
}

fn room_for(part: &Part, dir: &Path, needed: u64) -> Result<(), FetchError> {
    let free = part.room()?;
    if needed > free {
        return Err(FetchError::NoSpace {
            dir: dir.to_owned(),
            needed,
            free,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Bound, MAX_UNANNOUNCED_BYTES};

    #[test]
    fn the_disk_bounds_what_nobody_announces_before_our_own_limit_does() {
        assert_eq!(Bound::unannounced(5, 7), Bound::Room(12));
        assert_eq!(
            Bound::unannounced(5, MAX_UNANNOUNCED_BYTES),
            Bound::Unannounced(MAX_UNANNOUNCED_BYTES)
        );
        assert_eq!(
            Bound::unannounced(1, u64::MAX),
            Bound::Unannounced(MAX_UNANNOUNCED_BYTES)
        );
    }
}
