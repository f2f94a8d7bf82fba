//! Receipts and proofs of settlement, checked in a reader's browser, so that whoever serves the page is not believed.
//!
//! A plain C interface, so that a page needs no generated glue; `verifier.mjs` is all there is:
//!
//! ```text
//! tally_part(part u32, length u32) -> address      room for a part; 0 when there is no such part, or it is too long
//! tally_verify(now f64) -> address                 the answer, JSON in UTF-8; now in milliseconds since 1970
//! tally_answer_length() -> u32                     its bytes
//! tally_reset()                                    forgets all parts
//!
//! parts: 0 proof (either kind), 1 receipt, 2 genesis file, 3 C2SP policy, 4 policy for receipts (docs/receipt.md)
//! ```
//!
//! The answer:
//!
//! ```json
//! {"verified": true, "ledger": VERDICT or null, "receipt": VERDICT or null, "knownSince": TIME or null,
//!  "entry": {"receipt": DIGEST, "node": KEY, "sequence": 0, "inFull": false} or null, "document": TEXT or null,
//!  "words": [{"about": TEXT, "words": TEXT}], "chain": DIGEST or null, "refused": {"part": "genesis", "reason": TEXT} or null}
//! ```
//!
//! `verified` needs everything that is there to be verified: the proof, and the receipt if it is at hand and there is a
//! policy for receipts. `document` is the receipt, from the proof if it is inside, and `words` what it says, if it is one.
//! `chain` is the name of the chain that the genesis begins. When a part is no genesis or policy, it is `refused` and
//! nothing is verified.
//!
//! No clock, no randomness, no imports: the module can do nothing but compute. The page gives the time.

use std::cell::RefCell;

use serde_json::{Value, json};
use tally_ledger::{Genesis, Trust, verify_proof};
use tally_log::Policy;
use tally_receipt::{Context, Receipt, Timestamp, Verdict, verify_bytes};

/// Bytes of one part.
const MAX_PART_BYTES: usize = tally_ledger::MAX_PROOF_BYTES;

const PARTS: usize = 5;

/// What the page gave, and what it is answered. One page, one thread.
#[derive(Default)]
struct Memory {
    parts: [Option<Vec<u8>>; PARTS],
    answer: Vec<u8>,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

/// Room for a part of this length. Zero when there is no such part, or it is too long.
#[expect(
    unsafe_code,
    reason = "a name that a page can call; no other function has it"
)]
#[unsafe(no_mangle)]
pub extern "C" fn tally_part(part: u32, length: u32) -> *mut u8 {
    let length = length as usize;
    MEMORY.with_borrow_mut(|memory| match memory.parts.get_mut(part as usize) {
        Some(place) if length <= MAX_PART_BYTES => place.insert(vec![0; length]).as_mut_ptr(),
        _ => std::ptr::null_mut(),
    })
}

/// Judges what was given. The answer stays where it is until the next call.
#[expect(
    unsafe_code,
    reason = "a name that a page can call; no other function has it"
)]
#[unsafe(no_mangle)]
pub extern "C" fn tally_verify(now: f64) -> *const u8 {
    MEMORY.with_borrow_mut(|memory| {
        let [proof, receipt, genesis, policy, receipt_policy] =
            memory.parts.each_ref().map(|part| part.as_deref());
        // A cast from a float saturates, and makes what is no number 0: a time that no proof is good at.
        let answer = judge(&Given {
            now: now as u64,
            proof,
            receipt,
            genesis,
            policy,
            receipt_policy,
        });
        memory.answer = answer.to_string().into_bytes();
        memory.answer.as_ptr()
    })
}

/// Bytes of the answer.
#[expect(
    unsafe_code,
    reason = "a name that a page can call; no other function has it"
)]
#[unsafe(no_mangle)]
pub extern "C" fn tally_answer_length() -> u32 {
    MEMORY.with_borrow(|memory| {
        u32::try_from(memory.answer.len()).expect("a verdict and a receipt are far below 4 GiB")
    })
}

