//! Several things go wrong at once, one after another, by a schedule that follows from the seed.
//!
//! A schedule is a few phases. In a phase some validators are in trouble, each in its own way. Where those are no more than may fail,
//! the others go on: what is acknowledged becomes final among them meanwhile. Where they are more, nothing needs to happen, and
//! nothing false may. After each phase what is broken is mended, and the next begins before all have caught up. At the end all
//! lose power at once, and everything that was acknowledged is settled by what the disks have.

use commonware_runtime::deterministic::{Config, FaultConfig};

use super::faults::{every_seed, over_a_power_cut, size, torn};
use super::network::{Net, good, link};

const PHASES: u64 = 4;

/// What a validator is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Killed,
    /// It hears nobody, and nobody hears it.
    CutOff,
    /// Everything to and from it takes long.
    Slow,
    /// A third of what it says and hears is lost.
    Lossy,
}

const TROUBLES: [Trouble; 4] = [
    Trouble::Killed,
    Trouble::CutOff,
    Trouble::Slow,
    Trouble::Lossy,
];

/// What happens in a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phase {
    /// Whether the network is parted in two, of these and of the others.
    parted: Option<Vec<usize>>,
    /// Who is in which trouble.
    victims: Vec<(usize, Trouble)>,
    /// Where nothing is waited for, the time between two submissions.
    ms: u64,
}

impl Phase {
    /// The validators that nothing happens to.
    fn healthy(&self, validators: usize) -> Vec<usize> {
        let is_victim = |node: &usize| self.victims.iter().any(|(victim, _)| victim == node);
        (0..validators).filter(|node| !is_victim(node)).collect()
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    /// From 0 on, below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % sides as u64).expect("it is below a number of that type")
    }

    /// Some of the numbers below `of`, each once.
    fn some(&mut self, count: usize, of: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..of).collect();
        (0..count)
            .map(|_| left.swap_remove(self.roll(left.len())))
            .collect()
    }

    /// What happens in a phase to so many validators of whom so many may fail.
    fn phase(&mut self, validators: usize, tolerated: usize) -> Phase {
        let (count, parted) = match self.roll(3) {
            // The others are a quorum.
            0 | 1 => (1 + self.roll(tolerated), None),
            // They are none.
            _ => {
                let more = 1 + self.roll(validators - tolerated);
                let apart = self.roll(validators);
                let parted = (apart > 0).then(|| self.some(apart, validators));
                (tolerated + more, parted)
            }
        };
        let victims = self.some(count, validators).into_iter();
        Phase {
            parted,
            victims: victims
                .map(|node| (node, TROUBLES[self.roll(TROUBLES.len())]))
                .collect(),
            ms: self.roll(1000) as u64,
        }
    }
}

/// Has a phase begin.
async fn begin(net: &mut Net, phase: &Phase, validators: usize) {
    if let Some(ones) = &phase.parted {
        let others: Vec<usize> = (0..validators).filter(|n| !ones.contains(n)).collect();
        net.partition(&[ones, &others]).await;
    }
    for &(node, trouble) in &phase.victims {
        let link = match trouble {
            Trouble::Killed => {
                net.kill(node).await;
                continue;
            }
            Trouble::CutOff => None,
            Trouble::Slow => Some(link(150, 80, 1.0)),
            Trouble::Lossy => Some(link(10, 5, 0.7)),
        };
        for other in 0..validators {
            net.link(node, other, link.as_ref()).await;
            net.link(other, node, link.as_ref()).await;
        }
    }
}

#[test]
fn whatever_goes_wrong_together_nothing_false_is_final_and_nothing_acknowledged_is_lost() {
    every_seed(|seed| {
        let config = Config::new()
            .with_seed(seed)
            .with_storage_fault_config(FaultConfig::default().write(torn(seed)));
        over_a_power_cut(
            config,
            |context| async move {
                let validators = size(seed);
                let mut net = Net::new(context, validators).await;
                net.start_all().await;
                let tolerated = net.tolerated();
                let mut runner = net.register(50, &net.takers(0)).await;
                let mut dice = Dice(seed);
                for _ in 0..PHASES {
                    let phase = dice.phase(validators, tolerated);
                    begin(&mut net, &phase, validators).await;
                    net.sleep(phase.ms / 4).await;
                    let healthy = phase.healthy(validators);
                    if phase.victims.len() <= tolerated {
                        let takers = &healthy[..=tolerated];
                        net.settle(&mut runner, 5, takers).await;
                        net.settled_at(&runner, &healthy).await;
                    } else {
                        for _ in 0..3 {
                            net.try_settle(&mut runner, 5).await;
                            net.sleep(phase.ms).await;
                        }
                    }
                    net.link_all(&good()).await;
                    net.start_stopped().await;
                }
                (runner, net.witnessed().await)
            },
            |context, mut runner, witnessed| async move {
                let mut net = Net::new(context, size(seed)).await;
                net.go_on(witnessed);
                net.start_all().await;
                net.all_settled(&runner).await;
                net.settle(&mut runner, 5, &net.takers(0)).await;
                net.all_settled(&runner).await;
                net.check(&runner).await
            },
        )
    });
}

/// A schedule is worth its name: everything that there is happens, to as many as may be and to more.
#[test]
fn schedules_have_every_trouble_alone_and_together() {
    for (validators, tolerated) in [(4, 1), (7, 2)] {
        let phases: Vec<Phase> = (0..100)
            .flat_map(|seed| {
                let mut dice = Dice(seed);
                (0..PHASES)
                    .map(|_| dice.phase(validators, tolerated))
                    .collect::<Vec<_>>()
            })
            .collect();
        for trouble in TROUBLES {
            let has = |phase: &&Phase| phase.victims.iter().any(|(_, one)| *one == trouble);
            let few = |phase: &&Phase| phase.victims.len() <= tolerated;
            assert!(phases.iter().filter(few).any(|phase| has(&phase)));
            assert!(phases.iter().any(|phase| has(&phase) && !few(&phase)));
        }
        assert!(phases.iter().any(|phase| phase.parted.is_some()));
        for phase in &phases {
            let healthy = phase.healthy(validators);
            assert_eq!(healthy.len() + phase.victims.len(), validators);
            assert!(phase.parted.is_none() || phase.victims.len() > tolerated);
        }
    }
}
