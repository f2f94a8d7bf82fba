//! What goes wrong, one scenario each. Most seeds have four validators, of whom one may fail or lie, and every fifth has seven, of
//! whom two may: then two do.

use std::time::{Duration, UNIX_EPOCH};

use commonware_runtime::deterministic::{
    self, Context, FaultConfig, PartialWriteMode, WriteConfig,
};
use commonware_runtime::{Blob as _, ReadOptions, Storage as _, Supervisor as _, WriteOptions};
use commonware_utils::Probability;

use super::clock::Skew;
use super::network::{Net, Outcome, Runner, good, link};
use super::properties::Witnessed;
use super::seeds;
use crate::store::{BLOCKS_FILE, Blocks, Partitions, StoreError};
use crate::wire::Submitted;

/// Of a hundred seeds, those that run twice: one with four validators and one with seven.
const TWICE: [u64; 2] = [7, 9];

/// How many validate.
pub(super) fn size(seed: u64) -> usize {
    if seed % 5 == 4 { 7 } else { 4 }
}

/// Runs a scenario, and gives what came of it with the digest of all that happened: every message, write and moment.
pub(super) fn run<F, Fut>(seed: u64, scenario: F) -> (Fut::Output, String)
where
    F: FnOnce(Context) -> Fut,
    Fut: Future,
{
    run_as(deterministic::Config::new().with_seed(seed), scenario)
}

fn run_as<F, Fut>(config: deterministic::Config, scenario: F) -> (Fut::Output, String)
where
    F: FnOnce(Context) -> Fut,
    Fut: Future,
{
    let (output, checkpoint) = deterministic::Runner::new(config).start_and_recover(scenario);
    (output, checkpoint.auditor().state())
}

/// Runs the first part of a scenario, at whose end all machines lose power at once, and goes on with the second on what the disks
/// have then.
pub(super) fn over_a_power_cut<F, Before, G, After>(
    config: deterministic::Config,
    before: F,
    after: G,
) -> (Outcome, String)
where
    F: FnOnce(Context) -> Before,
    Before: Future<Output = (Runner, Witnessed)>,
    G: FnOnce(Context, Runner, Witnessed) -> After,
    After: Future<Output = Outcome>,
{
    let ((runner, witnessed), checkpoint) =
        deterministic::Runner::new(config).start_and_recover(before);
    let (outcome, checkpoint) =
        deterministic::Runner::from(checkpoint).start_and_recover(|context| async move {
            after(context.child("again"), runner, witnessed).await
        });
    (outcome, checkpoint.auditor().state())
}

/// Says which seed it was, if its run panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was seed {}", self.0);
        }
    }
}

/// Runs a scenario with every seed, and with some of them a second time, which must be the first one bit for bit. Says how long
/// the runs are by the simulated clock (`cargo test -- --nocapture`).
pub(super) fn every_seed(scenario: impl Fn(u64) -> (Outcome, String)) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for seed in seeds() {
        let _named = Named(seed);
        let first = scenario(seed);
        if TWICE.contains(&(seed % 100)) {
            assert_eq!(scenario(seed), first, "the same seed is another run");
        }
        outcomes.push(first.0);
    }
    let took = || outcomes.iter().map(|one| one.took.as_secs_f64());
    println!(
        "{}: {:.1} simulated seconds a run, {:.1} at most, {} checkpoints",
        std::thread::current().name().unwrap_or_default(),
        took().sum::<f64>() / outcomes.len() as f64,
        took().fold(0.0, f64::max),
        outcomes.iter().map(|one| one.cosigned.len()).sum::<usize>(),
    );
    // A single run may be over before anything is cosigned.
    let is_cosigned = outcomes.iter().any(|one| !one.cosigned.is_empty());
    assert!(
        is_cosigned || outcomes.len() < 20,
        "without checkpoints nothing is known of them"
    );
    outcomes
}

/// Nothing goes wrong.
fn nothing(seed: u64) -> (Outcome, String) {
    run(seed, |context| async move {
        let mut net = Net::new(context, size(seed)).await;
        net.start_all().await;
        let mut runner = net.register(50, &net.takers(0)).await;
        for round in 0..10 {
            net.settle(&mut runner, 20, &net.takers(round)).await;
            net.sleep(30).await;
        }
        net.all_settled(&runner).await;
        net.all_cosigned().await;
        let outcome = net.check(&runner).await;
        assert_eq!(outcome.head.log_size, 200);
        assert!(outcome.cosigned.iter().any(|(size, _)| *size == 200));
        outcome
    })
}

