//! Asking a network's nodes, from outside.
//!
//! A submission counts once `f + 1` validators have it on their disks: then one of them is honest, and proposes it when it
//! leads. Nothing else that a node answers is believed: what matters comes as a proof.
//!
//! Who validates is what the chain shows, not what genesis says: `follow` goes from its validators to those of now, before
//! the first thing whose answers are counted, and again where too few count. Whoever has followed before can start from there.

mod blocks;
pub(crate) mod busy;
mod follow;
mod records;

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tally_ledger::{
    AccountId, ChainId, Entry, Epoch, Genesis, Height, NodeId, Sequence, Subject, Transaction,
    Trust, TrustedValidators, verify_proof,
};
use tally_log::{Policy, SignedCheckpoint};
use tally_net::{CallError, Caller, Endpoint, EndpointId, Peer};
use tally_receipt::{Digest, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

pub use follow::Governance;
use follow::Voting;

use crate::light::LightClient;
use crate::wire::{
    self, AccountAnswer, Answer, Ask, DecidedAnswer, Head, MESSAGE_LIMIT, NodeAnswer, Refused,
    RefusedCode, SaidAnswer, Status, Stretch, Submitted, Transactions,
};

/// Why a question to one node was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// It was not reached, or broke off.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It answered what is no answer to the question. The node is at fault.
    #[error("{0} answered something else than was asked")]
    Nonsense(EndpointId),
    /// It answered with a proof that does not hold. The node is at fault.
    #[error("{0} gave a proof that does not hold")]
    BadProof(EndpointId),
    /// It answered with a checkpoint that too few of those have signed who validate now. The node is at fault, or behind.
    #[error("{0} gave a checkpoint that not enough of those have signed who validate now")]
    BadCheckpoint(EndpointId),
    /// It has not come as far as others.
    #[error("{0} has not come as far as others")]
    Older(EndpointId),
    /// This machine's clock cannot be right.
    #[error("this machine's clock is beyond any time that can be written down")]
    Clock,
    /// It answered that it cannot.
    #[error("{0}")]
    Refused(Refused),
    /// Too much of what it was sent waits for its answer.
    #[error("{0} has yet to answer what it was sent before")]
    Behind(EndpointId),
}

impl AskError {
    /// Whether it answered that it has too much to do, so that it may help later.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Refused(refused) if refused.code == RefusedCode::Busy)
    }
}

/// One node that is asked.
pub(crate) struct Asked<'a>(&'a Caller);

impl<'a> Asked<'a> {
    pub(crate) fn new(caller: &'a Caller) -> Self {
        Self(caller)
    }

    async fn ask<T>(
        &self,
        ask: &Ask,
        right: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, AskError> {
        self.ask_bytes(wire::encode(ask), right).await
    }

    async fn ask_bytes<T>(
        &self,
        ask: Bytes,
        right: impl FnOnce(Answer) -> Option<T>,
    ) -> Result<T, AskError> {
        let answer = self.0.call(ask, MESSAGE_LIMIT).await?;
        match wire::decode(answer) {
            Ok(Answer::No(refused)) => Err(AskError::Refused(refused)),
            Ok(answer) => right(answer).ok_or(AskError::Nonsense(self.0.server())),
            Err(_) => Err(AskError::Nonsense(self.0.server())),
        }
    }

    pub(crate) async fn blocks(&self, from: Height) -> Result<Stretch, AskError> {
        self.ask(&Ask::Blocks(from), |answer| match answer {
            Answer::Blocks(stretch) => Some(stretch),
            _ => None,
        })
        .await
    }

    async fn status(&self) -> Result<Status, AskError> {
        self.ask(&Ask::Status, |answer| match answer {
            Answer::Status(status) => Some(status),
            _ => None,
        })
        .await
    }

    /// `ask` is the question with `count` transactions.
    async fn submit(&self, ask: Bytes, count: usize) -> Result<Vec<Submitted>, AskError> {
        self.ask_bytes(ask, |answer| match answer {
            Answer::Submitted(each) if each.len() == count => Some(each),
            _ => None,
        })
        .await
    }

    async fn prove(&self, receipt: Digest, wait: Duration) -> Result<Bytes, AskError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.ask(&Ask::Prove { receipt, wait_ms }, |answer| match answer {
            Answer::Proof(proof) => Some(proof),
            _ => None,
        })
        .await
    }

