//! What goes wrong, one scenario each.

use std::time::{Duration, UNIX_EPOCH};

use commonware_runtime::{Runner as _, Supervisor as _, deterministic};

use super::clock::Skew;
use super::network::{Net, good, link};
use super::seeds;

pub(super) fn run<F, Fut>(seed: u64, scenario: F) -> (Fut::Output, String)
where
    F: FnOnce(deterministic::Context) -> Fut,
    Fut: Future,
{
    let config = deterministic::Config::new().with_seed(seed);
    let (output, checkpoint) = deterministic::Runner::new(config).start_and_recover(scenario);
    (output, checkpoint.auditor().state())
}

#[test]
fn four_validators_agree_and_settle_what_was_acknowledged() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            for round in 0..10 {
                net.settle(&mut runner, 20, &[round % 4, (round + 1) % 4])
                    .await;
                net.sleep(30).await;
            }
            net.all_settled(&runner).await;
            net.all_cosigned().await;
            let outcome = net.check(&runner).await;
            assert_eq!(outcome.head.log_size, 200);
            assert!(outcome.cosigned.iter().any(|(size, _)| *size == 200));
        });
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let once = || {
        run(7, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.link_all(&link(20, 15, 0.9)).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            net.settle(&mut runner, 5, &[1, 2]).await;
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    };
    assert_eq!(once(), once());
}

#[test]
fn one_validator_alone_settles() {
    run(1, |context| async move {
        let mut net = Net::new(context, 1).await;
        net.start_all().await;
        let mut runner = net.register(50, &[0]).await;
        net.settle(&mut runner, 3, &[0]).await;
        net.all_settled(&runner).await;
        net.check(&runner).await;
    });
}

#[test]
fn a_silent_validator_stops_nobody() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            for node in 0..3 {
                net.start(node).await;
            }
            let mut runner = net.register(50, &[0, 1]).await;
            for _ in 0..5 {
                net.settle(&mut runner, 4, &[1, 2]).await;
                net.sleep(200).await;
            }
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

#[test]
fn two_of_seven_may_be_silent() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 7).await;
            for node in 0..5 {
                net.start(node).await;
            }
            let mut runner = net.register(50, &[0, 1, 2]).await;
            net.settle(&mut runner, 9, &[2, 3, 4]).await;
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

#[test]
fn halves_of_a_network_do_nothing_alone_and_go_on_together() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            net.settle(&mut runner, 4, &[0, 1]).await;
            net.all_settled(&runner).await;
            net.partition(&[&[0, 1], &[2, 3]]).await;
            // What was on its way may still become final.
            net.sleep(1000).await;
            let before = net.height(0).await;
            // Acknowledged on one side only.
            net.settle(&mut runner, 4, &[0, 1]).await;
            net.sleep(8000).await;
            assert_eq!(
                net.height(0).await,
                before,
                "half a network made a block final"
            );
            net.link_all(&good()).await;
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

/// What one validator alone has acknowledged was passed on into a network that was cut off, and what it says when it leads comes too late
/// each time. The others learn of it all the same, and do it.
#[test]
fn what_only_a_validator_has_that_never_leads_is_settled_though_its_push_was_lost() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            let alone = usize::try_from(seed % 4).expect("below four");
            let others: Vec<usize> = (0..4).filter(|node| *node != alone).collect();
            net.partition(&[others.as_slice()]).await;
            net.settle(&mut runner, 4, &[alone]).await;
            net.settle(&mut runner, 3, &[alone]).await;
            // By then it has passed them on, once.
            net.sleep(6000).await;
            for other in others {
                net.link(other, alone, Some(&good())).await;
                net.link(alone, other, Some(&link(2500, 10, 1.0))).await;
            }
            net.all_settled(&runner).await;
            net.check().await;
        });
    }
}

#[test]
fn a_third_of_all_messages_may_be_lost() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.link_all(&link(10, 5, 0.7)).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            for _ in 0..3 {
                net.settle(&mut runner, 4, &[2, 3]).await;
                net.sleep(500).await;
            }
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

#[test]
fn slow_links_make_slow_blocks() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.link_all(&link(150, 80, 1.0)).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            net.settle(&mut runner, 4, &[2, 3]).await;
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

#[test]
fn a_validator_that_says_two_things_splits_nothing() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            for node in 0..3 {
                net.start(node).await;
            }
            net.start_twins(3, &[0]).await;
            let mut runner = net.register(50, &[0, 1]).await;
            for round in 0..6 {
                net.settle(&mut runner, 4, &[round % 3, (round + 1) % 3])
                    .await;
                net.sleep(150).await;
            }
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

