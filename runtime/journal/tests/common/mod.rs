//! A small run, for tests.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use tally_journal::{
    BranchPoint, Call, Callee, Decision, Digest, EffectClass, End, EngineFingerprint, Enter,
    EntryHash, FrameId, Genesis, Intent, MemorySink, Outcome, RunId, Seq, Sink, Timestamp,
    WriteError, Writer,
};

pub fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::new(seconds, 5).expect("five nanoseconds are less than a second")
}

pub fn genesis(run: u8) -> Genesis {
    Genesis {
        run_id: RunId::from_bytes([run; 16]),
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
        input: b"\xa1\x64text\x65hello".to_vec(),
        settings: vec![("lang".to_owned(), "en".to_owned())],
        models: vec![("seed".to_owned(), digest(4))],
        tools: vec![("clock".to_owned(), digest(5))],
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