    async fn prove_place(
        &self,
        node: NodeId,
        sequence: Sequence,
        wait: Duration,
    ) -> Result<Bytes, AskError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let ask = Ask::ProvePlace {
            node,
            sequence,
            wait_ms,
        };
        self.ask(&ask, |answer| match answer {
            Answer::Proof(proof) => Some(proof),
            _ => None,
        })
        .await
    }

    async fn prove_cosigned(&self, receipt: Digest, wait: Duration) -> Result<Bytes, AskError> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.ask(
            &Ask::ProveCosigned { receipt, wait_ms },
            |answer| match answer {
                Answer::Proof(proof) => Some(proof),
                _ => None,
            },
        )
        .await
    }

    /// Whether it holds is not looked at.
    pub(crate) async fn checkpoint(&self) -> Result<SignedCheckpoint, AskError> {
        self.ask(&Ask::Checkpoint, |answer| match answer {
            Answer::Checkpoint(checkpoint) => SignedCheckpoint::parse(&checkpoint).ok(),
            _ => None,
        })
        .await
    }

    async fn account(&self, account: AccountId) -> Result<AccountAnswer, AskError> {
        self.ask(&Ask::Account(account), |answer| match answer {
            Answer::Account(account) => Some(account),
            _ => None,
        })
        .await
    }

    async fn head(&self, since: Epoch) -> Result<Head, AskError> {
        self.ask(&Ask::Head(since), |answer| match answer {
            Answer::Head(head) => Some(head),
            _ => None,
        })
        .await
    }

    async fn decided(&self, since: Epoch) -> Result<DecidedAnswer, AskError> {
        self.ask(&Ask::Decided(since), |answer| match answer {
            Answer::Decided(decided) => Some(*decided),
            _ => None,
        })
        .await
    }

    async fn said(&self, since: Epoch, subject: Subject) -> Result<SaidAnswer, AskError> {
        self.ask(&Ask::Said { since, subject }, |answer| match answer {
            Answer::Said(said) => Some(*said),
            _ => None,
        })
        .await
    }

    async fn node(&self, node: NodeId) -> Result<Option<NodeAnswer>, AskError> {
        self.ask(&Ask::Node(node), |answer| match answer {
            Answer::Node(node) => Some(node),
            _ => None,
        })
        .await
    }
}

/// How long an answer is awaited before one more node is asked the same.
const HEDGE: Duration = Duration::from_millis(150);

/// Whoever does not want to wait wants to know whether anybody has it: all are asked at once.
fn hedge(wait: Duration) -> Duration {
    HEDGE.min(wait)
}

/// Bytes of submissions to one node that wait for its answer; a node that is slower than this is left out.
const BEHIND: usize = 64 * 1024 * 1024;

/// A network's validators, as somebody outside sees them.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    /// How long an answer may take.
    time: Duration,
    /// Whoever can be asked. Nobody leaves, so that a place here stays good.
    called: Mutex<Vec<Called>>,
    /// Who answered first the last time.
    best: AtomicUsize,
    genesis: Genesis,
    /// Who validates, as far as is known.
    voting: Mutex<Arc<Voting>>,
    /// What that is known from. Whoever has it asks for more.
    light: tokio::sync::Mutex<LightClient>,
    has_followed: AtomicBool,
    /// What is told who validates whenever that was shown.
    keep: Option<Keep>,
}

struct Keep(Box<dyn Fn(&TrustedValidators) + Send + Sync>);

impl fmt::Debug for Keep {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Keep")
    }
}

/// One of those who can be asked.
#[derive(Clone, Debug)]
struct Called {
    caller: Arc<Caller>,
    /// Room for submissions to it that nobody waits for any more.
    room: Arc<Semaphore>,
}

impl Called {
    fn new(
        endpoint: &Endpoint,
        id: EndpointId,
        addresses: Vec<SocketAddr>,
        time: Duration,
    ) -> Self {
        Self {
            caller: Arc::new(Caller::new(endpoint.clone(), id, addresses, time)),
            room: Arc::new(Semaphore::new(BEHIND)),
        }
    }
}

