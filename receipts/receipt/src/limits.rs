//! How large anything in a receipt may be. A reader refuses more before it allocates for it.

/// Bytes of an envelope, the file that is called a receipt.
pub const MAX_ENVELOPE_BYTES: usize = 512 * 1024;

/// Bytes of the signed statement: what three quarters of the envelope can carry in base64.
pub const MAX_PAYLOAD_BYTES: usize = MAX_ENVELOPE_BYTES / 4 * 3;

/// Signatures in one envelope.
pub const MAX_SIGNATURES: usize = 8;

/// Bytes of a [`Label`](crate::Label).
pub const MAX_LABEL_BYTES: usize = 200;

/// CPU features in an engine profile.
pub const MAX_CPU_FEATURES: usize = 64;

/// Inference receipts that one run receipt names. 67 bytes each: 4096 take 268 KiB of the payload's 384 KiB.
pub const MAX_RECEIPTS_IN_RUN: usize = 4096;

/// The largest integer in a receipt: every JSON reader holds it exactly.
pub const MAX_COUNT: u64 = (1 << 53) - 1;

/// Stop strings in one request.
pub const MAX_STOP_STRINGS: u32 = 64;

/// Bytes of a policy document.
pub const MAX_POLICY_BYTES: usize = 4 * 1024 * 1024;

/// Keys, models and components (each) in a policy document.
pub const MAX_POLICY_ENTRIES: usize = 10_000;

/// Bytes of a file of openings.
pub const MAX_OPENINGS_BYTES: usize = 64 * 1024 * 1024;
