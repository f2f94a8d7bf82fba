//! What holds for every journal and for every sequence of bytes.

mod common;

use std::sync::Arc;

use proptest::prelude::*;
use tally_journal::{
    Body, Brought, Call, Callee, Decision, EffectClass, End, Enter, FrameId, Genesis, Intent,
    Journal, MemorySink, Outcome, Seq, SettledTerms, Terms, Timestamp, WriteError, Writer, view,
};

/// An entry to try, with everything that borrows owned.
#[derive(Clone, Debug)]
enum Step {
    Intent(u32, String, u8, Vec<u8>, u64),
    Enter(u32, u32, Vec<u8>),
    Call {
        frame: u32,
        function: String,
        class: u8,
        answers: bool,
        bytes: [Vec<u8>; 3],
        allowed: bool,
        fuel: u64,
        closes: bool,
    },
}

/// Values on both sides of the lengths where their encoding changes.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let sizes = prop_oneof![
        20 => 0..300usize,
        1 => prop::sample::select(vec![23, 24, 255, 256, 65_535, 65_536, 65_537, 70_000]),
    ];
    (sizes, any::<u8>()).prop_map(|(len, byte)| vec![byte; len])
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..30u64,
        any::<u64>(),
        prop::sample::select(vec![23, 24, 255, 256, 65_535, 65_536, 1 << 32, u64::MAX])
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let name = prop::sample::select(common::FUNCTIONS.to_vec());
    let name = || name.clone().prop_map(str::to_owned);
    prop_oneof![
        1 => (0..3u32, name(), 0..5u8, value(), number()).prop_map(|(f, n, c, v, u)| Step::Intent(f, n, c, v, u)),
        1 => (1..4u32, 0..3u32, value()).prop_map(|(f, p, v)| Step::Enter(f, p, v)),
        4 => (0..3u32, name(), 0..5u8, any::<bool>(), [value(), value(), value()], any::<bool>(), number(), any::<bool>())
            .prop_map(|(frame, function, class, answers, bytes, allowed, fuel, closes)| {
                Step::Call { frame, function, class, answers, bytes, allowed, fuel, closes }
            }),
    ]
}

fn genesis() -> impl Strategy<Value = Genesis> {
    let pairs = || prop::collection::btree_map("[a-z]{0,5}", number(), 0..4);
    (
        any::<[u8; 16]>(),
        value(),
        value(),
        pairs(),
        pairs(),
        number(),
        0..1_000_000_000u32,
        any::<bool>(),
    )
        .prop_map(
            |(run, grant, input, limits, settings, seconds, nanoseconds, branch)| {
                let base = if branch {
                    common::branch(1)
                } else {
                    common::genesis(1)
                };
                let terms = Terms {
                    grant: grant.into_iter().take(60_000).collect(),
                    limits: limits.into_iter().collect(),
                    settings: settings
                        .into_iter()
                        .map(|(name, value)| (name, value.to_string()))
                        .collect(),
                    ..common::terms()
                };
                Genesis {
                    terms: Arc::new(SettledTerms::new(terms).unwrap()),
                    run_id: tally_journal::RunId::from_bytes(run),
                    input,
                    started: Timestamp::new(seconds % (1 << 34), nanoseconds).unwrap(),
                    clock_base: if seconds % 2 == 0 {
                        base.clock_base
                    } else {
                        Timestamp::new(seconds % (1 << 34), nanoseconds).unwrap()
                    },
                    ..base
                }
            },
        )
}

/// What was written, to compare with what is read.
#[derive(Default)]
struct Told(Vec<String>);