/// Why a question to a network was not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No validator has an address, in genesis or beside it, and the endpoint finds nobody by key.
    #[error(
        "the genesis file says of no validator where it is: name KEY@ADDRESS (--peer), or search the local network (--lan)"
    )]
    NoAddress,
    /// Validators that are to be started from are another chain's. The caller is at fault.
    #[error("these validators are of the chain {found}, and what is asked is of {expected}")]
    OtherChain {
        /// The genesis'.
        expected: ChainId,
        /// Theirs.
        found: ChainId,
    },
    /// None answered; what the last one's trouble was.
    #[error("no validator answered: {0}")]
    Nobody(AskError),
    /// It is not known where those are who validate now. The caller names them.
    #[error(
        "{needed} of the validators of now must answer, and it is known of {found} where they are; for the others name KEY@ADDRESS (--peer): {missing}"
    )]
    NotLocated {
        /// Of how many it is known.
        found: usize,
        /// How many must answer.
        needed: usize,
        /// The names and keys of the others.
        missing: String,
    },
    /// Too few have it on their disks, or answer.
    #[error(
        "{found} of the {needed} validators that are needed took or answered it; one of the others said: {sentence}"
    )]
    TooFew {
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
        /// Why another one did not.
        sentence: String,
    },
    /// So many validators say that it can never be good, whatever happens, that one of them is honest. Whoever made it is at fault,
    /// unless it is of a later version, or for another chain, than theirs.
    #[error("{validators} validators refused it for good: {sentence}")]
    Refused {
        /// How many did.
        validators: usize,
        /// What one of them said.
        sentence: String,
    },
}

/// What validators have said of transactions that were handed to them.
#[derive(Debug)]
struct Verdicts {
    /// For each transaction, how many have it on their disks.
    accepted: Vec<usize>,
    /// And how many said that it can never be good.
    refused: Vec<usize>,
    /// Why one of those did.
    fault: String,
    /// Why another one did not take something.
    sentence: String,
}

impl Verdicts {
    fn new(count: usize) -> Self {
        Self {
            accepted: vec![0; count],
            refused: vec![0; count],
            fault: String::new(),
            sentence: "nothing".to_owned(),
        }
    }

    /// One validator's.
    fn take(&mut self, each: Vec<Submitted>) {
        let counts = self.accepted.iter_mut().zip(&mut self.refused);
        for ((accepted, refused), one) in counts.zip(each) {
            match one {
                Submitted::Accepted(_) => *accepted += 1,
                Submitted::Refused(Refused { code, sentence }) => {
                    // Any other reason may be another one by the next time.
                    if code == RefusedCode::Malformed {
                        *refused += 1;
                        self.fault.clone_from(&sentence);
                    }
                    self.sentence = sentence;
                }
            }
        }
    }

    /// How many have all of them; none if there are none to be had.
    fn found(&self) -> Option<usize> {
        self.accepted.iter().copied().min()
    }

    /// That one of them can never be good, if enough have said so.
    fn refused_by(&self, needed: usize) -> Option<ClientError> {
        let validators = self.refused.iter().copied().max().unwrap_or(0);
        (validators >= needed).then(|| ClientError::Refused {
            validators,
            sentence: self.fault.clone(),
        })
    }
}

/// Where a submitted transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Validators that have said so.
    pub validators: usize,
}

impl Client {
    /// Makes a client of the validators of a genesis and of `peers`, which are asked within `time`. Dials nobody yet. Those without
    /// an address are asked if the endpoint finds by key, and so are validators that came later.
    pub fn new(
        endpoint: &Endpoint,
        genesis: &Genesis,
        peers: Vec<Peer>,
        time: Duration,
    ) -> Result<Self, ClientError> {
        let mut all = crate::daemon::genesis_peers(genesis);
        all.extend(peers);
        let nodes = all
            .into_iter()
            .map(|peer| (EndpointId::of_validator(&peer.key), peer.addresses))
            .collect();
        Self::of(endpoint, genesis, nodes, time)
    }

