//! Where a file may be: on a hub, on the web, on this machine.
//!
//! ```text
//! reference = "hf:" owner "/" repo "/" path [ "@" revision ]     main when no revision is given
//!           | "https://" …                                       a page of the hub is read as the hub file it shows
//!           | "http://" …                                        this machine only
//!           | [ "file:" ] path
//! ```

use std::fmt;
use std::path::PathBuf;

use url::{Host, Url};

/// A hub that speaks Hugging Face's file addresses: `ENDPOINT/owner/repo/resolve/revision/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    endpoint: Url,
}

/// What a person typed, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// One file of a repository on the hub.
    Hub(HubFile),
    /// A web address.
    Web(Place),
    /// A file of this machine.
    File(PathBuf),
}

/// One file of a repository on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// Who published it.
    pub owner: String,
    /// Where.
    pub repo: String,
    /// The file's path in the repository.
    pub path: String,
    /// A branch, a tag or a commit.
    pub revision: String,
}

/// An address that may be asked: https, or http on this machine; no user name, no password, no fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct Place(Url);

/// Why a reference means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// A repository, and not a file in it.
    #[error("{text:?} names no file; write hf:owner/repo/file.gguf")]
    NoFile {
        /// What was given.
        text: String,
        /// The page that lists the repository's files, when there is an owner and a repository.
        listing: Option<String>,
    },
    /// A part of a hub reference that is none.
    #[error("{part:?} cannot be the {what} of a hub file")]
    BadPart {
        /// Which part.
        what: &'static str,
        /// What was given.
        part: String,
    },
    /// Not a web address.
    #[error("{text:?} is no web address: {reason}")]
    BadUrl {
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A scheme that is not spoken.
    #[error("{scheme}: is not spoken here; give hf:, https: or a file")]
    OtherScheme {
        /// The scheme.
        scheme: String,
    },
    /// Plain http to another machine.
    #[error("plain http is spoken to this machine only, not to {host}; use https")]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// A user name or password in the address, which records and messages would show.
    #[error(
        "the address holds a user name or a password, which would be stored and shown; leave it out"
    )]
    Credentials,
    /// Nothing.
    #[error("an empty reference names nothing")]
    Empty,
}

impl Hub {
    /// The hub that everybody knows.
    pub const PUBLIC: &str = "https://huggingface.co";

    /// The hub at this address.
    ///
    /// # Errors
    /// [`ReferenceError`], when it is not https (or http on this machine).
    pub fn at(endpoint: &str) -> Result<Self, ReferenceError> {
        let mut place = Place::parse(endpoint.trim())?;
        place.0.set_query(None);
        Ok(Self { endpoint: place.0 })
    }

    pub(crate) fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// Its host, with the port when it is not the usual one.
    #[must_use]
    pub fn host(&self) -> String {
        Place(self.endpoint.clone()).host()
    }

    /// Where the file is.
    #[must_use]
    pub fn place(&self, file: &HubFile) -> Place {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .expect("an https address has a path")
            .pop_if_empty()
            .extend([&*file.owner, &file.repo, "resolve", &file.revision])
            .extend(file.path.split('/'));
        Place(url)
    }

    /// The page on which a person sees what the repository holds.
    #[must_use]
    pub fn page(&self, owner: &str, repo: &str) -> String {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .expect("an https address has a path")
            .pop_if_empty()
            .extend([owner, repo]);
        url.into()
    }

    /// The hub file that an address of this hub shows or gives.
    fn file_at(&self, url: &Url) -> Option<HubFile> {
        if url.origin() != self.endpoint.origin() {
            return None;
        }
        let rest = url.path().strip_prefix(self.endpoint.path())?;
        let segments: Vec<String> = rest
            .trim_start_matches('/')
            .split('/')
            .map(decoded)
            .collect::<Option<_>>()?;
        let [owner, repo, how, revision, path @ ..] = &segments[..] else {
            return None;
        };
        if !matches!(how.as_str(), "resolve" | "blob" | "raw") || path.is_empty() {
            return None;
        }
        HubFile::new(owner, repo, &path.join("/"), revision).ok()
    }
}