fn write(genesis: &Genesis, steps: &[Step]) -> (Vec<u8>, Told) {
    let mut writer = Writer::create(MemorySink::new(), genesis).unwrap();
    let mut told = Told::default();
    let mut open: Vec<(Seq, Intent<'_>)> = Vec::new();
    for step in steps {
        let class = |code: u8| EffectClass::ALL[usize::from(code)];
        let result = match step {
            Step::Intent(frame, function, code, request, fuel) => {
                let intent = Intent {
                    frame: FrameId::new(*frame),
                    function,
                    class: class(*code),
                    request: &request[..],
                    fuel: *fuel,
                };
                writer.intent(&intent).map(|seq| {
                    open.push((seq, intent));
                    told.0.push(format!("{:?}", Body::Intent(intent)));
                })
            }
            Step::Enter(frame, parent, request) => {
                let enter = Enter {
                    frame: FrameId::new(*frame),
                    parent: FrameId::new(*parent),
                    component: common::digest(3),
                    export: "x",
                    request: &request[..],
                    grant: b"{}",
                };
                writer
                    .enter(&enter)
                    .map(|_| told.0.push(format!("{:?}", Body::Enter(enter))))
            }
            Step::Call {
                frame,
                function,
                class: code,
                answers,
                bytes: [request, response, receipt],
                allowed,
                fuel,
                closes,
            } => {
                let mut call = Call {
                    frame: FrameId::new(*frame),
                    function: &function[..],
                    class: class(*code),
                    intent: None,
                    request: &request[..],
                    decision: if *allowed {
                        Decision::Allowed { rule: function }
                    } else {
                        Decision::Denied { reason: function }
                    },
                    fuel: *fuel,
                    response: &response[..],
                    receipt: (receipt.len().is_multiple_of(2)).then_some(Brought {
                        envelope: &receipt[..],
                        asked: receipt.len().is_multiple_of(4).then_some([1; 32]),
                        answered: receipt.len().is_multiple_of(3).then_some([2; 32]),
                    }),
                    callee: closes.then_some(Callee {
                        frame: FrameId::new(frame + 1),
                        fuel: *fuel,
                    }),
                };
                if *answers && let Some((seq, intent)) = open.last() {
                    call = Call {
                        frame: intent.frame,
                        function: intent.function,
                        class: intent.class,
                        intent: Some(*seq),
                        request: intent.request,
                        ..call
                    };
                }
                writer.call(&call).map(|_| {
                    open.retain(|(seq, _)| Some(*seq) != call.intent);
                    told.0.push(format!("{:?}", Body::Call(call)));
                })
            }
        };
        // Steps that may not stand there are refused and leave no trace.
        assert!(
            matches!(result, Ok(()) | Err(WriteError::OutOfOrder { .. })),
            "{result:?}"
        );
    }
    let end = End {
        outcome: Outcome::HostFailed { reason: "x" },
        output: None,
        fuel: 1,
        ended: genesis.started,
    };
    if steps.len().is_multiple_of(2) {
        writer.end(&end).unwrap();
        told.0.push(format!("{:?}", Body::<&[u8]>::End(end)));
    }
    let in_doubt: Vec<_> = open.iter().map(|(seq, _)| *seq).collect();
    let bytes = writer.into_sink().into_bytes();
    assert_eq!(
        Journal::parse(&bytes[..])
            .unwrap()
            .in_doubt()
            .collect::<Vec<_>>(),
        in_doubt
    );
    (bytes, told)
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(genesis in genesis(), steps in prop::collection::vec(step(), 0..12)) {
        let (bytes, told) = write(&genesis, &steps);
        let journal = Journal::parse(&bytes[..]).unwrap();
        prop_assert_eq!(journal.genesis(), &genesis);
        let read: Vec<_> = journal.entries().skip(1).map(|entry| format!("{:?}", entry.body)).collect();
        prop_assert_eq!(read, told.0);
        prop_assert_eq!(view::describe(&journal).count() as u64, journal.len());
    }

    #[test]
    fn a_journal_altered_anywhere_at_random_is_refused_or_has_another_head(
        steps in prop::collection::vec(step(), 0..6), edits in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        mend: bool,
    ) {
        let (bytes, _) = write(&common::genesis(1), &steps);
        let good = Journal::parse(&bytes[..]).unwrap();
        let mut frames = common::frames(&bytes);
        frames.push(common::terms_at(&bytes));
        let mut bad = bytes.clone();
        for (index, mask) in &edits {
            bad[index.index(bytes.len())] ^= mask;
        }
        if mend {
            for at in &frames {
                common::mend_check(&mut bad, at);
            }
        }
        if bad != bytes && let Ok(journal) = Journal::parse(&bad[..]) {
            prop_assert!(mend && journal.head() != good.head());
        }
        let _ = Journal::recover(bad);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(
        frames in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..80), any::<bool>()), 0..6),
        with_terms: bool,
    ) {
        let good = common::small_ended(1);
        let mut bytes = good[..if with_terms { common::terms_at(&good).end } else { common::HEADER_LEN }].to_vec();
        for (payload, framed) in frames {
            bytes.extend_from_slice(&if framed { common::frame(&payload) } else { payload });
        }
        let _ = Journal::parse(&bytes[..]);
        let _ = Journal::recover(bytes);
    }

    /// Structures that are nearly entries: real payloads with pieces cut out, doubled or exchanged, in frames that hold.
    #[test]
    fn no_splicing_makes_the_reader_panic_or_accept(
        at in any::<prop::sample::Index>(), cut in 0..40usize, insert in prop::collection::vec(any::<u8>(), 0..8),
        which in any::<prop::sample::Index>(),
    ) {
        let good = common::small_sealed(1);
        let mut frames = common::frames(&good);
        frames.push(common::terms_at(&good));
        let target = &frames[which.index(frames.len())];
        let mut payload = good[target.payload.clone()].to_vec();
        let at = at.index(payload.len());
        let end = (at + cut).min(payload.len());
        let changed = payload[at..end] != insert[..];
        payload.splice(at..end, insert);
        let bytes = [&good[..target.offset], &common::frame(&payload), &good[target.end..]].concat();
        prop_assert_eq!(Journal::parse(&bytes[..]).is_ok(), !changed);
        let _ = Journal::recover(bytes);
    }

    #[test]
    fn no_bytes_make_the_value_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = tally_journal::value::to_json(&bytes);
    }
}