    /// Makes a client of any nodes of a genesis' chain, such as followers.
    pub fn of(
        endpoint: &Endpoint,
        genesis: &Genesis,
        nodes: Vec<(EndpointId, Vec<SocketAddr>)>,
        time: Duration,
    ) -> Result<Self, ClientError> {
        // Whoever is named twice is one caller, and answers once.
        let mut located: Vec<(EndpointId, Vec<SocketAddr>)> = Vec::new();
        for (id, addresses) in nodes {
            match located.iter_mut().find(|(known, _)| *known == id) {
                Some((_, all)) => all.extend(addresses),
                None => located.push((id, addresses)),
            }
        }
        let called: Vec<_> = located
            .into_iter()
            .filter(|(_, addresses)| endpoint.finds_by_key() || !addresses.is_empty())
            .map(|(id, addresses)| Called::new(endpoint, id, addresses, time))
            .collect();
        if called.is_empty() {
            return Err(ClientError::NoAddress);
        }
        let callers: Vec<_> = called.iter().map(|one| one.caller.clone()).collect();
        let voting = Voting::new(genesis.validators.clone(), &callers);
        Ok(Self {
            endpoint: endpoint.clone(),
            time,
            called: Mutex::new(called),
            best: AtomicUsize::new(0),
            genesis: genesis.clone(),
            voting: Mutex::new(Arc::new(voting)),
            light: tokio::sync::Mutex::new(LightClient::from_genesis(genesis)),
            has_followed: AtomicBool::new(false),
            keep: None,
        })
    }

    /// The same, which tells `keep` who validates whenever that was shown: what another client can start from
    /// ([`starting_from`](Self::starting_from)).
    #[must_use]
    pub fn keeping(self, keep: impl Fn(&TrustedValidators) + Send + Sync + 'static) -> Self {
        Self {
            keep: Some(Keep(Box::new(keep))),
            ..self
        }
    }

