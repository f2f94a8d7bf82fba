//! A simulated network of nodes, whoever uses it, and what is seen of it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use commonware_cryptography::Signer as _;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_p2p::simulated::{Config, Control, Link, Network, Oracle, SplitOrigin, SplitTarget};
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::deterministic::Context;
use commonware_runtime::{Clock as _, Handle as Task, IoBuf, Quota, Storage as _, Supervisor as _};
use commonware_utils::{NZU32, NZUsize};
use tally_ledger::{
    AccountId, AccountNonce, Allocation, Block, ChainId, Change, Credits, Decision, Entry, Epoch,
    Evidence, Genesis, Header, Height, Name, NodeId, Parameters, Proof, Request, Roles, Sequence,
    Settlement, Terms, Transaction, Trust, Validator, ValidatorSet, verify_evidence,
};
use tally_log::{Hash, InclusionProof};
use tally_receipt::{Digest, SigningKey, Timestamp};
use tokio::sync::{mpsc, watch};

use super::clock::{Skew, Skewed};
use super::properties::{self, Violation, Witnessed};
use crate::Runtime;
use crate::actor::{Actor, COMMANDS, Neighbours, Pace, Parts, Peers};
use crate::bodies::Bodies;
use crate::handle::Handle;
use crate::proofs::Wanted;
use crate::simplex::{Channels, Simplex, Timing};
use crate::store::{self, Partitions};
use crate::wire::{MESSAGE_LIMIT, RefusedCode, Submitted};

type Halves<S, R> = [(S, R); 6];

/// Messages in a second from one node to another: far more than there are. (A receiver makes room for as many at once.)
const QUOTA: Quota = Quota::per_second(NZU32!(2_000));

/// A few blocks: so that there are snapshots to start from, and to be killed in.
const SNAPSHOT_EVERY: u64 = 12;

/// The name of a node's snapshots on the disk of all.
fn snapshots_of(node: usize) -> String {
    let prefix = format!("n{node}-");
    Partitions { prefix }.snapshots()
}

pub(super) fn link(latency_ms: u64, jitter_ms: u64, success: f64) -> Link {
    Link {
        latency: Duration::from_millis(latency_ms),
        jitter: Duration::from_millis(jitter_ms),
        success_rate: success.try_into().expect("a probability"),
    }
}

pub(super) fn good() -> Link {
    link(5, 2, 1.0)
}

/// How often it is noted what nodes have as final.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// From here on, numbers are of validators that run twice, and not of honest nodes.
const TWINS: usize = 1000;

/// The first of a node's channels.
const VOTES: u64 = 0;

/// The seed of a validator's vote key. Validators are numbered by the order of their keys, as everywhere.
pub(super) fn vote_seeds(count: usize) -> Vec<[u8; 32]> {
    let mut seeds: Vec<[u8; 32]> = (0..count)
        .map(|n| [u8::try_from(n + 1).expect("few validators"); 32])
        .collect();
    seeds.sort_by_key(|seed| SigningKey::from_seed(seed).public_key());
    seeds
}

fn vote_key(seed: &[u8; 32]) -> PrivateKey {
    use commonware_codec::{Copying, DecodeExt as _};
    PrivateKey::decode(Copying(&seed[..])).expect("32 bytes are a seed")
}

/// Nobody to dial: links are the test's business.
struct Still;

impl Neighbours for Still {
    fn validators(&mut self, _: Epoch, _: &ValidatorSet) {}
    fn connected(&self) -> Vec<PublicKey> {
        Vec::new()
    }
}

/// A runner that settles receipts, and is paid for them by whoever has all credits.
pub(super) struct Runner {
    key: SigningKey,
    /// Receipts that are acknowledged.
    next: u64,
    /// Payments that are acknowledged.
    paid: u64,
}

impl Runner {
    fn id(&self) -> NodeId {
        NodeId::new(self.key.public_key())
    }

    fn receipt(&self, number: u64) -> Digest {
        Digest::of(&[&self.key.public_key().as_bytes()[..], &number.to_be_bytes()].concat())
    }
}

/// What came of a run. The same seed gives the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The last final block's.
    pub(super) head: Header,
    pub(super) validators: usize,
    /// The blocks that each node has.
    pub(super) heights: Vec<(usize, usize)>,
    /// The checkpoints that somebody had, in the order in which they were seen.
    pub(super) cosigned: Vec<(u64, Hash)>,
    pub(super) convicted: BTreeSet<PublicKey>,
    /// How long it was, by the simulated clock.
    pub(super) took: Duration,
}

