//! What others in this program, and callers through it, ask of a node.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::Sender;
use tally_ledger::{
    AccountId, Checked, Entry as LogEntry, Epoch, Evidence, Finality, Height, NodeId, Proof,
    Settled, State, Subject, Transaction, TransactionId,
};
use tally_log::{ProofFile, SignedCheckpoint};
use tally_receipt::Digest;
use tokio::sync::oneshot;

use super::arrivals::Arrived;
use super::{Actor, Waiting};
use crate::Runtime;
use crate::consensus::Consensus;
use crate::pool::{Entry, Pool, RefusedEntry, Source};
use crate::proofs::Wanted;
use crate::store::StoreError;
use crate::wire::{
    self, AccountAnswer, DecidedAnswer, Head, NodeAnswer, Refused, RefusedCode, SaidAnswer,
    ShownRecord, Status, Stretch, Submitted, Transactions, ValidatorStatus,
};

/// The longest that somebody may wait for a receipt to become final.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Those who wait.
const WAITING: usize = 4096;

/// What is asked of a node.
pub(crate) enum Command {
    Submit {
        transactions: Vec<Checked>,
        answer: oneshot::Sender<Vec<Submitted>>,
    },
    Status(oneshot::Sender<Status>),
    Prove {
        wanted: Wanted,
        wait: Duration,
        answer: oneshot::Sender<Result<Bytes, Refused>>,
    },
    Blocks {
        from: Height,
        answer: oneshot::Sender<Result<Stretch, Refused>>,
    },
    /// Final blocks that a follower has fetched.
    Take {
        stretch: Stretch,
        answer: oneshot::Sender<Result<Height, &'static str>>,
    },
    Account {
        account: AccountId,
        answer: oneshot::Sender<AccountAnswer>,
    },
    Node {
        node: NodeId,
        answer: oneshot::Sender<Option<NodeAnswer>>,
    },
    /// By a cosigned checkpoint.
    ProveCosigned {
        receipt: Digest,
        wait: Duration,
        answer: oneshot::Sender<Result<Bytes, Refused>>,
    },
    Checkpoint(oneshot::Sender<Option<SignedCheckpoint>>),
    TakeCheckpoint {
        said: SignedCheckpoint,
        answer: oneshot::Sender<()>,
    },
    Entries {
        from: u64,
        count: u64,
        answer: oneshot::Sender<Vec<LogEntry>>,
    },
    Faults(oneshot::Sender<Vec<Evidence>>),
    /// None at genesis.
    Head {
        since: Epoch,
        answer: oneshot::Sender<Option<Head>>,
    },
    /// None at genesis.
    Decided {
        since: Epoch,
        answer: oneshot::Sender<Option<DecidedAnswer>>,
    },
    /// None at genesis.
    Said {
        since: Epoch,
        subject: Subject,
        answer: oneshot::Sender<Option<SaidAnswer>>,
    },
}

impl Command {
    /// Whether it shares a sync of the disk with others of its kind.
    pub(super) const fn is_submission(&self) -> bool {
        matches!(self, Self::Submit { .. })
    }

    /// Whether nobody waits for its answer any more: whoever asked is gone, and what it would take is spared.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Submit { answer, .. } => answer.is_closed(),
            Self::Status(answer) => answer.is_closed(),
            Self::Prove { answer, .. } | Self::ProveCosigned { answer, .. } => answer.is_closed(),
            Self::Blocks { answer, .. } => answer.is_closed(),
            Self::Take { answer, .. } => answer.is_closed(),
            Self::Account { answer, .. } => answer.is_closed(),
            Self::Node { answer, .. } => answer.is_closed(),
            Self::Checkpoint(answer) => answer.is_closed(),
            Self::TakeCheckpoint { answer, .. } => answer.is_closed(),
            Self::Entries { answer, .. } => answer.is_closed(),
            Self::Faults(answer) => answer.is_closed(),
            Self::Head { answer, .. } => answer.is_closed(),
            Self::Decided { answer, .. } => answer.is_closed(),
            Self::Said { answer, .. } => answer.is_closed(),
        }
    }
}