#[test]
fn a_validator_that_was_away_catches_up_without_its_engine_remembering_the_way() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            net.kill(2).await;
            for _ in 0..20 {
                net.settle(&mut runner, 4, &[0, 1]).await;
                net.sleep(500).await;
            }
            net.start(2).await;
            // It is needed: another one goes as soon as it is back.
            net.reaches(2, net.height(0).await).await;
            net.kill(0).await;
            net.settle(&mut runner, 4, &[1, 2]).await;
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

#[test]
fn killed_and_started_again_one_after_another() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            for round in 0..6 {
                net.settle(&mut runner, 4, &[round % 4, (round + 1) % 4])
                    .await;
                net.sleep(5 * round as u64).await;
                net.kill(round % 4).await;
                net.sleep(100).await;
                net.start(round % 4).await;
            }
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

/// What a node answers does not depend on whether it started from a snapshot.
#[test]
fn who_starts_from_a_snapshot_answers_as_who_executes_all_blocks() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::new(context, 4).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            for round in 0..6 {
                net.settle(&mut runner, 7, &[round % 4, (round + 1) % 4])
                    .await;
                net.all_settled(&runner).await;
            }
            net.sleep(1000).await;
            let written = net.newest_snapshot(2).await;
            assert!(written.is_some());
            net.kill(2).await;
            net.start(2).await;
            net.reaches(2, net.height(0).await).await;
            let answers = net.answers(2, &runner).await;
            // One that is not believed would be gone.
            assert!(net.newest_snapshot(2).await >= written);
            net.kill(2).await;
            net.remove_snapshots(2).await;
            net.start(2).await;
            net.reaches(2, net.height(0).await).await;
            assert_eq!(net.answers(2, &runner).await, answers);
            net.settle(&mut runner, 3, &[1, 2]).await;
            net.all_settled(&runner).await;
            net.check().await;
        });
    }
}

