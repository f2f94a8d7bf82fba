//! Why a file did not come.

use std::io;
use std::path::PathBuf;

/// Why [`crate::fetch`] handed out no file. What is said to be kept is continued by the same request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    // The caller asks for something else.
    /// There is no such file there.
    #[error("{host} has no such file ({status}): {url}")]
    NotThere {
        /// Who says so.
        host: String,
        /// 404 or 410.
        status: u16,
        /// What was asked for.
        url: String,
    },
    /// The server wants somebody it knows.
    #[error("{host} does not give this file to {who} ({status}): {url}", who = if *.with_token { "this token" } else { "strangers" })]
    NotAllowed {
        /// Who says so.
        host: String,
        /// 401 or 403.
        status: u16,
        /// What was asked for.
        url: String,
        /// Whether it was given the hub's token.
        with_token: bool,
    },
    /// It begins with other bytes than this kind of file.
    #[error("{from} is not a {kind} file: it begins with {begins:?}")]
    OtherKind {
        /// The reference it was asked for by.
        from: String,
        /// What was wanted.
        kind: &'static str,
        /// Its first bytes as text, at most 24 characters.
        begins: String,
    },
    /// It is not the file that the hash was given for. It was removed.
    #[error("its {hash} is {found}, not {expected} as {by} says; what was downloaded was removed")]
    WrongHash {
        /// Which hash.
        hash: &'static str,
        /// What it is, in hex.
        found: String,
        /// What it should be, in hex.
        expected: String,
        /// Who gave it: "the command", or a host.
        by: String,
    },
    /// The hub's file is another one; nothing was downloaded.
    #[error("{host} has another file there: its SHA-256 is {found}, not {expected}")]
    HubDiffers {
        /// The hub.
        host: String,
        /// What the hub has.
        found: String,
        /// What was asked for.
        expected: String,
    },

    // The operator of this machine acts.
    /// No answer came from the other side, not even the beginning of one.
    #[error("cannot reach {host}: {reason}")]
    Unreachable {
        /// Whom.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The other side could not show who it is.
    #[error(
        "{host} is not who it should be, or this machine lacks the certificate that says so: {reason}"
    )]
    Certificate {
        /// Whom.
        host: String,
        /// What is wrong with the certificate.
        reason: String,
    },
    /// There is no room. What was there before is kept.
    #[error("{} has room for {free} bytes more and {needed} are needed", dir.display())]
    NoSpace {
        /// Where.
        dir: PathBuf,
        /// Bytes still to come.
        needed: u64,
        /// Bytes that may be used.
        free: u64,
    },
    /// The disk filled, or a limit on file size was met, while writing. What was written is kept.
    #[error("no room for {} beyond {have} bytes: {reason}", path.display())]
    Full {
        /// What was written.
        path: PathBuf,
        /// How much of it there is.
        have: u64,
        /// How much is still to come, when that is known.
        needed: Option<u64>,
        /// What the system said.
        reason: String,
    },
    /// Another process is fetching the same file into the same place.
    #[error("another pull of this file is going on here ({})", path.display())]
    Busy {
        /// The part both want.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },

    // The other side is at fault.
    /// It ended early, again and again. What came is kept.
    #[error("{host} stopped after {have}{} bytes: {reason}", total.map_or_else(String::new, |total| format!(" of {total}")))]
    Interrupted {
        /// Who.
        host: String,
        /// Bytes that are here.
        have: u64,
        /// Bytes there are, when that is known.
        total: Option<u64>,
        /// What happened last.
        reason: String,
    },
    /// It answers with an error of its own.
    #[error("{host} answers {status}: {url}")]
    Status {
        /// Who.
        host: String,
        /// The status.
        status: u16,
        /// What was asked for.
        url: String,
    },
    /// One redirect too many.
    #[error("{host} redirects more than {limit} times")]
    Redirects {
        /// The last of them.
        host: String,
        /// How many are followed.
        limit: u32,
    },
    /// A redirect out of TLS, or to something that is no web address.
    #[error("{host} redirects to {to}, which is not https; it was not followed")]
    Insecure {
        /// Who.
        host: String,
        /// Where to.
        to: String,
    },
    /// It says two things that do not go together.
    #[error("{host} contradicts itself: {what}")]
    Contradiction {
        /// Who.
        host: String,
        /// Which.
        what: String,
    },
    /// It announces more than any file we take, or sends more than that without announcing it.
    #[error("{host} announces {found} bytes; at most {limit} are taken")]
    TooLarge {
        /// Who.
        host: String,
        /// How many.
        found: u64,
        /// The limit.
        limit: u64,
    },
}

impl FetchError {
    /// Whether the file would have come had there been a connection: the person may bring it another way.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Certificate { .. })
    }

    /// Whether the same request continues with what is already here.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        matches!(
            self,
            Self::Interrupted { .. }
                | Self::Full { .. }
                | Self::NoSpace { .. }
                | Self::Unreachable { .. }
        )
    }
}
