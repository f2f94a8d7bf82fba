//! A small run, for tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::sync::Arc;
use tally_journal::{
    BranchPoint, Call, Callee, Decision, Digest, EffectClass, End, EngineFingerprint, Enter,
    EntryHash, FrameId, Genesis, Head, Intent, MemorySink, Outcome, RunId, Seq, SettledTerms, Sink,
    Terms, Timestamp, WriteError, Writer, statement,
};
use tally_receipt::{Commitment, Field, Receipt, Run, RunPredicate, Salt, SigningKey, ValueRef};

pub fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::new(seconds, 5).expect("five nanoseconds are less than a second")
}

pub fn terms() -> Terms {
    Terms {
        component: digest(1),
        world: "tally:agent/agent@0.1.0".to_owned(),
        engine: EngineFingerprint {
            name: "wasmtime".to_owned(),
            version: "48.0.1".to_owned(),
            config: digest(2),
        },
        manifest: digest(3),
        grant: br#"{"models":["seed"]}"#.to_vec(),
        limits: vec![
            ("calls".to_owned(), 1000),
            ("fuel".to_owned(), 10_000_000_000),
        ],
        settings: vec![("lang".to_owned(), "en".to_owned())],
        tools: vec![("clock".to_owned(), digest(5))],
        functions: FUNCTIONS.map(Into::into).to_vec(),
    }
}

pub const FUNCTIONS: [&str; 4] = [
    "tally:agent/env@0.1.0#now",
    "tally:agent/env@0.1.0#random",
    "tally:agent/inference@0.1.0#chat",
    "tally:agent/tools@0.1.0#call",
];

pub fn genesis(run: u8) -> Genesis {
    Genesis {
        terms: Arc::new(SettledTerms::new(terms()).expect("these terms are in order")),
        run_id: RunId::from_bytes([run; 16]),
        input: b"\xa1\x64text\x65hello".to_vec(),
        models: vec![("seed".to_owned(), digest(4))],
        wasi_seed: [6; 32],
        clock_base: at(1_700_000_000),
        started: at(1_700_000_001),
        branch_of: None,
    }
}

pub fn branch(run: u8) -> Genesis {
    Genesis {
        branch_of: Some(BranchPoint {
            head: EntryHash::from_bytes([9; 32]),
            entry: Seq::new(3),
        }),
        ..genesis(run)
    }
}

pub fn now(fuel: u64) -> Call<'static> {
    Call {
        frame: FrameId::AGENT,
        function: "tally:agent/env@0.1.0#now",
        class: EffectClass::ReadLocal,
        intent: None,
        request: b"\xa0",
        decision: Decision::Allowed { rule: "env.clock" },
        fuel,
        response: b"\xa2\x67seconds\x1a\x65\x53\xf1\x00\x6bnanoseconds\x00",
        receipt: None,
        callee: None,
    }
}

pub fn denied(fuel: u64) -> Call<'static> {
    Call {
        function: "tally:agent/env@0.1.0#random",
        request: b"\xa1\x63len\x08",
        decision: Decision::Denied {
            reason: "env.random is not in the manifest",
        },
        response: b"\xa1\x63err\xa1\x66denied\x6aenv.random",
        ..now(fuel)
    }
}

pub const CHAT: Intent<'static> = Intent {
    frame: FrameId::AGENT,
    function: "tally:agent/inference@0.1.0#chat",
    class: EffectClass::WriteRemote,
    request: b"\xa1\x65model\x64seed",
    fuel: 300,
};

pub fn answer_to(seq: Seq, intent: &Intent<'static>) -> Call<'static> {
    Call {
        frame: intent.frame,
        function: intent.function,
        class: intent.class,
        intent: Some(seq),
        request: intent.request,
        decision: Decision::Allowed {
            rule: "models.seed",
        },
        fuel: intent.fuel,
        response: b"\xa1\x62ok\x01",
        receipt: Some(
            br#"{"payloadType":"application/vnd.in-toto+json","payload":"","signatures":[]}"#,
        ),
        callee: None,
    }
}

pub const END: End<'static> = End {
    outcome: Outcome::Replied,
    output: Some(b"\xa1\x62ok\xa1\x64text\x63bye"),
    fuel: 900,
    ended: Timestamp::from_epoch(std::time::Duration::from_secs(1_700_000_009)),
};