/// All machines lose power at once: what was not synced is gone or half there.
#[test]
fn when_all_lose_power_nothing_acknowledged_is_lost() {
    for seed in seeds() {
        let config = deterministic::Config::new().with_seed(seed);
        let ((mut runner, witnessed), checkpoint) = deterministic::Runner::new(config)
            .start_and_recover(|context| async move {
                let mut net = Net::new(context, 4).await;
                net.start_all().await;
                let mut runner = net.register(50, &[0, 1]).await;
                for _ in 0..4 {
                    net.settle(&mut runner, 5, &[1, 2]).await;
                    net.sleep(7 * (1 + seed)).await;
                }
                (runner, net.witnessed().await)
            });
        deterministic::Runner::from(checkpoint).start(|context| async move {
            let mut net = Net::new(context.child("again"), 4).await;
            net.go_on(witnessed);
            net.start_all().await;
            net.all_settled(&runner).await;
            net.settle(&mut runner, 3, &[0, 3]).await;
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

#[test]
fn validators_come_and_go_while_receipts_are_settled() {
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::with_outsiders(context, 4, 2).await;
            net.link_all(&link(10, 8, 0.95)).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            net.settle(&mut runner, 4, &[0, 1]).await;
            // One comes.
            net.decide(0, &[0, 1, 2, 3, 4], &[0, 1, 2]).await;
            net.settle(&mut runner, 4, &[1, 2]).await;
            net.epoch(1).await;
            // Another comes for two who go, one of whom is dead already.
            net.kill(0).await;
            net.settle(&mut runner, 4, &[3, 4]).await;
            net.decide(1, &[2, 3, 4, 5], &[1, 2, 3, 4]).await;
            net.epoch(2).await;
            net.settle(&mut runner, 4, &[4, 5]).await;
            // Who went still follows, and who was dead catches up over both changes.
            net.start(0).await;
            net.all_settled(&runner).await;
            let outcome = net.check(&runner).await;
            assert_eq!(outcome.validators, 4);
        });
    }
}

#[test]
fn one_validator_becomes_four() {
    run(3, |context| async move {
        let mut net = Net::with_outsiders(context, 1, 3).await;
        net.start_all().await;
        let mut runner = net.register(50, &[0]).await;
        net.decide(0, &[0, 1, 2, 3], &[0]).await;
        net.epoch(1).await;
        net.settle(&mut runner, 4, &[2, 3]).await;
        net.kill(0).await;
        net.all_settled(&runner).await;
        net.check(&runner).await;
    });
}

/// Validators change four times while messages are lost and, each time, one that votes is killed as soon as the decision is handed over.
#[test]
fn validators_change_under_fire() {
    const SETS: [&[usize]; 5] = [
        &[0, 1, 2, 3],
        &[0, 1, 2, 3, 4],
        &[1, 2, 3, 4, 5],
        &[2, 3, 4, 5, 6],
        &[0, 3, 4, 5, 6],
    ];
    for seed in seeds() {
        run(seed, |context| async move {
            let mut net = Net::with_outsiders(context, 4, 3).await;
            net.link_all(&link(15, 10, 0.85)).await;
            net.start_all().await;
            let mut runner = net.register(50, &[0, 1]).await;
            for (change, sets) in SETS.windows(2).enumerate() {
                let (now, next) = (sets[0], sets[1]);
                let quorum = now.len() - (now.len() - 1) / 3;
                net.settle(&mut runner, 4, &[now[0], now[1]]).await;
                net.decide(change as u64, next, &now[..quorum]).await;
                let victim = now[(usize::try_from(seed).unwrap_or(0) + change) % now.len()];
                net.kill(victim).await;
                net.settle(
                    &mut runner,
                    4,
                    &[other(next, victim, 0), other(next, victim, 1)],
                )
                .await;
                net.sleep(40 * (seed % 20)).await;
                net.start(victim).await;
                net.epoch(change as u64 + 1).await;
            }
            net.link_all(&good()).await;
            net.all_settled(&runner).await;
            let outcome = net.check(&runner).await;
            assert_eq!(outcome.validators, 5);
        });
    }
}

/// The `n`th of a set without one of them.
fn other(set: &[usize], without: usize, n: usize) -> usize {
    let mut others = set.iter().copied().filter(|one| *one != without);
    others.nth(n).expect("there are more than two")
}

/// Syncs fail now and then, on whichever disk. Who is hit stops there and then: it has promised nothing that is not on its disk.
/// Then all start again on disks that work.
#[test]
fn where_a_sync_fails_nothing_acknowledged_is_lost() {
    for seed in seeds() {
        let config = deterministic::Config::new()
            .with_seed(seed)
            .with_catch_panics(true);
        let ((mut runner, witnessed), checkpoint) = deterministic::Runner::new(config)
            .start_and_recover(|context| async move {
                let faults = context.storage_fault_config();
                let mut net = Net::new(context, 4).await;
                net.start_all().await;
                let mut runner = net.register(50, &[0, 1]).await;
                let rate = [0.002, 0.01, 0.05][usize::try_from(seed % 3).unwrap_or(0)];
                *faults.write() = deterministic::FaultConfig::default()
                    .sync(commonware_utils::Probability::try_from(rate).expect("a probability"));
                for _ in 0..20 {
                    net.try_settle(&mut runner, 5).await;
                    net.sleep(60).await;
                }
                *faults.write() = deterministic::FaultConfig::default();
                (runner, net.witnessed().await)
            });
        deterministic::Runner::from(checkpoint).start(|context| async move {
            let mut net = Net::new(context.child("again"), 4).await;
            net.go_on(witnessed);
            net.start_all().await;
            net.all_settled(&runner).await;
            net.settle(&mut runner, 5, &[0, 3]).await;
            net.all_settled(&runner).await;
            net.check(&runner).await;
        });
    }
}

/// One validator's clock is hours ahead, or hours behind: it is as good as silent, and no block has its time.
#[test]
fn a_clock_that_is_hours_off_hurts_nobody_else() {
    let start = UNIX_EPOCH + Duration::from_hours(1000);
    let off = Duration::from_hours(5);
    for seed in seeds() {
        let config = deterministic::Config::new()
            .with_seed(seed)
            .with_start_time(start);
        deterministic::Runner::new(config).start(|context| async move {
            let mut net = Net::new(context, 4).await;
            for node in 0..3 {
                net.start(node).await;
            }
            let skew = match seed % 2 {
                0 => Skew::Ahead(off),
                _ => Skew::Behind(off),
            };
            net.start_skewed(3, skew).await;
            let mut runner = net.register(50, &[0, 1]).await;
            for _ in 0..5 {
                net.settle(&mut runner, 4, &[1, 3]).await;
                net.sleep(400).await;
            }
            net.all_settled(&runner).await;
            let outcome = net.check(&runner).await;
            let limit = start + Duration::from_hours(1);
            let since = limit.duration_since(UNIX_EPOCH).expect("it is later");
            assert!(u128::from(outcome.head.time.unix_ms()) < since.as_millis());
        });
    }
}