impl Reference {
    /// Understands what was typed.
    ///
    /// # Errors
    /// [`ReferenceError`]
    pub fn parse(text: &str, hub: &Hub) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if let Some(rest) = text.strip_prefix("hf:") {
            return HubFile::parse(rest.trim_start_matches('/'), hub).map(Self::Hub);
        }
        if let Some(path) = text.strip_prefix("file:") {
            // file:///a is the address of /a; file:a is the file a.
            let path = path.strip_prefix("//localhost/").map_or_else(
                || path.strip_prefix("//").unwrap_or(path).to_owned(),
                |rest| format!("/{rest}"),
            );
            return Ok(Self::File(PathBuf::from(path)));
        }
        match text.split_once("://") {
            None => Ok(Self::File(PathBuf::from(text))),
            Some((scheme, _))
                if scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") =>
            {
                let place = Place::parse(text)?;
                Ok(match hub.file_at(&place.0) {
                    Some(file) => Self::Hub(file),
                    None => Self::Web(place),
                })
            }
            Some((scheme, _)) => Err(ReferenceError::OtherScheme {
                scheme: scheme.to_owned(),
            }),
        }
    }

    /// The file's own name, without the folders and addresses before it.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self {
            Self::Hub(file) => file.path.rsplit('/').next().unwrap_or_default().to_owned(),
            Self::Web(place) => place
                .0
                .path_segments()
                .and_then(|mut segments| segments.next_back())
                .and_then(decoded)
                .unwrap_or_default(),
            Self::File(path) => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        }
    }
}

/// How a person writes it. An address is shown without its query, which may hold a signature.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(file) => file.fmt(f),
            Self::Web(place) => place.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            owner,
            repo,
            path,
            revision,
        } = self;
        write!(f, "hf:{owner}/{repo}/{path}")?;
        if revision != MAIN {
            write!(f, "@{revision}")
        } else {
            Ok(())
        }
    }
}

const MAIN: &str = "main";

impl HubFile {
    fn parse(text: &str, hub: &Hub) -> Result<Self, ReferenceError> {
        let (name, revision) = match text.rsplit_once('@') {
            Some((name, revision)) => (name, revision),
            None => (text, MAIN),
        };
        let parts: Vec<&str> = name.splitn(3, '/').collect();
        let [owner, repo, path] = parts[..] else {
            let listing = match parts[..] {
                [owner, repo] if is_name(owner) && is_name(repo) => {
                    Some(format!("{}/tree/main", hub.page(owner, repo)))
                }
                _ => None,
            };
            return Err(ReferenceError::NoFile {
                text: format!("hf:{text}"),
                listing,
            });
        };
        Self::new(owner, repo, path, revision)
    }

    fn new(owner: &str, repo: &str, path: &str, revision: &str) -> Result<Self, ReferenceError> {
        let bad = |what, part: &str| {
            Err(ReferenceError::BadPart {
                what,
                part: part.to_owned(),
            })
        };
        if !is_name(owner) {
            return bad("owner", owner);
        }
        if !is_name(repo) {
            return bad("repository", repo);
        }
        if path.len() > 1024
            || path.chars().any(char::is_control)
            || path.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return bad("path", path);
        }
        if revision.is_empty()
            || revision.len() > 256
            || revision
                .chars()
                .any(|c| c.is_control() || c.is_whitespace())
            || revision
                .split('/')
                .any(|part| matches!(part, "" | "." | ".."))
        {
            return bad("revision", revision);
        }
        Ok(Self {
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            path: path.to_owned(),
            revision: revision.to_owned(),
        })
    }
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl Place {
    /// An address that may be asked.
    ///
    /// # Errors
    /// [`ReferenceError`]
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let url = Url::parse(text).map_err(|error| ReferenceError::BadUrl {
            text: text.to_owned(),
            reason: error.to_string(),
        })?;
        Self::of(url)
    }

    pub(crate) fn of(mut url: Url) -> Result<Self, ReferenceError> {
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => {
                return Err(ReferenceError::PlainHttp {
                    host: url.host_str().unwrap_or_default().to_owned(),
                });
            }
            scheme => {
                return Err(ReferenceError::OtherScheme {
                    scheme: scheme.to_owned(),
                });
            }
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(ReferenceError::Credentials);
        }
        url.set_fragment(None);
        Ok(Self(url))
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// The host, with the port when it is not the usual one.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }
}