impl From<RefusedEntry> for Refused {
    fn from(reason: RefusedEntry) -> Self {
        let code = match &reason {
            RefusedEntry::Impossible(error) if error.may_become_good() => RefusedCode::NotYet,
            RefusedEntry::Impossible(_) => RefusedCode::Impossible,
            RefusedEntry::FarAhead => RefusedCode::NotYet,
            RefusedEntry::Full => RefusedCode::Busy,
        };
        Self {
            code,
            sentence: reason.to_string(),
        }
    }
}

impl<E, C, S> Actor<E, C, S>
where
    E: Runtime,
    C: Consensus<E>,
    S: Sender<PublicKey = PublicKey>,
{
    /// Answers commands that came together. What they submit shares one sync of the disk.
    pub(super) async fn commands(&mut self, commands: Vec<Command>) -> Result<(), StoreError> {
        let mut submitted = Vec::new();
        let mut judged = Judged::default();
        for command in commands {
            if command.is_abandoned() {
                continue;
            }
            match command {
                Command::Submit {
                    transactions,
                    answer,
                } => {
                    let answers = judged.judge(&self.pool, self.chain.tip(), transactions);
                    submitted.push((answer, answers));
                }
                Command::Status(answer) => tell(answer, self.status()),
                Command::Prove {
                    wanted,
                    wait,
                    answer,
                } => self.prove(wanted, wait, answer),
                Command::Blocks { from, answer } => {
                    self.read_stretch(from, |stretch| tell(answer, stretch))?;
                }
                Command::Take { stretch, answer } => {
                    let taken = self.take(stretch).await?;
                    let height = self.chain.tip().head().height;
                    tell(answer, taken.map(|()| height));
                }
                Command::Account { account, answer } => tell(answer, self.account(account)),
                Command::Node { node, answer } => {
                    let tip = self.chain.tip();
                    tell(
                        answer,
                        tip.node(node).map(|found| NodeAnswer {
                            height: tip.head().height,
                            key: found.key,
                            settled: found.settled.get(),
                        }),
                    );
                }
                Command::ProveCosigned {
                    receipt,
                    wait,
                    answer,
                } => self.prove_cosigned(receipt, wait, answer),
                Command::Checkpoint(answer) => {
                    tell(answer, self.checkpoints.cosigned().cloned());
                }
                Command::TakeCheckpoint { said, answer } => {
                    self.take_checkpoint(None, &said);
                    tell(answer, ());
                }
                Command::Entries {
                    from,
                    count,
                    answer,
                } => tell(answer, self.log.entries(from, count).to_vec()),
                Command::Head { since, answer } => tell(answer, self.head(since)),
                Command::Decided { since, answer } => tell(answer, self.decided(since)),
                Command::Said {
                    since,
                    subject,
                    answer,
                } => tell(answer, self.said(since, subject)),
                Command::Faults(answer) => tell(answer, self.faults.clone()),
            }
        }
        if !judged.new.is_empty() {
            self.pool_file.put(&judged.new).await?;
            self.metrics.submitted.inc_by(judged.new.len() as u64);
            let now = self.now();
            for checked in judged.new.drain(..) {
                self.pool
                    .insert(self.chain.tip(), checked, Source::Caller, now);
            }
            self.metrics
                .waiting
                .set(i64::try_from(self.pool.len()).unwrap_or(i64::MAX));
            // What is early may go without a block.
            self.shorten_pool_file().await?;
        }
        for (answer, mut answers) in submitted {
            judged.take_back(&self.pool, &mut answers);
            tell(answer, answers);
        }
        Ok(())
    }

    /// Transactions that a peer passed on. They are durable there, so they are only kept in memory here.
    pub(super) fn passed_on(&mut self, peer: &PublicKey, message: Bytes) {
        let Ok(Transactions(all)) = wire::decode(message) else {
            return;
        };
        let now = self.now();
        self.arrivals.hear(peer, all, now);
        self.check_arrivals();
    }

    /// Has the next of them checked, on a thread that nothing else waits for.
    fn check_arrivals(&mut self) {
        let Some(batch) = self.arrivals.next() else {
            return;
        };
        let (checks, back) = (self.checks.clone(), self.arrived.clone());
        let context = self.context.child("arrivals").shared(true);
        context.spawn(move |_| async move {
            // The node may have stopped meanwhile.
            let _ = back.send(batch.check(&checks));
        });
    }

    /// Some of them were checked.
    pub(super) fn arrived(&mut self, arrived: Arrived) {
        self.arrivals.checked(&arrived);
        let now = self.now();
        for checked in arrived.good {
            if self.pool.judge(self.chain.tip(), &checked) == Ok(Entry::New) {
                self.pool
                    .insert(self.chain.tip(), checked, Source::Peer, now);
            }
        }
        self.check_arrivals();
    }

    /// Takes back what was acknowledged before this node stopped. The last final block on the disk may be older than the one
    /// by which a transaction was judged then, so whatever may become good is kept, and makes no room for others.
    pub(super) async fn restore(&mut self, acknowledged: Vec<Bytes>) {
        let transactions = acknowledged
            .iter()
            .filter_map(|bytes| Transaction::from_bytes(bytes).ok())
            // The file also holds what has been done since. Its signatures are not worth a look.
            .filter(|transaction| !self.pool.is_done(&transaction.id()))
            .collect();
        let now = self.now();
        let mut open = 0;
        for checked in self.checks.check_many(transactions).into_iter().flatten() {
            let possible = match self.chain.tip().would_accept(&checked) {
                Ok(()) => true,
                Err(reason) => reason.may_become_good(),
            };
            if possible {
                self.pool
                    .insert(self.chain.tip(), checked, Source::Disk, now);
                open += 1;
            }
        }
        if open > 0 {
            tracing::info!(
                open,
                "transactions were acknowledged and are in no block yet"
            );
        }
    }

    fn status(&self) -> Status {
        let tip = self.chain.tip();
        let head = tip.head();
        let connected = self.neighbours.connected();
        let validators = tip
            .next_validators()
            .as_slice()
            .iter()
            .map(|validator| {
                let key = crate::simplex::key(&validator.vote_key);
                ValidatorStatus {
                    vote_key: validator.vote_key,
                    name: validator.name.to_string(),
                    connected: self.me.as_ref() == Some(&key) || connected.contains(&key),
                }
            })
            .collect();
        Status {
            chain: tip.chain(),
            height: head.height,
            block: tip.head_digest(),
            time_ms: head.time.unix_ms(),
            epoch: tip.next_epoch().get(),
            receipts: head.log_size,
            log_root: *head.log_root.as_bytes(),
            state_root: *head.state_root.as_bytes(),
            validators,
            waiting: self.pool.len() as u64,
            seen: self.history.seen().max(head.height),
            faults: u32::try_from(self.faults.len()).unwrap_or(u32::MAX),
            votes: self.voting.is_some(),
        }
    }

    fn head(&self, since: Epoch) -> Option<Head> {
        let first = usize::try_from(since.get()).unwrap_or(usize::MAX);
        let ends = self.epochs.get(first..).unwrap_or_default();
        Some(Head {
            header: self.chain.tip().head().clone(),
            certificate: self.certificate.clone()?,
            ends: ends.iter().take(wire::MAX_ENDS).cloned().collect(),
        })
    }

    fn said(&self, since: Epoch, subject: Subject) -> Option<SaidAnswer> {
        let tip = self.chain.tip();
        Some(SaidAnswer {
            head: self.head(since)?,
            record: tip.record(subject).map(Bytes::from),
            proof: tip.prove(subject),
        })
    }

    fn decided(&self, since: Epoch) -> Option<DecidedAnswer> {
        let tip = self.chain.tip();
        let shown = |subject| {
            Some(ShownRecord {
                record: tip.record(subject)?.into(),
                proof: tip.prove(subject),
            })
        };
        Some(DecidedAnswer {
            head: self.head(since)?,
            parameters: shown(Subject::Parameters)?,
            decisions: shown(Subject::Decisions)?,
        })
    }

    fn account(&self, id: AccountId) -> AccountAnswer {
        let tip = self.chain.tip();
        let account = tip.account(id);
        AccountAnswer {
            height: tip.head().height,
            balance: account.balance.get(),
            nonce: account.nonce.get(),
        }
    }

    fn prove(
        &mut self,
        wanted: Wanted,
        wait: Duration,
        answer: oneshot::Sender<Result<Bytes, Refused>>,
    ) {
        match self.proof(&wanted) {
            Some(proof) => tell(answer, Ok(proof)),
            None if wait.is_zero() => tell(answer, Err(not_settled(&wanted))),
            None if self.waiting.len() >= WAITING => {
                tell(answer, Err(too_many_wait()));
            }
            None => {
                let until = self.now() + wait.min(LONGEST_WAIT);
                self.waiting
                    .entry(wanted)
                    .or_default()
                    .push(Waiting { until, answer });
            }
        }
    }

    fn prove_cosigned(
        &mut self,
        receipt: Digest,
        wait: Duration,
        answer: oneshot::Sender<Result<Bytes, Refused>>,
    ) {
        match self.cosigned_proof(&receipt) {
            Some(proof) => tell(answer, Ok(proof)),
            None if wait.is_zero() => tell(answer, Err(not_cosigned(&receipt))),
            None if self.waiting_cosigned.len() >= WAITING => tell(answer, Err(too_many_wait())),
            None => {
                let until = self.now() + wait.min(LONGEST_WAIT);
                self.waiting_cosigned
                    .entry(receipt)
                    .or_default()
                    .push(Waiting { until, answer });
            }
        }
    }

    /// Answers those who wait for what a quorum has just cosigned.
    pub(super) fn answer_waiting_cosigned(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting_cosigned);
        waiting.retain(|receipt, all| match self.cosigned_proof(receipt) {
            None => true,
            Some(proof) => {
                for one in all.drain(..) {
                    tell(one.answer, Ok(proof.clone()));
                }
                false
            }
        });
        self.waiting_cosigned = waiting;
    }

    /// The proof that a receipt is in the log of the last cosigned checkpoint.
    fn cosigned_proof(&self, receipt: &Digest) -> Option<Bytes> {
        let checkpoint = self.checkpoints.cosigned()?;
        let wanted = Wanted::Receipt(*receipt);
        let (index, entry, inclusion) = self.log.find(&wanted, checkpoint.checkpoint().size)?;
        let proof = ProofFile {
            extra: Some(entry.to_bytes().to_vec()),
            index,
            inclusion,
            checkpoint: checkpoint.clone(),
        };
        Some(proof.to_string().into())
    }

    /// Answers those who wait for what has just become final.
    pub(super) fn answer_waiting(&mut self, settled: &[Settled]) {
        if self.waiting.is_empty() {
            return;
        }
        for wanted in settled.iter().flat_map(|one| Wanted::names_of(&one.entry)) {
            if let Some(waiting) = self.waiting.remove(&wanted)
                && let Some(proof) = self.proof(&wanted)
            {
                for one in waiting {
                    tell(one.answer, Ok(proof.clone()));
                }
            }
        }
    }

    /// Tells those who have waited long enough that it has not happened.
    pub(super) fn expire(&mut self, now: SystemTime) {
        expire(&mut self.waiting, now, not_settled);
        expire(&mut self.waiting_cosigned, now, not_cosigned);
    }

    /// The proof that an entry is in the log, as of the last final block.
    fn proof(&self, wanted: &Wanted) -> Option<Bytes> {
        let header = self.chain.tip().head().clone();
        let (index, entry, inclusion) = self.log.find(wanted, header.log_size)?;
        let finality = Finality {
            header,
            certificate: self.certificate.clone()?,
            epochs: self.epochs.clone(),
        };
        let proof = Proof::new(entry, index, inclusion, Some(finality), None)
            .expect("this log is the one of the last final header");
        Some(proof.to_bytes().into())
    }
}

