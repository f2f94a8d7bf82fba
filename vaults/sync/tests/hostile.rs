//! Peers that do not mean well: each is bounded, and named.

mod common;

use std::time::Duration;

use common::scenarios::{self, InMemory, furnished};
use common::{Memory, holdings, rng, seed};
use proptest::prelude::*;
use tally_vault_format::{Identity, MemberKind};
use tally_vault_sync::{Ended, Fault, Limits, Peer, Refusal, SyncError, initiate, respond};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

type End = Ended<std::convert::Infallible>;

/// Runs an honest responder against a peer that does as it likes.
async fn against<F: Future<Output = ()>>(
    limits: Limits,
    peer: impl FnOnce(DuplexStream) -> F,
) -> (End, Memory) {
    let (world, mut copy, _) = furnished();
    let before = holdings(&copy);
    let (near, mut far) = tokio::io::duplex(1 << 16);
    // Not the chance of any recorded session.
    let mut random = rng(99);
    let (ended, ()) = tokio::join!(
        async {
            let ended = respond(
                &mut copy,
                &mut far,
                &world.root.identity,
                b"channel",
                &mut random,
                &limits,
            )
            .await;
            drop(far);
            ended
        },
        peer(near)
    );
    assert!(holdings(&copy) == before, "nothing changes");
    (ended, copy)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

#[tokio::test(start_paused = true)]
async fn silence_and_slow_bytes_end() {
    let (ended, _) = against(Limits::default(), |near| async move {
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        drop(near);
    })
    .await;
    assert!(
        matches!(ended.result, Err(SyncError::Peer(Fault::Silent))),
        "{ended:?}"
    );

    let started = tokio::time::Instant::now();
    let (ended, _) = against(Limits::default(), |mut near| async move {
        // One byte each two seconds of a hello that never ends.
        for byte in message(1, &[0; 74]) {
            tokio::time::sleep(Duration::from_secs(2)).await;
            if near.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    })
    .await;
    assert!(
        matches!(ended.result, Err(SyncError::Peer(Fault::TooSlow))),
        "{ended:?}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(2 * 3_600),
        "the clock of the test is the runtime's"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_not_waited_for() {
    // It takes part until it should take frames, and then its window stays shut: the channel is open and full.
    let (world, mut copy, device) = furnished();
    let (near, mut far) = tokio::io::duplex(4 * 1024);
    let mut near = Deaf {
        inner: near,
        hears: 3_000,
    };
    let mut random = rng(1);
    let mut fresh = world.empty();
    let mut other = rng(2);
    let limits = Limits::default();
    // It is in no hurry, so it is not the one that gives up.
    let patient = Limits {
        idle: Duration::from_secs(36_000),
        grace: Duration::from_secs(36_000),
        ..Limits::default()
    };
    let session = initiate(
        &mut fresh,
        &mut near,
        &device.identity,
        b"channel",
        &mut other,
        &patient,
    );
    let ended = tokio::select! {
        ended = respond(
            &mut copy,
            &mut far,
            &world.root.identity,
            b"channel",
            &mut random,
            &limits
        ) => ended,
        other = session => panic!("it ended first: {other:?}"),
    };
    assert!(
        matches!(ended.result, Err(SyncError::Peer(Fault::Silent))),
        "{ended:?}"
    );
    assert_eq!(ended.report.peer, Some(device.member()));
    assert_eq!(near.hears, 0, "it was deaf in the middle");
}

#[tokio::test(start_paused = true)]
async fn somebody_who_is_no_member_cannot_keep_a_copy_for_long() {
    let (world, mut root, device) = furnished();
    let stranger = Identity::new(MemberKind::Device, seed(77));
    let (vault, limits) = (world.vault(), Limits::default());
    let patient = Limits {
        idle: Duration::from_secs(36_000),
        grace: Duration::from_secs(36_000),
        ..Limits::default()
    };
    let mut held = Vec::new();
    for who in [&stranger, &device.identity] {
        let (near, far) = tokio::io::duplex(1 << 16);
        // It hears hello, proof and ready, says its open, and then hears nothing and says nothing.
        let near = Deaf {
            inner: near,
            hears: 111 + 69 + 5,
        };
        let (mut random, mut other) = (rng(1), rng(2));
        let owner = &world.root.identity;
        let (silent, called) = tokio::join!(
            Peer::dialled(near, &vault, who, b"channel", &mut random, &patient),
            Peer::called(far, &vault, owner, b"channel", &mut other, &limits),
        );
        let (silent, called) = (silent.expect("it answers"), called.expect("it asks"));
        assert_eq!(called.member(), who.member());
        let mut fresh = world.empty();
        let says_open = async {
            let ready = silent.ready().await.expect("the other side can begin");
            ready.synchronise(&mut fresh).await.0
        };
        let is_held = async {
            let ready = called.ready().await.expect("it says its open");
            let begun = tokio::time::Instant::now();
            let (ended, _channel) = ready.synchronise(&mut root).await;
            (ended, begun.elapsed())
        };
        let (ended, time) = tokio::select! {
            held = is_held => held,
            ended = says_open => panic!("it ended first: {ended:?}"),
        };
        assert!(matches!(ended.result, Err(SyncError::Peer(_))), "{ended:?}");
        held.push(time);
    }
    // The clock of the test is the runtime's.
    assert!(held[0] < limits.idle && held[1] >= limits.idle, "{held:?}");
}

/// A stream that gives so many bytes and then none, and stays open.
struct Deaf {
    inner: tokio::io::DuplexStream,
    hears: usize,
}

impl tokio::io::AsyncRead for Deaf {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if self.hears == 0 {
            return std::task::Poll::Pending;
        }
        let mut part = vec![0; buf.remaining().min(self.hears)];
        let mut room = tokio::io::ReadBuf::new(&mut part);
        let polled = std::pin::Pin::new(&mut self.inner).poll_read(cx, &mut room);
        buf.put_slice(room.filled());
        self.hears -= room.filled().len();
        polled
    }
}

impl tokio::io::AsyncWrite for Deaf {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn what_is_no_hello_is_named() {
    let other_version = [&b"TALLYSYN"[..], &9_u16.to_be_bytes(), &[0; 64]].concat();
    let foreign = [&b"SOMETHIN"[..], &1_u16.to_be_bytes(), &[0; 64]].concat();
    let unknown_vault = [&b"TALLYSYN"[..], &2_u16.to_be_bytes(), &[0; 64]].concat();
    let cases: Vec<(Vec<u8>, Fault)> = vec![
        (message(1, &other_version), Fault::Version(9)),
        (message(1, &foreign), Fault::NotSync),
        (message(1, &unknown_vault), Fault::OtherVault),
        (message(1, &[0; 3]), Fault::Malformed("hello")),
        (
            message(1, &[0; 107]),
            Fault::TooLong {
                kind: 1,
                length: 107,
            },
        ),
        (
            message(8, &[]),
            Fault::Unexpected {
                expected: "hello",
                found: 8,
            },
        ),
        (
            message(77, &[]),
            Fault::Unexpected {
                expected: "a message of this protocol",
                found: 77,
            },
        ),
        // Four gigabytes are announced, and no memory is taken for them.
        (
            [&[8][..], &u32::MAX.to_be_bytes()].concat(),
            Fault::TooLong {
                kind: 8,
                length: u32::MAX,
            },
        ),
        (
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            Fault::Unexpected {
                expected: "a message of this protocol",
                found: b'G',
            },
        ),
    ];
    for (bytes, fault) in cases {
        let (ended, _) = against(Limits::default(), |mut near| async move {
            near.write_all(&bytes).await.expect("there is room");
            let mut answer = Vec::new();
            near.read_to_end(&mut answer)
                .await
                .expect("the other side closes");
            assert_eq!(
                answer.first(),
                Some(&255),
                "it says goodbye, and no member key"
            );
            assert_eq!(answer.len(), 7);
        })
        .await;
        match ended.result {
            Err(SyncError::Peer(found)) => assert_eq!(found, fault),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_handshake_cannot_be_replayed_nor_carried_to_another_channel() {
    // What an initiator once said on one channel, recorded.
    let (world, mut copy, device) = furnished();
    let (mut near, mut tap) = tokio::io::duplex(1 << 16);
    let (mut beyond, mut far) = tokio::io::duplex(1 << 16);
    let mut fresh = world.empty();
    let (mut random, mut other) = (rng(1), rng(2));
    let mut recorded = Vec::new();
    let limits = Limits::default();
    let (left, right, ()) = tokio::join!(
        async {
            let ended = initiate(
                &mut fresh,
                &mut near,
                &device.identity,
                b"channel",
                &mut other,
                &limits,
            )
            .await;
            drop(near);
            ended
        },
        async {
            let ended = respond(
                &mut copy,
                &mut far,
                &world.root.identity,
                b"channel",
                &mut random,
                &limits,
            )
            .await;
            drop(far);
            ended
        },
        async {
            let (mut up, mut down) = ([0; 4096], [0; 4096]);
            loop {
                tokio::select! {
                    read = tap.read(&mut up) => match read { Ok(n) if n > 0 => { recorded.extend_from_slice(&up[..n]); if beyond.write_all(&up[..n]).await.is_err() { return } } _ => return },
                    read = beyond.read(&mut down) => match read { Ok(n) if n > 0 => if tap.write_all(&down[..n]).await.is_err() { return }, _ => return },
                }
            }
        }
    );
    // Somebody in the middle who only carries bytes changes nothing; the binding is what ties it to one channel.
    assert!(
        left.result.is_ok() && right.result.is_ok(),
        "{left:?} {right:?}"
    );

    let (ended, _) = against(Limits::default(), |mut near| async move {
        near.write_all(&recorded).await.expect("there is room");
        let mut answer = Vec::new();
        let _ = near.read_to_end(&mut answer).await;
    })
    .await;
    assert!(
        matches!(ended.result, Err(SyncError::Peer(Fault::Proof))),
        "{ended:?}"
    );
}

#[tokio::test]
async fn whoever_sits_between_two_channels_is_noticed() {
    let (world, mut copy, device) = furnished();
    let (mut near, mut far) = tokio::io::duplex(1 << 16);
    let mut fresh = world.empty();
    let (mut random, mut other) = (rng(1), rng(2));
    let limits = Limits::default();
    let (left, right) = tokio::join!(
        async {
            let ended = initiate(
                &mut fresh,
                &mut near,
                &device.identity,
                b"one channel",
                &mut other,
                &limits,
            )
            .await;
            drop(near);
            ended
        },
        async {
            let ended = respond(
                &mut copy,
                &mut far,
                &world.root.identity,
                b"other channel",
                &mut random,
                &limits,
            )
            .await;
            drop(far);
            ended
        }
    );
    assert!(
        matches!(left.result, Err(SyncError::Refused(Refusal::Vault))),
        "{left:?}"
    );
    assert!(
        matches!(right.result, Err(SyncError::Peer(Fault::OtherVault))),
        "{right:?}"
    );
}

#[tokio::test]
async fn whoever_has_no_key_proves_none() {
    // It claims to be the device and signs with a key of its own.
    let (world, mut copy, device) = furnished();
    let thief = Identity::new(MemberKind::Device, common::seed(40));
    let mut fresh = world.empty();
    // The thief's session is honest but for the name it gives: that is what a proof binds.
    let (near, far) = tokio::io::duplex(1 << 16);
    let (mut tap_near, mut tap_far) = tokio::io::duplex(1 << 16);
    let (mut near, mut far) = (near, far);
    let (mut random, mut other) = (rng(1), rng(2));
    let limits = Limits::default();
    let (_, right, ()) = tokio::join!(
        async {
            let ended = initiate(
                &mut fresh,
                &mut tap_near,
                &thief,
                b"channel",
                &mut other,
                &limits,
            )
            .await;
            drop(tap_near);
            ended
        },
        async {
            let ended = respond(
                &mut copy,
                &mut far,
                &world.root.identity,
                b"channel",
                &mut random,
                &limits,
            )
            .await;
            drop(far);
            ended
        },
        async {
            // Hello, hello, proof: the name in the proof is exchanged.
            let mut hello = [0; 79];
            tap_far.read_exact(&mut hello).await.expect("a hello");
            near.write_all(&hello).await.expect("room");
            let mut answer = [0; 111];
            near.read_exact(&mut answer).await.expect("a hello");
            tap_far.write_all(&answer).await.expect("room");
            let mut proof = [0; 101];
            tap_far.read_exact(&mut proof).await.expect("a proof");
            proof[5..37].copy_from_slice(&device.member().0);
            near.write_all(&proof).await.expect("room");
            let mut rest = Vec::new();
            let _ = near.read_to_end(&mut rest).await;
        }
    );
    assert!(
        matches!(right.result, Err(SyncError::Peer(Fault::Proof))),
        "{right:?}"
    );
}

#[tokio::test]
async fn each_lie_is_named_and_nothing_false_is_kept() {
    scenarios::each_lie_is_named_and_nothing_false_is_kept(&mut InMemory).await;
}

#[tokio::test]
async fn more_than_the_limits_is_not_taken() {
    let (world, mut root, device) = furnished();
    for limits in [
        Limits {
            frames: 41,
            ..Limits::default()
        },
        Limits {
            received: 10_000,
            ..Limits::default()
        },
    ] {
        let mut fresh = world.empty();
        let (mut near, mut far) = tokio::io::duplex(1 << 16);
        let (mut random, mut other) = (rng(1), rng(2));
        let generous = Limits::default();
        let (ended, their) = tokio::join!(
            async {
                let ended = initiate(
                    &mut fresh,
                    &mut near,
                    &device.identity,
                    b"channel",
                    &mut random,
                    &limits,
                )
                .await;
                drop(near);
                ended
            },
            async {
                let ended = respond(
                    &mut root,
                    &mut far,
                    &world.root.identity,
                    b"channel",
                    &mut other,
                    &generous,
                )
                .await;
                drop(far);
                ended
            }
        );
        assert!(
            matches!(ended.result, Err(SyncError::Peer(Fault::TooMuch(_)))),
            "{ended:?}"
        );
        assert!(
            matches!(
                their.result,
                Err(SyncError::Refused(Refusal::Limit) | SyncError::Channel(_))
            ),
            "{their:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One byte of what an honest peer says is changed, wherever: the other side ends by itself, keeps nothing false, and
    /// an honest session afterwards repairs everything.
    #[test]
    fn garbage_at_any_byte_is_survived(at in 0_usize..45_000, flip in 1_u8..=255) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(scenarios::one_changed_byte_is_survived(&mut InMemory, at, flip));
    }

    /// Bytes that mean nothing, after an honest beginning or not.
    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400), kind in 0_u8..20, framed in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let bytes = if framed { message(kind, &noise) } else { noise };
            let (ended, _) = against(Limits::default(), |mut near| async move {
                let _ = near.write_all(&bytes).await;
            })
            .await;
            assert!(ended.result.is_err());
        });
    }
}