#[test]
fn validators_agree_and_settle_and_cosign_what_was_acknowledged() {
    every_seed(nothing);
}

#[test]
fn another_seed_is_another_run() {
    let (one, other) = (nothing(7), nothing(8));
    assert_ne!(one.1, other.1);
    assert_ne!(one.0.head, other.0.head);
}

#[test]
fn one_validator_alone_settles() {
    run(1, |context| async move {
        let mut net = Net::new(context, 1).await;
        net.start_all().await;
        let mut runner = net.register(50, &[0]).await;
        net.settle(&mut runner, 3, &[0]).await;
        net.all_settled(&runner).await;
        net.all_cosigned().await;
        net.check(&runner).await;
    });
}

#[test]
fn silent_validators_stop_nobody() {
    every_seed(|seed| {
        run(seed, |context| async move {
            let mut net = Net::new(context, size(seed)).await;
            for node in 0..size(seed) - net.tolerated() {
                net.start(node).await;
            }
            let mut runner = net.register(50, &net.takers(0)).await;
            for _ in 0..5 {
                net.settle(&mut runner, 4, &net.takers(1)).await;
                net.sleep(200).await;
            }
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    });
}

#[test]
fn parts_of_a_network_do_nothing_alone_and_go_on_together() {
    every_seed(|seed| {
        run(seed, |context| async move {
            let size = size(seed);
            let mut net = Net::new(context, size).await;
            net.start_all().await;
            let mut runner = net.register(50, &net.takers(0)).await;
            net.settle(&mut runner, 4, &net.takers(0)).await;
            net.all_settled(&runner).await;
            // Two and two, or three and four.
            let (one, other): (Vec<usize>, Vec<usize>) = (0..size).partition(|n| *n < size / 2);
            net.partition(&[&one, &other]).await;
            // What was on its way may still become final.
            net.sleep(1000).await;
            let before = (net.height(0).await, net.height(size - 1).await);
            // Acknowledged on one side only.
            net.settle(&mut runner, 4, &one).await;
            net.sleep(8000).await;
            let after = (net.height(0).await, net.height(size - 1).await);
            assert_eq!(after, before, "a part of a network made a block final");
            net.link_all(&good()).await;
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    });
}

/// What one validator alone has acknowledged was passed on into a network that was cut off, and what it says when it leads comes too late
/// each time. The others learn of it all the same, and do it.
#[test]
fn what_only_a_validator_has_that_never_leads_is_settled_though_its_push_was_lost() {
    every_seed(|seed| {
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
            net.check(&runner).await
        })
    });
}

#[test]
fn a_third_of_all_messages_may_be_lost() {
    every_seed(|seed| {
        run(seed, |context| async move {
            let mut net = Net::new(context, size(seed)).await;
            net.link_all(&link(10, 5, 0.7)).await;
            net.start_all().await;
            let mut runner = net.register(50, &net.takers(0)).await;
            for _ in 0..3 {
                net.settle(&mut runner, 4, &net.takers(2)).await;
                net.sleep(500).await;
            }
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    });
}

#[test]
fn slow_links_make_slow_blocks() {
    every_seed(|seed| {
        run(seed, |context| async move {
            let mut net = Net::new(context, size(seed)).await;
            net.link_all(&link(150, 80, 1.0)).await;
            net.start_all().await;
            let mut runner = net.register(50, &net.takers(0)).await;
            net.settle(&mut runner, 4, &net.takers(2)).await;
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    });
}

/// One validator runs twice; of seven, another is silent.
#[test]
fn a_validator_that_says_two_things_splits_nothing_and_is_convicted() {
    let outcomes = every_seed(|seed| {
        run(seed, |context| async move {
            let size = size(seed);
            let mut net = Net::new(context, size).await;
            let honest = size - net.tolerated();
            for node in 0..honest {
                net.start(node).await;
            }
            let first: Vec<usize> = (0..net.tolerated()).collect();
            net.start_twins(size - 1, &first).await;
            let mut runner = net.register(50, &net.takers(0)).await;
            for round in 0..6 {
                net.tempt(round).await;
                let takers: Vec<usize> = (0..=net.tolerated())
                    .map(|n| (usize::from(round) + n) % honest)
                    .collect();
                net.settle(&mut runner, 4, &takers).await;
                net.sleep(150).await;
            }
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    });
    // Whom it shows what in time is a matter of luck, in a single run.
    let is_convicted = outcomes.iter().any(|one| !one.convicted.is_empty());
    assert!(
        is_convicted || outcomes.len() < 20,
        "whoever said two things is not convicted"
    );
}

#[test]
fn validators_that_were_away_catch_up_without_their_engines_remembering_the_way() {
    every_seed(|seed| {
        run(seed, |context| async move {
            let size = size(seed);
            let mut net = Net::new(context, size).await;
            net.start_all().await;
            let mut runner = net.register(50, &net.takers(0)).await;
            let away = size - net.tolerated()..size;
            for node in away.clone() {
                net.kill(node).await;
            }
            for _ in 0..20 {
                net.settle(&mut runner, 4, &net.takers(0)).await;
                net.sleep(500).await;
            }
            for node in away.clone() {
                net.start(node).await;
            }
            let height = net.height(0).await;
            for node in away {
                net.reaches(node, height).await;
            }
            // They are needed: as many others go as soon as they are back.
            for node in 0..net.tolerated() {
                net.kill(node).await;
            }
            let takers = net.takers(net.tolerated());
            net.settle(&mut runner, 4, &takers).await;
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    });
}

#[test]
fn killed_and_started_again_one_after_another() {
    every_seed(|seed| {
        run(seed, |context| async move {
            let size = size(seed);
            let mut net = Net::new(context, size).await;
            net.start_all().await;
            let mut runner = net.register(50, &net.takers(0)).await;
            for round in 0..6 {
                net.settle(&mut runner, 4, &net.takers(round)).await;
                net.sleep(5 * round as u64).await;
                let victims: Vec<usize> = net.takers(round)[1..].to_vec();
                for node in &victims {
                    net.kill(*node).await;
                }
                net.sleep(100).await;
                for node in &victims {
                    net.start(*node).await;
                }
            }
            net.all_settled(&runner).await;
            net.check(&runner).await
        })
    });
}

/// What rots while a node is stopped is missed, if the node had nothing to do before that: also what it wrote since its start.
#[test]
fn what_an_idle_node_has_written_is_missed_when_it_rots() {
    run(1, |context| async move {
        let mut net = Net::new(context, 4).await;
        net.start_all().await;
        let mut runner = net.register(50, &[0, 1]).await;
        net.settle(&mut runner, 4, &[0, 1]).await;
        net.all_settled(&runner).await;
        net.sleep(4000).await;
        net.kill(0).await;
        // What reads beside the loop lets go of the file a little later.
        net.sleep(100).await;
        let names = Partitions {
            prefix: "n0-".into(),
        };
        let (partition, name) = (names.blocks(), BLOCKS_FILE.as_bytes());
        let opened = net.context.open(&partition, name).await;
        let (blob, size) = opened.expect("it is there");
        let middle = blob.read_at(size / 2, 1, ReadOptions::default()).await;
        let rotten = middle.expect("a byte").coalesce().as_ref()[0] ^ 1;
        let written = blob.write_at(size / 2, vec![rotten], WriteOptions::default());
        written.await.expect("the disk works");
        blob.sync().await.expect("the disk works");
        drop(blob);
        let opened = Blocks::open(&net.context, &names).await;
        assert!(matches!(opened, Err(StoreError::Damaged(_))));
    });
}

/// A caller that has gone before the node came to it costs nothing.
#[test]
fn what_nobody_waits_for_any_more_is_not_done() {
    run(1, |context| async move {
        let mut net = Net::new(context, 1).await;
        net.start_all().await;
        let (gone, stayed) = (
            net.transaction_of_a_runner(60),
            net.transaction_of_a_runner(61),
        );
        tokio::select! {
            biased;
            _ = net.handle(0).submit(vec![gone.0]) => panic!("nothing has happened yet"),
            () = std::future::ready(()) => {}
        }
        let answer = net.handle(0).submit(vec![stayed.0]).await;
        assert!(matches!(
            answer.expect("it runs")[0],
            Submitted::Accepted(_)
        ));
        net.sleep(3000).await;
        for (id, is_done) in [(gone.1, false), (stayed.1, true)] {
            let found = net.handle(0).node(id).await.expect("it runs");
            assert_eq!(found.is_some(), is_done);
        }
    });
}

/// What a node answers does not depend on whether it started from a snapshot.
#[test]
fn who_starts_from_a_snapshot_answers_as_who_executes_all_blocks() {
    every_seed(|seed| {
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
            net.check(&runner).await
        })
    });
}

/// What was written and not synced is there in part after a power cut: from its beginning on, or with holes.
pub(super) fn torn(seed: u64) -> WriteConfig {
    WriteConfig {
        failure_rate: probability(0.0),
        retention_rate: probability(0.99),
        mode: match seed % 2 {
            0 => PartialWriteMode::Prefix,
            _ => PartialWriteMode::Subset,
        },
    }
}

fn probability(rate: f64) -> Probability {
    Probability::try_from(rate).expect("a probability")
}

/// All machines lose power at once: what was not synced is gone or half there.
#[test]
fn when_all_lose_power_nothing_acknowledged_is_lost() {
    every_seed(|seed| {
        let config = deterministic::Config::new()
            .with_seed(seed)
            .with_storage_fault_config(FaultConfig::default().write(torn(seed)));
        over_a_power_cut(
            config,
            |context| async move {
                let mut net = Net::new(context, size(seed)).await;
                net.start_all().await;
                let mut runner = net.register(50, &net.takers(0)).await;
                for _ in 0..4 {
                    net.settle(&mut runner, 5, &net.takers(1)).await;
                    net.sleep(7 * (1 + seed % 200)).await;
                }
                (runner, net.witnessed().await)
            },
            |context, mut runner, witnessed| async move {
                let mut net = Net::new(context, size(seed)).await;
                net.go_on(witnessed);
                net.start_all().await;
                net.all_settled(&runner).await;
                net.settle(&mut runner, 3, &net.takers(3)).await;
                net.all_settled(&runner).await;
                net.check(&runner).await
            },
        )
    });
}

#[test]
fn validators_come_and_go_while_receipts_are_settled() {
    every_seed(|seed| {
        run(seed, |context| async move {
            let size = size(seed);
            let mut net = Net::with_outsiders(context, size, 2).await;
            net.link_all(&link(10, 8, 0.95)).await;
            net.start_all().await;
            let mut runner = net.register(50, &net.takers(0)).await;
            net.settle(&mut runner, 4, &net.takers(0)).await;
            // One comes.
            let more: Vec<usize> = (0..=size).collect();
            net.decide(0, &more, &more[..quorum(size)]).await;
            net.settle(&mut runner, 4, &net.takers(1)).await;
            net.epoch(1).await;
            // Another comes for two who go, one of whom is dead already.
            net.kill(0).await;
            net.settle(&mut runner, 4, &[size - 1, size]).await;
            let others: Vec<usize> = (2..size + 2).collect();
            net.decide(1, &others, &more[1..=quorum(size + 1)]).await;
            net.epoch(2).await;
            net.settle(&mut runner, 4, &[size, size + 1]).await;
            // Who went still follows, and who was dead catches up over both changes.
            net.start(0).await;
            net.all_settled(&runner).await;
            let outcome = net.check(&runner).await;
            assert_eq!(outcome.validators, size);
            outcome
        })
    });
}

/// How many of so many validators must agree.
fn quorum(validators: usize) -> usize {
    validators - (validators - 1) / 3
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

/// Four change one by one; four become seven, and seven four.
const CHANGES: [&[&[usize]]; 3] = [
    &[
        &[0, 1, 2, 3],
        &[0, 1, 2, 3, 4],
        &[1, 2, 3, 4, 5],
        &[2, 3, 4, 5, 6],
        &[0, 3, 4, 5, 6],
    ],
    &[&[0, 1, 2, 3], &[0, 1, 2, 3, 4, 5, 6], &[3, 4, 5, 6]],
    &[
        &[0, 1, 2, 3, 4, 5, 6],
        &[0, 2, 4, 6],
        &[0, 1, 2, 3, 4, 5, 6],
    ],
];

/// Validators change again and again while messages are lost and, each time, one that votes is killed as soon as the decision is
/// handed over.
#[test]
fn validators_change_under_fire() {
    every_seed(|seed| {
        let sets = match seed % 5 {
            3 => CHANGES[1],
            4 => CHANGES[2],
            _ => CHANGES[0],
        };
        run(seed, |context| async move {
            let count = sets[0].len();
            let mut net = Net::with_outsiders(context, count, 7 - count).await;
            net.link_all(&link(15, 10, 0.85)).await;
            net.start_all().await;
            let mut runner = net.register(50, &net.takers(0)).await;
            for (change, sets) in sets.windows(2).enumerate() {
                let (now, next) = (sets[0], sets[1]);
                // One more than there may be dead.
                net.settle(&mut runner, 4, &[now[0], now[1]]).await;
                net.decide(change as u64, next, &now[..quorum(now.len())])
                    .await;
                let victim = now[(usize::try_from(seed).unwrap_or(0) + change) % now.len()];
                net.kill(victim).await;
                let takers = [other(next, victim, 0), other(next, victim, 1)];
                net.settle(&mut runner, 4, &takers).await;
                net.sleep(40 * (seed % 20)).await;
                net.start(victim).await;
                net.epoch(change as u64 + 1).await;
            }
            net.link_all(&good()).await;
            net.all_settled(&runner).await;
            let outcome = net.check(&runner).await;
            assert_eq!(outcome.validators, sets[sets.len() - 1].len());
            outcome
        })
    });
}

/// The `n`th of a set without one of them.
fn other(set: &[usize], without: usize, n: usize) -> usize {
    let mut others = set.iter().copied().filter(|one| *one != without);
    others.nth(n).expect("there are more than two")
}

/// Syncs fail now and then, on whichever disk, or writes do and leave a part of themselves; and with some seeds messages are lost
/// as well. Who is hit stops there and then: it has promised nothing that is not on its disk. Then all start again on disks that
/// work.
#[test]
fn where_a_disk_fails_nothing_acknowledged_is_lost() {
    every_seed(|seed| {
        let failing = match seed % 4 {
            3 => FaultConfig::default().write(WriteConfig {
                failure_rate: probability(0.005),
                ..torn(seed / 4)
            }),
            rate => FaultConfig::default()
                .sync(probability(
                    [0.002, 0.01, 0.05][usize::try_from(rate).unwrap_or(0)],
                ))
                .write(torn(seed / 4)),
        };
        let config = deterministic::Config::new()
            .with_seed(seed)
            .with_catch_panics(true);
        over_a_power_cut(
            config,
            |context| async move {
                let faults = context.storage_fault_config();
                let mut net = Net::new(context, size(seed)).await;
                net.start_all().await;
                let mut runner = net.register(50, &net.takers(0)).await;
                if seed.is_multiple_of(3) {
                    net.link_all(&link(15, 10, 0.85)).await;
                }
                *faults.write() = failing;
                for _ in 0..20 {
                    net.try_settle(&mut runner, 5).await;
                    net.sleep(60).await;
                }
                *faults.write() = FaultConfig::default();
                (runner, net.witnessed().await)
            },
            |context, mut runner, witnessed| async move {
                let mut net = Net::new(context, size(seed)).await;
                net.go_on(witnessed);
                net.start_all().await;
                net.all_settled(&runner).await;
                net.settle(&mut runner, 5, &net.takers(3)).await;
                net.all_settled(&runner).await;
                net.check(&runner).await
            },
        )
    });
}

/// The clocks of as many validators as may fail are hours ahead, or hours behind: they are as good as silent, and no block has
/// their time.
#[test]
fn a_clock_that_is_hours_off_hurts_nobody_else() {
    let start = UNIX_EPOCH + Duration::from_hours(1000);
    let off = Duration::from_hours(5);
    every_seed(|seed| {
        let config = deterministic::Config::new()
            .with_seed(seed)
            .with_start_time(start);
        run_as(config, |context| async move {
            let size = size(seed);
            let mut net = Net::new(context, size).await;
            let right = size - net.tolerated();
            for node in 0..right {
                net.start(node).await;
            }
            let skew = match seed / 5 % 2 {
                0 => Skew::Ahead(off),
                _ => Skew::Behind(off),
            };
            for node in right..size {
                net.start_skewed(node, skew).await;
            }
            let mut runner = net.register(50, &net.takers(0)).await;
            for _ in 0..5 {
                net.settle(&mut runner, 4, &[1, size - 1]).await;
                net.sleep(400).await;
            }
            net.all_settled(&runner).await;
            let outcome = net.check(&runner).await;
            let limit = start + Duration::from_hours(1);
            let since = limit.duration_since(UNIX_EPOCH).expect("it is later");
            assert!(u128::from(outcome.head.time.unix_ms()) < since.as_millis());
            outcome
        })
    });
}
