//! What a session costs, counted in bytes: the difference, and little else.

mod common;

use common::{World, holdings, put, sync};
use tally_vault_format::{MemberKind, NamespaceId, Right};
use tally_vault_sync::Replica;

const NOTES: NamespaceId = NamespaceId([1; 16]);

#[tokio::test]
async fn two_long_histories_exchange_their_difference_and_five_in_a_hundred_at_most() {
    // 10,000 operations in common, then 10,000 more on each side, one frame for each: the worst case for the talk.
    const EACH: usize = 10_000;
    let mut world = World::new(4);
    let mut left = world.copy();
    let (keyring, frame) = world.rotate(NOTES, false);
    put(&mut left, &frame);
    left.insert_keyring(&keyring).expect("infallible");
    let (mut device, grant) =
        world.admit(MemberKind::Device, 2, &[(NamespaceId::ALL, Right::Admin)]);
    put(&mut left, &grant);
    let mut right = world.empty();
    let mut difference = 0;
    for number in 0..3 * EACH {
        let text = [number as u8; 200];
        let of_root = number < 2 * EACH;
        let frame = if of_root {
            world.note(None, NOTES, &text)
        } else {
            world.note(Some(&mut device), NOTES, &text)
        };
        if number == EACH {
            left.commit(true).expect("infallible");
            sync(
                (&mut left, &world.root.identity),
                (&mut right, &device.identity),
            )
            .await;
        }
        difference += if number >= EACH {
            frame.len() as u64
        } else {
            0
        };
        if of_root {
            left.insert(&frame)
        } else {
            right.insert(&frame)
        }
        .expect("infallible");
    }
    left.commit(true).expect("infallible");
    right.commit(true).expect("infallible");
    let started = std::time::Instant::now();
    let (report, _) = sync(
        (&mut left, &world.root.identity),
        (&mut right, &device.identity),
    )
    .await;
    let report = report.report;
    assert_eq!(
        (report.sent.frames, report.kept.frames),
        (EACH as u64, EACH as u64)
    );
    assert_eq!(report.known, 0);
    let moved = report.bytes_sent + report.bytes_received;
    println!(
        "{difference} bytes differed, {moved} moved ({:+.2} %), {:.2} s",
        100.0 * (moved as f64 - difference as f64) / difference as f64,
        started.elapsed().as_secs_f64()
    );
    assert!(
        moved * 100 <= difference * 105 + 400_000,
        "{moved} bytes for a difference of {difference}"
    );
    assert!(holdings(&left) == holdings(&right));
    let (idle, _) = sync(
        (&mut left, &world.root.identity),
        (&mut right, &device.identity),
    )
    .await;
    assert!(
        idle.report.bytes_sent + idle.report.bytes_received < 1_000,
        "{:?}",
        idle.report
    );
}