pub(super) struct Net {
    pub(super) context: Context,
    pub(super) genesis: Genesis,
    pub(super) oracle: Oracle<PublicKey, Context>,
    pub(super) keys: Vec<PublicKey>,
    seeds: Vec<[u8; 32]>,
    nodes: BTreeMap<usize, (Handle, Task<()>)>,
    /// How often a node was started: each start registers channels of its own.
    starts: usize,
    /// Who signs what excludes each other.
    liars: BTreeSet<PublicKey>,
    witnessed: RefCell<Witnessed>,
    /// When it was noted the last time what nodes have as final.
    looked: Cell<SystemTime>,
}

/// Whoever has all credits at the beginning.
pub(super) fn treasury() -> SigningKey {
    SigningKey::from_seed(&[99; 32])
}

pub(super) fn signed(chain: ChainId, request: Request, key: &SigningKey) -> Transaction {
    let bytes = request.signed_bytes(chain);
    Transaction::new(request, vec![(key.public_key(), key.sign(&bytes))]).expect("a transaction")
}

/// The key by which a validator cosigns checkpoints, by the seed of its vote key.
pub(super) fn checkpoint_key(seed: &[u8; 32]) -> SigningKey {
    let mut checkpoint = *seed;
    checkpoint[0] = 200;
    SigningKey::from_seed(&checkpoint)
}

fn validator(number: usize, seed: &[u8; 32]) -> Validator {
    Validator {
        vote_key: SigningKey::from_seed(seed).public_key(),
        checkpoint_key: checkpoint_key(seed).public_key(),
        name: Name::new(&format!("v{number}")).expect("a name"),
    }
}

pub(super) fn genesis(seeds: &[[u8; 32]]) -> Genesis {
    let all = seeds.iter().enumerate().map(|(n, seed)| validator(n, seed));
    Genesis {
        name: Name::new("simulation").expect("a name"),
        time: Timestamp::from_unix_ms(0).expect("a time"),
        parameters: Parameters::default(),
        validators: ValidatorSet::new(all.collect()).expect("validators"),
        addresses: vec![Vec::new(); seeds.len()],
        accounts: vec![Allocation {
            account: AccountId::new(treasury().public_key()),
            credits: Credits::new(1_000_000),
        }],
        faucet: None,
    }
}

impl Net {
    /// A network of `count` validators, all linked, none started.
    pub(super) async fn new(context: Context, count: usize) -> Self {
        Self::with_outsiders(context, count, 0).await
    }