/// Longer than what stands inline.
pub fn large() -> Vec<u8> {
    let mut value = vec![0x5a, 0x00, 0x01, 0x86, 0xa0];
    value.extend((0..100_000u32).map(|i| i.to_le_bytes()[0]));
    value
}

/// Every kind of entry, blobs, a tool run, an intent left in doubt: all up to the end.
pub fn write_all<S: Sink>(sink: S, run: u8) -> Result<Writer<S>, WriteError> {
    let large = large();
    let mut writer = Writer::create(sink, &genesis(run))?;
    writer.call(&now(100))?;
    writer.call(&denied(200))?;
    let seq = writer.intent(&CHAT)?;
    writer.call(&answer_to(seq, &CHAT))?;
    writer.enter(&Enter {
        frame: FrameId::new(1),
        parent: FrameId::AGENT,
        component: digest(5),
        export: "tally:agent/tools@0.1.0#call",
        request: b"\xa1\x64name\x65clock",
        grant: b"{}",
    })?;
    writer.call(&Call {
        frame: FrameId::new(1),
        ..now(50)
    })?;
    writer.call(&Call {
        function: "tally:agent/tools@0.1.0#call",
        class: EffectClass::WriteLocal,
        request: b"\xa1\x64name\x65clock",
        response: &large,
        callee: Some(Callee {
            frame: FrameId::new(1),
            fuel: 70,
        }),
        ..now(400)
    })?;
    writer.call(&Call {
        request: &large,
        response: &large,
        ..now(500)
    })?;
    writer.intent(&Intent { fuel: 600, ..CHAT })?;
    writer.end(&END)?;
    Ok(writer)
}

pub const ENTRIES: u64 = 11;

/// The same, as bytes.
pub fn ended(run: u8) -> Vec<u8> {
    write_all(MemorySink::new(), run)
        .expect("memory takes everything")
        .into_sink()
        .into_bytes()
}

pub fn runner() -> SigningKey {
    SigningKey::from_seed(&[42; 32])
}

pub fn commitment(field: Field) -> Commitment {
    Commitment::new(
        field,
        &Salt::from_bytes([8; 32]),
        ValueRef::Text("something"),
    )
}

/// The run receipt over what `writer` has written, changed by `change` before it is signed.
pub fn seal_with(
    genesis: &Genesis,
    head: Head,
    receipts: Vec<Digest>,
    change: impl FnOnce(&mut Run),
) -> Vec<u8> {
    let mut run = statement(
        genesis,
        &END,
        head,
        receipts,
        runner().public_key(),
        commitment(Field::RunInput),
        Some(commitment(Field::RunOutput)),
    );
    change(&mut run);
    Receipt::sign(RunPredicate::new(run).unwrap(), &[&runner()])
        .unwrap()
        .to_json()
}

/// Seals a journal that has ended.
pub fn seal<S: Sink>(writer: &mut Writer<S>, genesis: &Genesis, receipts: Vec<Digest>) {
    let envelope = seal_with(genesis, writer.head(), receipts, |_| {});
    writer.seal(&envelope).unwrap();
}

/// Every kind of entry, sealed.
pub fn sealed(run: u8) -> Vec<u8> {
    let mut writer = write_all(MemorySink::new(), run).unwrap();
    let receipt = answer_to(Seq::new(3), &CHAT).receipt.unwrap();
    seal(&mut writer, &genesis(run), vec![Digest::of(receipt)]);
    writer.into_sink().into_bytes()
}