/// What becomes of transactions that were submitted together.
#[derive(Debug, Default)]
struct Judged {
    /// Those that are not on this disk yet.
    new: Vec<Checked>,
    /// Those that are to wait here, or do already.
    waiting: HashSet<TransactionId>,
}

impl Judged {
    /// Says what becomes of each by a final state.
    fn judge(&mut self, pool: &Pool, tip: &State, transactions: Vec<Checked>) -> Vec<Submitted> {
        transactions
            .into_iter()
            .map(|checked| {
                let id = checked.id();
                let entry = match pool.judge(tip, &checked) {
                    Ok(entry) => entry,
                    Err(reason) => return Submitted::Refused(reason.into()),
                };
                if entry != Entry::Done {
                    self.waiting.insert(id);
                }
                if entry == Entry::New || pool.is_only_passed_on(&id) {
                    self.new.push(checked);
                }
                Submitted::Accepted(id)
            })
            .collect()
    }

    /// Refuses what was to wait and had to make room since, as what is early may: nothing is acknowledged that is gone.
    fn take_back(&self, pool: &Pool, answers: &mut [Submitted]) {
        for answer in answers {
            if let Submitted::Accepted(id) = *answer
                && self.waiting.contains(&id)
                && pool.get(&id).is_none()
                && !pool.is_done(&id)
            {
                *answer = Submitted::Refused(RefusedEntry::Full.into());
            }
        }
    }
}