    /// Whoever can be asked now, each at its place.
    fn called(&self) -> Vec<Called> {
        self.called
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn callers(&self) -> Vec<Arc<Caller>> {
        self.called().into_iter().map(|one| one.caller).collect()
    }

    /// Has those asked, too, of whom only the key is known, if the endpoint finds by key. Whether there are any new ones.
    fn add(&self, ids: impl Iterator<Item = EndpointId>) -> bool {
        if !self.endpoint.finds_by_key() {
            return false;
        }
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        let before = called.len();
        for id in ids {
            if called.iter().all(|one| one.caller.server() != id) {
                called.push(Called::new(&self.endpoint, id, Vec::new(), self.time));
            }
        }
        called.len() > before
    }

    /// How many validators must have a transaction before it counts as handed over, as far as is known who validates.
    #[must_use]
    pub fn needed(&self) -> usize {
        self.known().needed()
    }

    /// Hands transactions to all validators at once, and returns when enough have each of them on their disks. The others
    /// get them all the same, as long as the runtime lives: whoever leads next may be one of them. Where too few take them,
    /// it may be that others validate by now, who then get them.
    pub async fn submit(&self, transactions: &[Transaction]) -> Result<Acknowledged, ClientError> {
        // Written once, for all of them.
        let ask = wire::encode(&Ask::Submit(Transactions(
            transactions
                .iter()
                .map(|one| Bytes::from(one.to_bytes()))
                .collect(),
        )));
        let count = transactions.len();
        let voting = self.voting().await;
        match self.submit_to(&voting, ask.clone(), count).await {
            Err(error) => match self.voting_after(&voting).await {
                Some(voting) => self.submit_to(&voting, ask, count).await,
                None => Err(error),
            },
            taken => taken,
        }
    }

    async fn submit_to(
        &self,
        voting: &Voting,
        ask: Bytes,
        count: usize,
    ) -> Result<Acknowledged, ClientError> {
        let needed = voting.needed();
        voting.located()?;
        let mut answers = JoinSet::new();
        let called = self.called();
        for at in voting.callers() {
            let Called { caller, room } = called[at].clone();
            let ask = ask.clone();
            answers.spawn(async move {
                let bytes = u32::try_from(ask.len()).unwrap_or(u32::MAX);
                let _turn = room
                    .try_acquire_many(bytes)
                    .map_err(|_| AskError::Behind(caller.server()))?;
                Asked(&caller).submit(ask, count).await
            });
        }
        let mut verdicts = Verdicts::new(count);
        while let Some(answer) = answers.join_next().await {
            match answer.expect("a submission is not stopped, and does not panic") {
                Ok(each) => verdicts.take(each),
                Err(error) => verdicts.sentence = error.to_string(),
            }
            let found = verdicts.found().unwrap_or(needed);
            if found >= needed {
                answers.detach_all();
                return Ok(Acknowledged { validators: found });
            }
            if let Some(refused) = verdicts.refused_by(needed) {
                return Err(refused);
            }
        }
        Err(ClientError::TooFew {
            found: verdicts.found().unwrap_or(0),
            needed,
            sentence: voting.with_missing(verdicts.sentence),
        })
    }

    /// What everybody says of itself who can be asked, also who does not validate any more; or its trouble.
    pub async fn statuses(&self) -> Vec<(EndpointId, Result<Status, AskError>)> {
        if self.endpoint.finds_by_key() {
            // Also of those who came later, whom only the chain names.
            self.voting().await;
        }
        statuses(self.callers()).await
    }

    /// What everybody who answers says of a node.
    pub async fn statuses_of(&self, node: NodeId) -> Vec<Option<NodeAnswer>> {
        let answers = self
            .callers()
            .into_iter()
            .map(|caller| async move { Asked(&caller).node(node).await });
        futures::future::join_all(answers)
            .await
            .into_iter()
            .filter_map(Result::ok)
            .collect()
    }

    /// The proof that a receipt is settled, from whoever has it first, checked from genesis on.
    pub async fn prove(&self, receipt: Digest, wait: Duration) -> Result<Bytes, ClientError> {
        let begun = Instant::now();
        self.first(hedge(wait), |caller| async move {
            let wait = wait.saturating_sub(begun.elapsed());
            let proof = Asked(&caller).prove(receipt, wait).await?;
            self.checked(&proof, &caller, |entry| entry.receipt == receipt)?;
            Ok(proof)
        })
        .await
    }

    /// What a node settled at one of its places, from whoever has it first; the proof of it was checked from genesis on.
    pub async fn settled_at(
        &self,
        node: NodeId,
        sequence: Sequence,
        wait: Duration,
    ) -> Result<Entry, ClientError> {
        let begun = Instant::now();
        self.first(hedge(wait), |caller| async move {
            let wait = wait.saturating_sub(begun.elapsed());
            let proof = Asked(&caller).prove_place(node, sequence, wait).await?;
            self.checked(&proof, &caller, |entry| {
                entry.node == node && entry.sequence == sequence
            })
        })
        .await
    }

    /// The same by a checkpoint that a quorum of those who validate now has cosigned: a `.tlog-proof`.
    pub async fn prove_cosigned(
        &self,
        receipt: Digest,
        wait: Duration,
    ) -> Result<Bytes, ClientError> {
        let begun = Instant::now();
        let voting = self.voting().await;
        match self.cosigned_by(&voting, receipt, begun, wait).await {
            Err(error) => match self.voting_after(&voting).await {
                Some(voting) => self.cosigned_by(&voting, receipt, begun, wait).await,
                None => Err(error),
            },
            proven => proven,
        }
    }

    async fn cosigned_by(
        &self,
        voting: &Voting,
        receipt: Digest,
        begun: Instant,
        wait: Duration,
    ) -> Result<Bytes, ClientError> {
        let policy = &voting.log_policy(&self.genesis.log_origin());
        self.first(hedge(wait), |caller| async move {
            let wait = wait.saturating_sub(begun.elapsed());
            let proof = Asked(&caller).prove_cosigned(receipt, wait).await?;
            self.shown(&proof, Some(policy), &caller, |entry| {
                entry.receipt == receipt
            })?;
            Ok(proof)
        })
        .await
    }

    /// The last checkpoint of the log that a quorum of those who validate now has cosigned: the largest that `f + 1` of them have,
    /// or as many as answer. One of them is honest, so it is no old one, unless that one is behind.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if nobody has one.
    pub async fn last_checkpoint(&self) -> Result<SignedCheckpoint, ClientError> {
        let voting = self.voting().await;
        match self.last_checkpoint_of(&voting).await {
            Err(error) => match self.voting_after(&voting).await {
                Some(voting) => self.last_checkpoint_of(&voting).await,
                None => Err(error),
            },
            found => found,
        }
    }

    async fn last_checkpoint_of(&self, voting: &Voting) -> Result<SignedCheckpoint, ClientError> {
        let policy = voting.log_policy(&self.genesis.log_origin());
        let mut answers: FuturesUnordered<_> = self
            .counted_by(voting)
            .into_iter()
            .map(|caller| async move { (caller.server(), Asked(&caller).checkpoint().await) })
            .collect();
        let (mut found, mut trouble) = (Vec::new(), None);
        while let Some((server, answer)) = answers.next().await {
            match answer {
                Ok(checkpoint) if policy.judge(&checkpoint).is_valid() => {
                    found.push(checkpoint);
                    if found.len() == voting.needed() {
                        break;
                    }
                }
                Ok(_) => trouble = Some(AskError::BadCheckpoint(server)),
                Err(error) => trouble = Some(error),
            }
        }
        let largest = found
            .into_iter()
            .max_by_key(|one: &SignedCheckpoint| one.checkpoint().size);
        largest.ok_or_else(|| {
            ClientError::Nobody(
                trouble.expect("at least one is asked, and has one or is in trouble"),
            )
        })
    }

    /// The entry that a proof by finality shows, if it holds from genesis on and the entry is what was asked for.
    fn checked(
        &self,
        proof: &[u8],
        caller: &Caller,
        is_wanted: impl FnOnce(&Entry) -> bool,
    ) -> Result<Entry, AskError> {
        self.shown(proof, None, caller, is_wanted)
    }

    /// The same of a proof of either kind; checkpoints are judged by a policy if there is one.
    fn shown(
        &self,
        proof: &[u8],
        policy: Option<&Policy>,
        caller: &Caller,
        is_wanted: impl FnOnce(&Entry) -> bool,
    ) -> Result<Entry, AskError> {
        // By this program's clock; a proof from the future is none.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let trust = Trust {
            now: Timestamp::from_unix_ms(ms).map_err(|_| AskError::Clock)?,
            genesis: Some(&self.genesis),
            policy,
        };
        let shown = verify_proof(proof, None, &trust);
        shown
            .entry
            .filter(|entry| shown.verdict.is_verified() && is_wanted(entry))
            .ok_or(AskError::BadProof(caller.server()))
    }