/// Forgets all parts and the answer.
#[expect(
    unsafe_code,
    reason = "a name that a page can call; no other function has it"
)]
#[unsafe(no_mangle)]
pub extern "C" fn tally_reset() {
    MEMORY.set(Memory::default());
}

/// What there is to judge.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// In milliseconds since 1970.
    pub now: u64,
    /// A proof of settlement, of either kind.
    pub proof: Option<&'a [u8]>,
    /// A receipt.
    pub receipt: Option<&'a [u8]>,
    /// Where the chain began.
    pub genesis: Option<&'a [u8]>,
    /// Which cosigners, and how many.
    pub policy: Option<&'a [u8]>,
    /// Whose receipts.
    pub receipt_policy: Option<&'a [u8]>,
}

/// The answer, as it is above.
pub fn judge(given: &Given<'_>) -> Value {
    match try_judge(given) {
        Ok(answer) => answer,
        Err((part, reason)) => json!({
            "verified": false, "ledger": null, "receipt": null, "knownSince": null, "entry": null, "document": null,
            "words": [], "chain": null, "refused": { "part": part, "reason": reason },
        }),
    }
}

type Refused = (&'static str, String);

fn try_judge(given: &Given<'_>) -> Result<Value, Refused> {
    let now = Timestamp::from_unix_ms(given.now).map_err(|error| ("now", error.to_string()))?;
    let genesis = given.genesis.map(genesis).transpose()?;
    let policy = given
        .policy
        .map(Policy::parse)
        .transpose()
        .map_err(|error| ("policy", error.to_string()))?;
    let receipt_policy = given
        .receipt_policy
        .map(tally_receipt::Policy::parse)
        .transpose()
        .map_err(|error| ("receipt-policy", error.to_string()))?;

    let trust = Trust {
        now,
        genesis: genesis.as_ref(),
        policy: policy.as_ref(),
    };
    let shown = given
        .proof
        .map(|proof| verify_proof(proof, given.receipt, &trust));
    let inside = shown.as_ref().and_then(|shown| shown.receipt.as_deref());
    let document = given.receipt.or(inside);
    let context = Context {
        policy: receipt_policy.as_ref(),
        // That it was settled says that it existed by then.
        known_since: shown.as_ref().and_then(|shown| shown.known_since),
        ..Context::at(now)
    };
    let judged = document.map(|document| verify_bytes(document, &context));
    let words: Vec<Value> = judged
        .iter()
        .filter_map(|(receipt, _)| receipt.as_ref())
        .flat_map(Receipt::in_words)
        .map(|said| json!({ "about": said.about, "words": said.words }))
        .collect();
    let receipt: Option<Verdict> = judged.map(|(_, verdict)| verdict);

    let settled = shown
        .as_ref()
        .is_none_or(|shown| shown.verdict.is_verified());
    // Without a policy nobody says whose key it is: then the receipt may not fail, and the proof carries the answer.
    let genuine = receipt.as_ref().is_none_or(|verdict| {
        verdict.is_verified()
            || (shown.is_some() && receipt_policy.is_none() && !verdict.has_failed())
    });
    let anything = shown.is_some() || receipt.is_some();
    Ok(json!({
        "verified": anything && settled && genuine,
        "ledger": shown.as_ref().map(|shown| &shown.verdict),
        "receipt": receipt,
        "knownSince": context.known_since.map(|time| time.to_string()),
        "entry": shown.as_ref().and_then(|shown| shown.entry).map(|entry| json!({
            "receipt": entry.receipt.to_string(),
            "node": entry.node.to_string(),
            // As text: a number above 2^53 would be another one in a browser.
            "sequence": entry.sequence.to_string(),
            "inFull": entry.in_full,
        })),
        "document": document.and_then(|document| std::str::from_utf8(document).ok()),
        "words": words,
        "chain": genesis.as_ref().map(|genesis| genesis.chain().to_string()),
        "refused": null,
    }))
}

fn genesis(bytes: &[u8]) -> Result<Genesis, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|error| ("genesis", error.to_string()))?;
    Genesis::parse(text).map_err(|error| ("genesis", error.to_string()))
}
