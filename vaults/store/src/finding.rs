//! What is wrong, or only odd, with the files of a vault: each with a stable code, what it means and what to do.
//!
//! A finding is never an error. Whatever could be verified is used; the finding says what could not.

use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Odd, and harmless: nothing is missing and nothing is believed that should not be.
    Note,
    /// Something is missing, or somebody wrote into the folder what does not belong there.
    Warning,
    /// What this computer saw before is gone or was replaced.
    Alarm,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $severity:ident, $means:literal, $advice:literal;)*) => {
        /// What was found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {$(
            #[doc = $means]
            $name,
        )*}

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name that programs rely on.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {$(Self::$name => $code,)*}
            }

            /// How much it matters.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self {$(Self::$name => Severity::$severity,)*}
            }

            /// What it means, in a sentence.
            #[must_use]
            pub const fn means(self) -> &'static str {
                match self {$(Self::$name => $means,)*}
            }

            /// What to do about it, in a sentence.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self {$(Self::$name => $advice,)*}
            }
        }
    };
}

codes! {
    GenesisMissing = "genesis.missing", Warning,
        "the file VAULT is missing; this computer's copy of it was used",
        "open the vault for writing once, and the file is put back";
    GenesisDamaged = "genesis.damaged", Alarm,
        "the file VAULT is not the one this vault began with; this computer's copy of it was used",
        "open the vault for writing once, and the file is put back; ask who can write into the folder";
    SlotDamaged = "slot.damaged", Warning,
        "a slot file is cut, altered, or asks for more work than the format allows, so no passphrase is tried on it",
        "restore the file from another copy of the vault, or use the recovery phrase";
    SlotForeign = "slot.foreign", Alarm,
        "a slot file belongs to a member that nobody granted anything, so no passphrase is tried on it",
        "remove the file; ask who can write into the folder";
    SlotMissing = "slot.missing", Warning,
        "a member that is a passphrase slot has no slot file here",
        "restore the file from another copy of the vault, or use the recovery phrase";
    FileMisnamed = "file.misnamed", Note,
        "a file's name does not fit its bytes, as when a sync tool keeps a second copy; its frames were verified one by one and used",
        "nothing; `tally vault rotate --full` or a merge into a new folder leaves it behind";
    FileDoubled = "file.doubled", Note,
        "a file brings nothing that other files do not hold as well",
        "remove it, or leave it";
    FileUnknown = "file.unknown", Note,
        "a file or folder is no part of a vault and was not read",
        "move it out of the folder if you know it";
    FileIrregular = "file.irregular", Warning,
        "a link or a special file lies where a vault keeps files; it was not followed",
        "remove it; ask who can write into the folder";
    FileUnreadable = "file.unreadable", Warning,
        "the file system could not give a file's bytes",
        "check the disk, then restore the file from another copy of the vault";
    FileHeader = "file.header", Warning,
        "a file that should hold frames does not begin like one and was not used",
        "remove it, or restore it from another copy of the vault";
    FrameDamaged = "frame.damaged", Warning,
        "bytes inside a file of frames are not a frame; the rest of that file was not used",
        "restore the file from another copy of the vault, or sync with one";
    FrameForeign = "frame.foreign", Warning,
        "a frame belongs to another vault and was not used",
        "remove the file; ask who can write into the folder";
    BoxAltered = "box.altered", Warning,
        "the bytes of a box are not those that were sealed; they were not used",
        "restore the file from another copy of the vault, or sync with one";
    BoxUnreadable = "box.unreadable", Warning,
        "a box does not open under the key its seal names, or holds other operations than were sealed; it was not used",
        "sync with another copy of the vault; its author is named: whoever sealed it made it so";
    BoxMissing = "box.missing", Warning,
        "a seal is here and what it seals is not",
        "sync with another copy of the vault";
    BoxLocked = "box.locked", Note,
        "boxes are here for which you have no key; their seals were checked",
        "nothing, if the namespace is not shared with you";
    BodyMissing = "body.missing", Warning,
        "an operation's body is in no box here, and no redaction that counts excuses it; the operation counts all the same",
        "sync with another copy of the vault";
    ReboxRefused = "rebox.refused", Warning,
        "a box was made anew by somebody who may not do that; what it holds was read, and the author's own box is kept",
        "nothing is lost; ask who can write into the folder";
    TailCut = "tail.cut", Note,
        "the last frame of a tail is incomplete or altered, as when its writing was interrupted before it was acknowledged",
        "nothing; the next writer cuts it off";
    TailForeign = "tail.foreign", Warning,
        "a tail holds frames of somebody else than the author it is named after",
        "nothing is lost; ask who can write into the folder";
    SealForged = "seal.forged", Warning,
        "a seal does not carry its author's signature and was not used",
        "remove the file; ask who can write into the folder";
    SealGap = "seal.gap", Warning,
        "seals of an author are missing between others that are here",
        "sync with another copy of the vault, or wait for your sync tool to finish";
    SealUnlinked = "seal.unlinked", Warning,
        "a seal names, as the one before it, a seal of another author or number",
        "ask its author; whoever sealed it made it so";
    AuthorClock = "author.clock", Note,
        "an author's times do not increase from box to box",
        "nothing; set that device's clock right";
    AuthorRolledBack = "author.rolled-back", Alarm,
        "this computer has seen newer seals of an author than the folder holds now",
        "wait for your sync tool to finish; if that changes nothing, the folder was set back: sync with another copy";
    AuthorForked = "author.forked", Warning,
        "an author sealed two different things under one number, as a device restored from a backup does; both count",
        "remove the older copy of that device's key; if you know of no backup, revoke the device";
    AuthorRewritten = "author.rewritten", Alarm,
        "a seal that this computer has seen was replaced by another with the same number",
        "sync with another copy of the vault; if you know of no restored backup, revoke the device";
    AuthorWithheld = "author.withheld", Warning,
        "another member has seen newer seals of an author than the folder holds",
        "sync with another copy of the vault, or wait for your sync tool to finish";
    AuthorSeenOtherwise = "author.seen-otherwise", Warning,
        "another member has seen another seal under a number than the one that is here: a fork of which one side is missing",
        "sync with another copy of the vault; if you know of no restored backup, revoke the device";
    OperationUnlinked = "operation.unlinked", Warning,
        "an operation names, as the one before it, an operation of another log or number",
        "ask its author; whoever sealed it made it so";
    FrontierMissing = "frontier.missing", Warning,
        "a revocation names an operation that is not here, so what its author wrote before does not count until it comes",
        "sync with another copy of the vault";
    OperationVoid = "operation.void", Note,
        "operations do not count: their author had no grant for them, or they came after its end",
        "nothing; `tally vault log` shows them";
    GrantExpired = "grant.expired", Note,
        "a grant has ended by this computer's clock and nobody revoked it, so an operation dated back would still count",
        "open the vault for writing with the passphrase: the grant is closed then, by the device that gave it at once and by others a week later; or run `tally vault revoke` on it";
    KeySpoiled = "key.spoiled", Warning,
        "the newest key of a namespace was made by or given to a member that was removed",
        "rotate the namespace: `tally vault rotate`";
    KeyringDamaged = "keyring.damaged", Warning,
        "a keyring file is cut or altered, or its name is not the hash of its bytes; it was not used",
        "restore the file from another copy of the vault, or sync with one";
    KeyringForeign = "keyring.foreign", Warning,
        "no rotation that counts names this keyring; it was not used",
        "remove the file; ask who can write into the folder";
    KeyringMissing = "keyring.missing", Warning,
        "a rotation names a keyring that is not here",
        "restore the file from another copy of the vault, or sync with one";
    BlobMissing = "blob.missing", Warning,
        "a record's large content is not here",
        "restore the file from another copy of the vault, or sync with one";
    BlobDamaged = "blob.damaged", Warning,
        "a blob's bytes are not those of its name; it was not used",
        "restore the file from another copy of the vault, or sync with one";
    BlobUnneeded = "blob.unneeded", Note,
        "no box refers to this blob: its writing was interrupted, or what held it was redacted",
        "nothing; `tally vault rotate --full` removes it";
    FileIncomplete = "file.incomplete", Warning,
        "a portable file has no end, so it was cut off, and nothing of it was taken",
        "copy or export it again";
    TemporaryLeft = "temporary.left", Note,
        "a file is left from a write that was interrupted",
        "nothing; the next writer removes it";
    TrustDamaged = "trust.damaged", Alarm,
        "this computer's record of what it has seen does not parse; rollback before now cannot be noticed",
        "check the disk; compare the vault with another copy";
    NotChecked = "check.locked", Note,
        "the vault was not unlocked, so what is inside the boxes was not checked",
        "run the check again with a passphrase or a key";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is.
    pub code: Code,
    /// Where: a path inside the vault's folder, or the author's key.
    pub place: String,
    /// The values that show it.
    pub detail: String,
}

impl Finding {
    pub(crate) fn new(code: Code, place: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code,
            place: place.into(),
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.code, self.place, self.code.means())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}