    /// What every node says to be the last final header, with what shows it to whoever knows who voted in an epoch.
    pub(crate) async fn heads(&self, since: Epoch) -> Vec<Result<Head, AskError>> {
        let heads = self
            .callers()
            .into_iter()
            .map(|caller| async move { Asked(&caller).head(since).await });
        futures::future::join_all(heads).await
    }

    /// What one validator says of an account.
    pub async fn account(&self, account: AccountId) -> Result<AccountAnswer, ClientError> {
        self.first(HEDGE, |caller| async move {
            Asked(&caller).account(account).await
        })
        .await
    }

    /// What the newest of `f + 1` validators says of a node: one of them is honest, and one that is behind is outdone.
    pub async fn node(&self, node: NodeId) -> Result<Option<NodeAnswer>, ClientError> {
        let answers = self.answers(node).await?;
        Ok(answers.into_iter().flatten().max_by_key(|one| one.height))
    }

    /// How many receipts a node has settled: of what `f + 1` validators say, the most that is shown. None if the node is not known.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if too few answer, or nobody shows what any of them says.
    pub async fn settled_by(&self, node: NodeId) -> Result<Option<u64>, ClientError> {
        let answers = self.answers(node).await?;
        let is_unknown_to_some = answers.contains(&None);
        let mut said: Vec<u64> = answers
            .into_iter()
            .flatten()
            .map(|one| one.settled)
            .collect();
        said.sort_unstable();
        said.dedup();
        let mut trouble = None;
        for settled in said.into_iter().rev() {
            let Some(last) = settled.checked_sub(1) else {
                return Ok(Some(0));
            };
            match self
                .settled_at(node, Sequence::new(last), Duration::ZERO)
                .await
            {
                Ok(_) => return Ok(Some(settled)),
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            Some(error) if !is_unknown_to_some => Err(error),
            _ => Ok(None),
        }
    }

    /// What `f + 1` of those who validate by now say of a node.
    async fn answers(&self, node: NodeId) -> Result<Vec<Option<NodeAnswer>>, ClientError> {
        let voting = self.voting().await;
        match self.answers_of(&voting, node).await {
            Err(error) => match self.voting_after(&voting).await {
                Some(voting) => self.answers_of(&voting, node).await,
                None => Err(error),
            },
            found => found,
        }
    }

    /// What `f + 1` validators, one of which is honest, say of a node.
    async fn answers_of(
        &self,
        voting: &Voting,
        node: NodeId,
    ) -> Result<Vec<Option<NodeAnswer>>, ClientError> {
        let needed = voting.needed();
        let mut answers: FuturesUnordered<_> = self
            .counted_by(voting)
            .into_iter()
            .map(|caller| async move { Asked(&caller).node(node).await })
            .collect();
        let (mut found, mut trouble) = (Vec::new(), None);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => {
                    found.push(answer);
                    if found.len() == needed {
                        return Ok(found);
                    }
                }
                Err(error) => trouble = Some(error),
            }
        }
        match trouble {
            // Fewer were asked than are needed, all of which answered.
            None => Ok(found),
            Some(trouble) if found.is_empty() => Err(ClientError::Nobody(trouble)),
            Some(trouble) => Err(ClientError::TooFew {
                found: found.len(),
                needed,
                sentence: voting.with_missing(trouble.to_string()),
            }),
        }
    }

    /// The first good answer; if there is none, the last one's trouble. Whoever answered best the last time is asked first,
    /// and one more whenever there was no answer for as long as `hedge` says, or a bad one: four answers to a question of
    /// which one is taken cost four times the work.
    async fn first<T, F>(
        &self,
        hedge: Duration,
        ask: impl Fn(Arc<Caller>) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, AskError>>,
    {
        let best = self.best.load(Ordering::Relaxed);
        let callers = self.callers();
        let number = callers.len();
        let mut left = (0..number).map(|turn| (best + turn) % number);
        let mut answers = FuturesUnordered::new();
        let mut trouble = None;
        loop {
            if let Some(at) = left.next() {
                let asked = ask(callers[at].clone());
                answers.push(async move { (at, asked.await) });
            }
            let answer = match tokio::time::timeout(hedge, answers.next()).await {
                Ok(answer) => answer,
                Err(_) if left.len() > 0 => continue,
                Err(_) => answers.next().await,
            };
            match answer {
                Some((at, Ok(answer))) => {
                    self.best.store(at, Ordering::Relaxed);
                    return Ok(answer);
                }
                // What a node refuses says more than that another one is not there.
                Some((_, Err(error @ AskError::Refused(_)))) => trouble = Some(error),
                Some((_, Err(error))) => {
                    trouble.get_or_insert(error);
                }
                None => {
                    let trouble = trouble.expect("there is at least one caller");
                    return Err(ClientError::Nobody(trouble));
                }
            }
        }
    }
}