/// Answers, unless nobody waits for it any more.
fn tell<T>(to: oneshot::Sender<T>, answer: T) {
    let _ = to.send(answer);
}

fn expire<K>(waiting: &mut HashMap<K, Vec<Waiting>>, now: SystemTime, late: fn(&K) -> Refused) {
    waiting.retain(|wanted, all| {
        for one in all.extract_if(.., |one| one.until <= now) {
            tell(one.answer, Err(late(wanted)));
        }
        !all.is_empty()
    });
}

fn too_many_wait() -> Refused {
    Refused {
        code: RefusedCode::Busy,
        sentence: "too many wait for receipts to become final; ask again later".into(),
    }
}

fn not_cosigned(receipt: &Digest) -> Refused {
    Refused {
        code: RefusedCode::NotYet,
        sentence: format!(
            "receipt {receipt} is in no checkpoint yet that enough validators have cosigned"
        ),
    }
}

fn not_settled(wanted: &Wanted) -> Refused {
    Refused {
        code: RefusedCode::NotYet,
        sentence: format!("{wanted} is in no final block yet"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use tally_ledger::{Credits, Request, Roles, Sequence, Settlement, Terms};
    use tally_receipt::SigningKey;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[7; 32])
    }

    fn signed(request: Request) -> Checked {
        let chain = crate::fuzzing::genesis().chain();
        let signed = request.sign(chain, &[&key()]).expect("a transaction");
        Checked::known_to_be_good(signed, chain)
    }

    fn settle(first: u64) -> Checked {
        signed(Request::Settle {
            node: NodeId::new(key().public_key()),
            first: Sequence::new(first),
            receipts: Settlement::Hashes(vec![Digest::of(b"a receipt"); 1000]),
        })
    }

    /// The state in which one node is registered.
    fn state() -> State {
        let state = crate::fuzzing::genesis().state();
        let register = signed(Request::Register {
            owner: AccountId::new(key().public_key()),
            node: NodeId::new(key().public_key()),
            terms: Terms {
                roles: Roles::INFERENCE,
                evidence: None,
                endpoint: None,
                price: Credits::ZERO,
            },
        });
        let proposed = state.propose(state.head().time, [register]);
        assert_eq!(proposed.transactions.len(), 1);
        proposed.executed.state
    }

    #[test]
    fn what_had_to_make_room_at_once_is_not_acknowledged() {
        let (state, mut pool) = (state(), Pool::default());
        let mut judged = Judged::default();
        let all: Vec<Checked> = (1..=300).map(|number| settle(number * 1000)).collect();
        let mut answers = judged.judge(&pool, &state, all);
        for checked in judged.new.drain(..) {
            pool.insert(&state, checked, Source::Caller, UNIX_EPOCH);
        }
        assert!(pool.len() < 300, "they have 9.6 MB");
        judged.take_back(&pool, &mut answers);
        for answer in &answers {
            if let Submitted::Accepted(id) = answer {
                assert!(pool.get(id).is_some());
            }
        }
        let is_refused = |answer: &&Submitted| matches!(answer, Submitted::Refused(refused) if refused.code == RefusedCode::Busy);
        let refused = answers.iter().filter(is_refused).count();
        assert_eq!(refused, 300 - pool.len());
    }

    #[test]
    fn what_a_peer_passed_on_is_put_on_this_disk_before_it_is_acknowledged_here() {
        let (state, mut pool) = (state(), Pool::default());
        let one = settle(0);
        pool.insert(&state, one.clone(), Source::Peer, UNIX_EPOCH);
        for is_new in [true, false] {
            let mut judged = Judged::default();
            let answers = judged.judge(&pool, &state, vec![one.clone()]);
            assert_eq!(answers, [Submitted::Accepted(one.id())]);
            assert_eq!(judged.new.len(), usize::from(is_new));
            for checked in judged.new {
                pool.insert(&state, checked, Source::Caller, UNIX_EPOCH);
            }
        }
    }
}