/// Short, without large values: for trying every byte.
pub fn write_small<S: Sink>(sink: S, genesis: &Genesis) -> Writer<S> {
    let mut writer = Writer::create(sink, genesis).unwrap();
    writer.call(&now(100)).unwrap();
    writer.call(&denied(200)).unwrap();
    let seq = writer.intent(&CHAT).unwrap();
    writer
        .call(&Call {
            receipt: None,
            ..answer_to(seq, &CHAT)
        })
        .unwrap();
    writer.end(&END).unwrap();
    writer
}

pub const SMALL_ENTRIES: u64 = 6;

pub fn small_ended(run: u8) -> Vec<u8> {
    write_small(MemorySink::new(), &genesis(run))
        .into_sink()
        .into_bytes()
}

pub fn small_sealed(run: u8) -> Vec<u8> {
    let mut writer = write_small(MemorySink::new(), &genesis(run));
    seal(&mut writer, &genesis(run), vec![]);
    writer.into_sink().into_bytes()
}

/// Where each frame stands: its length, its payload, its check.
#[derive(Clone, Debug)]
pub struct At {
    pub offset: usize,
    pub payload: std::ops::Range<usize>,
    pub end: usize,
    /// The entry that it is, or that its value or terms belong to; none for the seal.
    pub entry: Option<u64>,
    pub is_entry: bool,
}

pub const HEADER_LEN: usize = 12;

/// Where the terms stand, without the crate's own reader.
pub fn terms_at(bytes: &[u8]) -> At {
    let len = u32::from_le_bytes(bytes[HEADER_LEN..HEADER_LEN + 4].try_into().unwrap()) as usize;
    let payload = HEADER_LEN + 4..HEADER_LEN + 4 + len;
    At {
        offset: HEADER_LEN,
        end: payload.end + 8,
        payload,
        entry: Some(0),
        is_entry: false,
    }
}

/// Walks the frames of a good journal after its terms, without the crate's own reader. Where there are no large values,
/// they are counted as the entries are.
pub fn frames(bytes: &[u8]) -> Vec<At> {
    let mut frames = Vec::new();
    let (mut offset, mut next) = (terms_at(bytes).end, 0);
    while offset < bytes.len() {
        let len = u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap()) as usize;
        let payload = offset + 4..offset + 4 + len;
        // A blob is 82 08 …, a seal 82 09 ….
        let attached = bytes[payload.start] == 0x82;
        let seal = attached && bytes[payload.start + 1] == 9;
        frames.push(At {
            offset,
            end: payload.end + 8,
            payload: payload.clone(),
            entry: (!seal).then_some(next),
            is_entry: !attached,
        });
        next += u64::from(!attached);
        offset = payload.end + 8;
    }
    frames
}

/// Bytes of an entry's last two elements: its run and the hash of the entry before it.
pub const TAIL_LEN: usize = 51;

pub fn hash(payload: &[u8]) -> [u8; 32] {
    let len = payload.len();
    let is_entry = len >= TAIL_LEN
        && payload[1] <= 4
        && payload[len - 51] == 0x50
        && payload[len - 34..len - 32] == [0x58, 0x20];
    let hash = if is_entry {
        let prev = payload[len - 32..].try_into().unwrap();
        let covered = if payload[1] == 0 { len - 34 } else { len - 51 };
        blake3::keyed_hash(prev, &payload[..covered])
    } else {
        let key = blake3::derive_key("tally journal v1 frame", b"");
        blake3::keyed_hash(&key, payload)
    };
    *hash.as_bytes()
}

/// Makes the check of the frame at `at` right again, as a forger would.
pub fn mend_check(bytes: &mut [u8], at: &At) {
    let check = hash(&bytes[at.payload.clone()]);
    bytes[at.payload.end..at.end].copy_from_slice(&check[..8]);
}

/// A frame around `payload`.
pub fn frame(payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&len.to_le_bytes()[..], payload, &hash(payload)[..8]].concat()
}