/// What each of them says of itself; or its trouble.
pub(crate) async fn statuses(
    callers: Vec<Arc<Caller>>,
) -> Vec<(EndpointId, Result<Status, AskError>)> {
    futures::future::join_all(
        callers
            .into_iter()
            .map(|caller| async move { (caller.server(), Asked(&caller).status().await) }),
    )
    .await
}

#[cfg(test)]
mod tests {
    use tally_ledger::TransactionId;

    use super::*;

    fn no(code: RefusedCode) -> Submitted {
        Submitted::Refused(Refused {
            code,
            sentence: format!("{code:?}"),
        })
    }

    #[test]
    fn a_transaction_is_refused_for_good_only_if_enough_say_that_it_can_never_be_good() {
        let yes = || Submitted::Accepted(TransactionId::from_bytes([1; 32]));
        let mut verdicts = Verdicts::new(2);
        for said in [
            RefusedCode::Unknown,
            RefusedCode::NotYet,
            RefusedCode::Busy,
            RefusedCode::Broken,
            RefusedCode::Impossible,
            RefusedCode::Malformed,
        ] {
            verdicts.take(vec![yes(), no(said)]);
        }
        assert!(verdicts.refused_by(2).is_none(), "one of them may lie");
        // Of another transaction, it is one more's word.
        verdicts.take(vec![no(RefusedCode::Malformed), yes()]);
        assert!(verdicts.refused_by(2).is_none());
        verdicts.take(vec![yes(), no(RefusedCode::Malformed)]);
        let refused = verdicts.refused_by(2).expect("two have said so");
        let ClientError::Refused {
            validators,
            sentence,
        } = refused
        else {
            panic!("{refused}");
        };
        assert_eq!((validators, sentence.as_str()), (2, "Malformed"));
        assert_eq!(verdicts.found(), Some(1));
    }
}