    /// The same, and nodes that are no validators yet: they have the last numbers.
    pub(super) async fn with_outsiders(context: Context, count: usize, outsiders: usize) -> Self {
        let seeds = vote_seeds(count + outsiders);
        let keys: Vec<PublicKey> = seeds
            .iter()
            .map(|seed| vote_key(seed).public_key())
            .collect();
        let config = Config {
            max_size: u32::try_from(MESSAGE_LIMIT).expect("far below"),
            max_peers_per_set: NZUsize!(16),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let (network, oracle) =
            Network::new_with_peers(context.child("network"), config, keys.clone()).await;
        network.start();
        let now = context.current();
        let net = Self {
            genesis: genesis(&seeds[..count]),
            context,
            oracle,
            keys,
            seeds,
            nodes: BTreeMap::new(),
            starts: 0,
            liars: BTreeSet::new(),
            witnessed: RefCell::new(Witnessed::new(now)),
            looked: Cell::new(now),
        };
        net.link_all(&good()).await;
        net
    }

    pub(super) async fn link_all(&self, link: &Link) {
        for one in 0..self.keys.len() {
            for other in 0..self.keys.len() {
                self.link(one, other, Some(link)).await;
            }
        }
    }

    /// Links one node to another in one direction, or cuts it off.
    pub(super) async fn link(&self, from: usize, to: usize, link: Option<&Link>) {
        if from == to {
            return;
        }
        let (from, to) = (self.keys[from].clone(), self.keys[to].clone());
        // It may not be there.
        let _ = self.oracle.remove_link(from.clone(), to.clone()).await;
        if let Some(link) = link {
            self.oracle
                .add_link(from, to, link.clone())
                .await
                .expect("both are peers");
        }
    }

    /// Links the nodes of each group among themselves and nobody else.
    pub(super) async fn partition(&self, groups: &[&[usize]]) {
        for one in 0..self.keys.len() {
            for other in 0..self.keys.len() {
                let together = groups
                    .iter()
                    .any(|group| group.contains(&one) && group.contains(&other));
                self.link(one, other, together.then_some(&good())).await;
            }
        }
    }

    async fn halves(
        &mut self,
        node: usize,
    ) -> Halves<
        impl Sender<PublicKey = PublicKey> + use<>,
        impl Receiver<PublicKey = PublicKey> + use<>,
    > {
        let control = self.oracle.control(self.keys[node].clone());
        let mut halves = Vec::new();
        for channel in 0..6 {
            halves.push(control.register(channel, QUOTA).await.expect("a peer"));
        }
        halves.try_into().unwrap_or_else(|_| unreachable!("six"))
    }

    /// Starts a node on the disk that it had before, if it had one.
    pub(super) async fn start(&mut self, node: usize) {
        let halves = self.halves(node).await;
        let context = self.context.child("node");
        let started = self.launch(context, node, &format!("n{node}-"), halves);
        self.nodes.insert(node, started);
    }

    /// Starts whoever was killed.
    pub(super) async fn start_stopped(&mut self) {
        for node in 0..self.keys.len() {
            if !self.nodes.contains_key(&node) {
                self.start(node).await;
            }
        }
    }

    /// Starts a node whose clock is wrong.
    pub(super) async fn start_skewed(&mut self, node: usize, skew: Skew) {
        let halves = self.halves(node).await;
        let context = Skewed::new(self.context.child("node"), skew);
        let started = self.launch(context, node, &format!("n{node}-"), halves);
        self.nodes.insert(node, started);
    }

    pub(super) async fn start_all(&mut self) {
        for node in 0..self.keys.len() {
            self.start(node).await;
        }
    }

    /// Starts a validator twice, each half on a disk of its own and linked to some of the others only. Both sign with one
    /// key: whatever one half proposes and votes, the other does not know of. What the second half votes is told to all, so
    /// that those who are linked to the first can see that it votes twice.
    pub(super) async fn start_twins(&mut self, node: usize, first: &[usize]) {
        let first: Vec<PublicKey> = first.iter().map(|n| self.keys[*n].clone()).collect();
        let others: Vec<PublicKey> = self
            .keys
            .iter()
            .filter(|key| !first.contains(key) && **key != self.keys[node])
            .cloned()
            .collect();
        let control = self.oracle.control(self.keys[node].clone());
        let (mut ones, mut twos) = (Vec::new(), Vec::new());
        for channel in 0..6 {
            let (sender, receiver) = control.register(channel, QUOTA).await.expect("a peer");
            let (to_first, mut to_others) = (first.clone(), others.clone());
            if channel == VOTES {
                to_others.extend_from_slice(&first);
            }
            let (sender_one, sender_two) =
                sender.split_with(move |origin, _: &Recipients<PublicKey>, _: &IoBuf| {
                    Some(Recipients::Some(match origin {
                        SplitOrigin::Primary => to_first.clone(),
                        SplitOrigin::Secondary => to_others.clone(),
                    }))
                });
            let from_first = first.clone();
            let (receiver_one, receiver_two) =
                receiver.split_with(self.context.child("split"), move |message| {
                    if from_first.contains(&message.0) {
                        SplitTarget::Primary
                    } else {
                        SplitTarget::Secondary
                    }
                });
            ones.push((sender_one, receiver_one));
            twos.push((sender_two, receiver_two));
        }
        self.liars.insert(self.keys[node].clone());
        for (name, halves) in [("one", ones), ("two", twos)] {
            let halves = halves.try_into().unwrap_or_else(|_| unreachable!("six"));
            // It is no honest node: nothing is asked of it and nothing checked.
            let context = self.context.child("node");
            let (handle, task) = self.launch(context, node, &format!("twin-{name}-"), halves);
            self.starts += 1;
            self.nodes.insert(TWINS + self.starts, (handle, task));
        }
    }

    /// Hands each half of a validator that runs twice something to propose that nobody else has.
    pub(super) async fn tempt(&self, round: u8) {
        let halves = self.nodes.range(TWINS..);
        for (half, (_, (handle, _))) in (0u8..).zip(halves) {
            let key = SigningKey::from_seed(&[100 + 2 * round + half; 32]);
            let answers = handle.submit(vec![self.registration(&key)]).await;
            assert!(are_accepted(&answers.expect("it runs")));
        }
    }

    fn launch<E, S, R>(
        &mut self,
        context: E,
        node: usize,
        prefix: &str,
        halves: Halves<S, R>,
    ) -> (Handle, Task<()>)
    where
        E: Runtime,
        S: Sender<PublicKey = PublicKey>,
        R: Receiver<PublicKey = PublicKey>,
    {
        let partitions = Partitions {
            prefix: prefix.to_owned(),
        };
        let [votes, certificates, missing, blocks, history, transactions] = halves;
        let key = vote_key(&self.seeds[node]);
        let me = key.public_key();
        let control: Control<PublicKey, Context> = self.oracle.control(me.clone());
        let consensus = Simplex::new(
            &context,
            partitions.clone(),
            tally_ledger::consensus_namespace(self.genesis.chain()),
            key,
            Timing::default(),
            control,
            Channels {
                votes,
                certificates,
                missing,
            },
        );
        let (commands_in, commands) = mpsc::channel(COMMANDS);
        let (heights, heights_out) = watch::channel(Height::ZERO);
        let handle = Handle::new(self.genesis.chain(), commands_in, heights_out);
        let parts = Parts {
            partitions,
            genesis: self.genesis.clone(),
            me: Some(me),
            pace: Pace::default(),
            snapshot_every: SNAPSHOT_EVERY,
            consensus: Some(consensus),
            peers: Peers {
                blocks,
                history,
                transactions,
            },
            neighbours: Box::new(Still),
            checks: handle.checks(),
            checkpoint_key: Some(checkpoint_key(&self.seeds[node])),
            put_down: None,
            commands,
        };
        let task = context.spawn(move |context| async move {
            Actor::run(context, parts, heights)
                .await
                .expect("the disk works");
        });
        (handle, task)
    }

    /// Stops a node as SIGKILL would.
    pub(super) async fn kill(&mut self, node: usize) {
        if let Some((_, task)) = self.nodes.remove(&node) {
            task.abort();
            // The runtime lets go of what the node had open when it next runs.
            self.context.sleep(Duration::from_millis(1)).await;
        }
    }

    /// How many validators of genesis may fail or lie.
    pub(super) fn tolerated(&self) -> usize {
        self.genesis.validators.tolerated()
    }

    /// As many validators of genesis, from one on, as must acknowledge something: one of them stays and is honest.
    pub(super) fn takers(&self, first: usize) -> Vec<usize> {
        (first..=first + self.tolerated())
            .map(|node| node % self.genesis.validators.len())
            .collect()
    }

    pub(super) fn handle(&self, node: usize) -> &Handle {
        &self.nodes[&node].0
    }

    /// The height of the newest snapshot on a node's disk.
    pub(super) async fn newest_snapshot(&self, node: usize) -> Option<u64> {
        let names = self.context.scan(&snapshots_of(node)).await.ok()?;
        names.iter().filter_map(|name| store::number(name)).max()
    }

    /// Removes a node's snapshots. It does not run.
    pub(super) async fn remove_snapshots(&self, node: usize) {
        let removed = self.context.remove(&snapshots_of(node), None).await;
        removed.expect("they are there");
    }

    /// What a node says of its tip, and what it proves of each receipt of a runner: but for whose votes it has on that.
    pub(super) async fn answers(
        &self,
        node: usize,
        runner: &Runner,
    ) -> ([[u8; 32]; 3], Vec<(Entry, u64, InclusionProof, Header)>) {
        let handle = self.handle(node);
        let status = handle.status().await.expect("it runs");
        let id = NodeId::new(runner.key.public_key());
        let mut proofs = Vec::new();
        for sequence in (0..runner.next).map(Sequence::new) {
            let wanted = Wanted::Place(id, sequence);
            let proof = handle.prove_wanted(wanted, Duration::ZERO).await;
            let proof = proof.expect("it runs").expect("it is settled");
            let proof = Proof::from_bytes(&proof).expect("a proof");
            let header = proof.finality().expect("by a certificate").header.clone();
            proofs.push((
                *proof.entry(),
                proof.index(),
                proof.inclusion().clone(),
                header,
            ));
        }
        let block = *status.block.as_bytes();
        ([block, status.log_root, status.state_root], proofs)
    }

    /// The honest nodes that run.
    pub(super) fn running(&self) -> Vec<usize> {
        self.nodes.range(..TWINS).map(|(node, _)| *node).collect()
    }

    /// Lets time pass, and notes now and then what nodes have as final.
    pub(super) async fn sleep(&self, ms: u64) {
        let until = self.context.current() + Duration::from_millis(ms);
        while self.context.current() < until {
            let look = self.looked.get() + LOOK_EVERY;
            self.context.sleep_until(until.min(look)).await;
            if self.context.current() >= look {
                self.looked.set(self.context.current());
                self.look().await;
            }
        }
    }

    /// Notes what honest nodes have as final.
    async fn look(&self) {
        for node in self.running() {
            let handle = self.handle(node);
            // A node that has stopped says nothing.
            let (Ok(status), Ok(checkpoint)) = (handle.status().await, handle.checkpoint().await)
            else {
                continue;
            };
            let mut witnessed = self.witnessed.borrow_mut();
            witnessed.block(node, status.height.get(), status.block);
            if let Some(checkpoint) = checkpoint {
                witnessed.checkpoint(node, checkpoint);
            }
        }
    }

    /// What was noted, for a network that goes on where this one stops.
    pub(super) async fn witnessed(self) -> Witnessed {
        self.look().await;
        self.witnessed.into_inner()
    }

    /// Goes on with what was noted before.
    pub(super) fn go_on(&mut self, before: Witnessed) {
        self.witnessed = RefCell::new(before);
    }

    /// Waits until a node's last final block is at a height, at most for a minute of simulated time.
    pub(super) async fn reaches(&self, node: usize, height: u64) {
        for _ in 0..1200 {
            if self.height(node).await >= height {
                return;
            }
            self.sleep(50).await;
        }
        panic!(
            "node {node} did not reach height {height} but {}",
            self.height(node).await
        );
    }

    pub(super) async fn height(&self, node: usize) -> u64 {
        let status = self.handle(node).status().await.expect("it runs");
        status.height.get()
    }

    /// Registers a runner at the given nodes.
    pub(super) async fn register(&self, seed: u8, at: &[usize]) -> Runner {
        let key = SigningKey::from_seed(&[seed; 32]);
        let transaction = self.registration(&key);
        for node in at {
            let answer = self.handle(*node).submit(vec![transaction.clone()]).await;
            assert!(matches!(answer.unwrap()[0], Submitted::Accepted(_)));
        }
        let id = NodeId::new(key.public_key());
        for node in self.running() {
            for _ in 0..1200 {
                if self.handle(node).node(id).await.expect("it runs").is_some() {
                    break;
                }
                self.sleep(50).await;
            }
            let found = self.handle(node).node(id).await.expect("it runs");
            assert!(found.is_some(), "node {node} does not know the runner");
        }
        Runner {
            key,
            next: 0,
            paid: 0,
        }
    }

    /// What registers a runner, whose name it is.
    pub(super) fn transaction_of_a_runner(&self, seed: u8) -> (Transaction, NodeId) {
        let key = SigningKey::from_seed(&[seed; 32]);
        (self.registration(&key), NodeId::new(key.public_key()))
    }

    fn registration(&self, key: &SigningKey) -> Transaction {
        let request = Request::Register {
            owner: AccountId::new(key.public_key()),
            node: NodeId::new(key.public_key()),
            terms: Terms {
                roles: Roles::INFERENCE,
                evidence: None,
                endpoint: None,
                price: Credits::ZERO,
            },
        };
        signed(self.genesis.chain(), request, key)
    }

    /// Has the given nodes validate from now on, by a decision of these validators, handed to all that run.
    pub(super) async fn decide(&self, decision: u64, next: &[usize], signers: &[usize]) {
        let set = next
            .iter()
            .map(|n| validator(*n, &self.seeds[*n]))
            .collect();
        let request = Request::Decide {
            decision: Decision::new(decision),
            change: Change::Validators(ValidatorSet::new(set).expect("validators")),
        };
        let bytes = request.signed_bytes(self.genesis.chain());
        let signatures = signers
            .iter()
            .map(|n| {
                let key = SigningKey::from_seed(&self.seeds[*n]);
                (key.public_key(), key.sign(&bytes))
            })
            .collect();
        let transaction = Transaction::new(request, signatures).expect("a transaction");
        for node in self.running() {
            let answer = self.handle(node).submit(vec![transaction.clone()]).await;
            let answer = answer.expect("it runs");
            assert!(matches!(answer[0], Submitted::Accepted(_)), "{answer:?}");
        }
    }

    /// Waits until the nodes that run are in an epoch.
    pub(super) async fn epoch(&self, epoch: u64) {
        for node in self.running() {
            let mut found = 0;
            for _ in 0..2400 {
                found = self.handle(node).status().await.expect("it runs").epoch;
                if found >= epoch {
                    break;
                }
                self.sleep(50).await;
            }
            assert_eq!(found, epoch, "node {node} stays behind");
        }
    }

    /// Settles receipts at the given nodes, and pays for them, which all of these must acknowledge.
    pub(super) async fn settle(&self, runner: &mut Runner, count: u64, at: &[usize]) {
        let transactions = self.settlement(runner, count);
        runner.next += count;
        runner.paid += 1;
        for node in at {
            let mut answers = Vec::new();
            for _ in 0..600 {
                let asked = self.handle(*node).submit(transactions.clone()).await;
                answers = asked.expect("it runs");
                let not_yet = |answer: &Submitted| matches!(answer, Submitted::Refused(refused) if refused.code == RefusedCode::NotYet);
                // One that was just started may have the runner's registration to come.
                if !answers.iter().any(not_yet) {
                    break;
                }
                self.sleep(50).await;
            }
            assert!(are_accepted(&answers), "{answers:?}");
        }
    }

    /// The runner's next receipts, and the next payment.
    fn settlement(&self, runner: &Runner, count: u64) -> Vec<Transaction> {
        let receipts = (runner.next..runner.next + count)
            .map(|number| runner.receipt(number))
            .collect();
        let settle = Request::Settle {
            node: runner.id(),
            first: Sequence::new(runner.next),
            receipts: Settlement::Hashes(receipts),
        };
        let pay = Request::Transfer {
            from: AccountId::new(treasury().public_key()),
            nonce: AccountNonce::new(runner.paid),
            to: AccountId::new(runner.key.public_key()),
            amount: Credits::new(1 + runner.paid % 7),
        };
        let chain = self.genesis.chain();
        vec![
            signed(chain, settle, &runner.key),
            signed(chain, pay, &treasury()),
        ]
    }

    /// Hands receipts and a payment to whoever takes them, and says whether that was enough of them to count as
    /// acknowledged. What is not is handed over again the next time, if as many are asked for.
    pub(super) async fn try_settle(&self, runner: &mut Runner, count: u64) -> bool {
        let transactions = self.settlement(runner, count);
        let mut taken = 0;
        for node in self.running() {
            // A node that has stopped answers nothing.
            if let Ok(answers) = self.handle(node).submit(transactions.clone()).await
                && are_accepted(&answers)
            {
                taken += 1;
            }
        }
        let is_acknowledged = taken > self.tolerated();
        if is_acknowledged {
            runner.next += count;
            runner.paid += 1;
        }
        is_acknowledged
    }

    /// What convicts validators, as honest nodes have it: each file is checked as a reader would.
    pub(super) async fn convicted(&self) -> BTreeSet<PublicKey> {
        let mut guilty = BTreeSet::new();
        for node in self.running() {
            for evidence in self.handle(node).faults().await.expect("it runs") {
                let trust = Trust {
                    now: Timestamp::from_unix_ms(0).expect("a time"),
                    genesis: Some(&self.genesis),
                    policy: None,
                };
                let verdict = verify_evidence(&evidence.to_bytes(), &trust);
                assert!(verdict.is_verified(), "{verdict}");
                guilty.insert(match evidence {
                    Evidence::Votes { voter, .. } => crate::simplex::key(&voter),
                    // Whoever runs twice has one log all the same.
                    Evidence::Checkpoints { signer, .. } => panic!("{} lied", signer.name),
                });
            }
        }
        guilty
    }

    /// Waits until every honest node that runs has done what was acknowledged: at most two minutes of simulated time. What was
    /// handed over to too few may be done, too.
    pub(super) async fn all_settled(&self, runner: &Runner) {
        self.settled_at(runner, &self.running()).await;
    }

    /// The same of some nodes.
    pub(super) async fn settled_at(&self, runner: &Runner, nodes: &[usize]) {
        let expected = (runner.next, runner.paid);
        for node in nodes {
            let mut done = (0, 0);
            for _ in 0..2400 {
                done = self.done(*node, runner).await;
                if done.0 >= expected.0 && done.1 >= expected.1 {
                    break;
                }
                self.sleep(50).await;
            }
            assert!(
                done.0 >= expected.0 && done.1 >= expected.1,
                "node {node}: {expected:?} receipts and payments were acknowledged, and {done:?} are in final blocks"
            );
        }
    }

    /// How many receipts and payments of a runner a node has in final blocks.
    async fn done(&self, node: usize, runner: &Runner) -> (u64, u64) {
        let handle = self.handle(node);
        let found = handle.node(runner.id()).await.expect("it runs");
        let payer = AccountId::new(treasury().public_key());
        let payer = handle.account(payer).await.expect("it runs");
        (found.map_or(0, |found| found.settled), payer.nonce)
    }

    /// Waits until every honest node that runs has a checkpoint of all receipts: at most ten seconds of simulated time.
    pub(super) async fn all_cosigned(&self) {
        for node in self.running() {
            let (mut size, mut receipts) = (0, 0);
            for _ in 0..200 {
                let handle = self.handle(node);
                receipts = handle.status().await.expect("it runs").receipts;
                let checkpoint = handle.checkpoint().await.expect("it runs");
                size = checkpoint.map_or(0, |one| one.checkpoint().size);
                if size == receipts {
                    break;
                }
                self.sleep(50).await;
            }
            assert_eq!(size, receipts, "node {node} has no checkpoint of all");
        }
    }

    /// Checks everything that must hold of the honest nodes once they have done what was acknowledged, and says what came of it.
    pub(super) async fn check(&self, runner: &Runner) -> Outcome {
        self.look().await;
        // Whatever was final on one node, which may not run any more, becomes final on all.
        let height = self.witnessed.borrow().height();
        for node in self.running() {
            self.reaches(node, height).await;
        }
        let mut chains = Vec::new();
        for node in self.running() {
            chains.push((node, self.chain(node).await));
        }
        let convicted = self.convicted().await;
        match self.judge(runner, &chains, convicted) {
            Ok(outcome) => outcome,
            Err(violation) => panic!("{violation}"),
        }
    }

    fn judge(
        &self,
        runner: &Runner,
        chains: &[(usize, Vec<Block>)],
        convicted: BTreeSet<PublicKey>,
    ) -> Result<Outcome, Violation> {
        let witnessed = self.witnessed.borrow();
        let longest = properties::one_history(chains)?;
        witnessed.stays_final(longest)?;
        let replayed = properties::replay(&self.genesis, longest)?;
        let acknowledged: Vec<Digest> = (0..runner.next).map(|n| runner.receipt(n)).collect();
        properties::included(&replayed.entries, runner.id(), &acknowledged)?;
        let payer = AccountId::new(treasury().public_key());
        properties::paid(&replayed.state, payer, runner.paid)?;
        let seen = witnessed.checkpoints();
        properties::append_only(&replayed.entries, seen)?;
        properties::cosigned(&self.genesis.log_origin(), &replayed.validators, seen)?;
        properties::only_liars(&convicted, &self.liars)?;
        let now = self.context.current();
        Ok(Outcome {
            head: replayed.state.head().clone(),
            validators: replayed.state.next_validators().len(),
            heights: chains
                .iter()
                .map(|(node, chain)| (*node, chain.len()))
                .collect(),
            cosigned: seen
                .iter()
                .map(|one| one.checkpoint.checkpoint())
                .map(|checkpoint| (checkpoint.size, checkpoint.root))
                .collect(),
            convicted,
            took: now.duration_since(witnessed.begun).unwrap_or_default(),
        })
    }

    async fn chain(&self, node: usize) -> Vec<Block> {
        let mut chain: Vec<Block> = Vec::new();
        loop {
            let from = Height::new(chain.len() as u64 + 1);
            let stretch = self.handle(node).blocks(from).await.expect("it runs");
            let stretch = stretch.expect("they are short");
            if stretch.blocks.is_empty() {
                return chain;
            }
            for one in stretch.blocks {
                chain.push(Bodies::read(one.block).expect("a block").1.block);
            }
        }
    }
}

fn are_accepted(answers: &[Submitted]) -> bool {
    answers
        .iter()
        .all(|answer| matches!(answer, Submitted::Accepted(_)))
}