/// The address without its query, which may hold a signature.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.clone();
        shown.set_query(None);
        f.write_str(shown.as_str())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // Resolved by whoever runs this machine; RFC 6761 gives it to loopback.
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn decoded(segment: &str) -> Option<String> {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = bytes.get(at + 1..at + 3)?;
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            out.push(byte[0]);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Hub {
        Hub::at(Hub::PUBLIC).expect("the public hub has an address")
    }

    fn parse(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text, &hub())
    }

    fn place(text: &str) -> String {
        match parse(text).expect("it is a reference") {
            Reference::Hub(file) => hub().place(&file).to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hub_file_has_one_address() {
        assert_eq!(
            place("hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q8_0.gguf"),
            "https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/main/qwen2.5-0.5b-instruct-q8_0.gguf"
        );
        assert_eq!(
            place("hf:o/r/sub/a file.gguf@refs/pr/3"),
            "https://huggingface.co/o/r/resolve/refs%2Fpr%2F3/sub/a%20file.gguf"
        );
    }

    #[test]
    fn a_page_of_the_hub_is_the_file_it_shows() {
        let file = parse("hf:o/r/sub/f.gguf@v1");
        assert_eq!(parse("https://huggingface.co/o/r/blob/v1/sub/f.gguf"), file);
        assert_eq!(
            parse("https://huggingface.co/o/r/resolve/v1/sub/f.gguf?download=true"),
            file
        );
        assert!(matches!(
            parse("https://huggingface.co/o/r"),
            Ok(Reference::Web(_))
        ));
        assert!(matches!(
            parse("https://huggingface.co.example/o/r/blob/v1/f.gguf"),
            Ok(Reference::Web(_))
        ));
    }

    #[test]
    fn a_mirror_may_lie_below_a_path() {
        let mirror = Hub::at("https://mirror.example/hf/").expect("it is an address");
        let Ok(Reference::Hub(file)) = Reference::parse("hf:o/r/f.gguf", &mirror) else {
            panic!("it is a hub file");
        };
        assert_eq!(
            mirror.place(&file).to_string(),
            "https://mirror.example/hf/o/r/resolve/main/f.gguf"
        );
        assert_eq!(
            Reference::parse("https://mirror.example/hf/o/r/blob/main/f.gguf", &mirror),
            Ok(Reference::Hub(file))
        );
    }

    #[test]
    fn files_are_paths_and_file_addresses() {
        for (text, path) in [
            ("./a.gguf", "./a.gguf"),
            ("/b/a.gguf", "/b/a.gguf"),
            ("file:a.gguf", "a.gguf"),
            ("file:/b/a.gguf", "/b/a.gguf"),
            ("file:///b/a.gguf", "/b/a.gguf"),
            ("file://localhost/b/a.gguf", "/b/a.gguf"),
        ] {
            assert_eq!(
                parse(text),
                Ok(Reference::File(PathBuf::from(path))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_reference_is_said_to_be_none() {
        use ReferenceError as E;
        let listing = parse("hf:o/r").expect_err("no file");
        assert_eq!(
            listing,
            E::NoFile {
                text: "hf:o/r".into(),
                listing: Some("https://huggingface.co/o/r/tree/main".into())
            }
        );
        assert!(matches!(parse("hf:"), Err(E::NoFile { listing: None, .. })));
        assert!(matches!(
            parse("hf:o/r/../../x"),
            Err(E::BadPart { what: "path", .. })
        ));
        assert!(matches!(
            parse("hf:o/r/"),
            Err(E::BadPart { what: "path", .. })
        ));
        assert!(matches!(
            parse("hf:o o/r/f"),
            Err(E::BadPart { what: "owner", .. })
        ));
        assert!(matches!(
            parse("hf:o/r/f@"),
            Err(E::BadPart {
                what: "revision",
                ..
            })
        ));
        assert!(matches!(
            parse("hf:o/r/f@a/../b"),
            Err(E::BadPart {
                what: "revision",
                ..
            })
        ));
        assert!(matches!(parse("ftp://x/f"), Err(E::OtherScheme { .. })));
        assert!(matches!(
            parse("http://example.org/f"),
            Err(E::PlainHttp { .. })
        ));
        assert!(matches!(
            parse("http://127.0.0.1.example.org/f"),
            Err(E::PlainHttp { .. })
        ));
        assert!(matches!(
            parse("https://me:secret@example.org/f"),
            Err(E::Credentials)
        ));
        assert!(matches!(parse("https://"), Err(E::BadUrl { .. })));
        assert_eq!(parse(""), Err(E::Empty));
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for text in [
            "http://127.0.0.1:8080/f",
            "http://[::1]/f",
            "http://localhost/f",
        ] {
            assert!(matches!(parse(text), Ok(Reference::Web(_))), "{text}");
        }
    }

    #[test]
    fn a_signature_in_an_address_is_not_shown() {
        let shown = parse("https://cdn.example/f.gguf?sig=SECRET#x").expect("it is an address");
        assert_eq!(shown.to_string(), "https://cdn.example/f.gguf");
        assert!(!format!("{shown:?}").contains("SECRET"));
        assert_eq!(shown.file_name(), "f.gguf");
    }
}
