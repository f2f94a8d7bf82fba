//! commonware `simplex` as the [`Consensus`] of a node. Everything that names it is here.
//!
//! * Votes are Ed25519 under the chain's own namespace (`tally_ledger`), so that a certificate is what `tally_ledger` checks
//!   offline, without commonware.
//! * Each epoch has an engine, a journal and sub-channels of its own: a vote of another epoch would count as misbehaviour.
//! * Leaders rotate with every view.
//!
//! Times ([`Timing`]): a leader that is silent is given up after `leader`; one that was silent for `skip` is passed over at
//! once.
//!
//! An engine that starts again says nothing of what it said before: it assumes that the others went on. If all of them were
//! stopped at once, the view at hand is given up after `leader`, perhaps more than once. So what this validator said last is
//! said again (`again`), and the view ends as it would have.

mod again;

use std::time::Duration;

use commonware_actor::Feedback;
use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_consensus::simplex::types::{Activity, Attributable, Context};
use commonware_consensus::simplex::{
    Config, Engine, Floor, ForwardPolicy, Plan, SkipBudget, SkipPolicy, elector::RoundRobin,
    scheme::ed25519::Scheme,
};
use commonware_consensus::types::ViewDelta;
use commonware_consensus::{
    Automaton, CertifiableAutomaton, Epochable, Relay, Reporter, Viewable, types,
};
use commonware_cryptography::blake3::Digest;
use commonware_cryptography::certificate::Scheme as _;
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::sha256::Sha256;
use commonware_p2p::utils::mux::{MuxHandle, Muxer};
use commonware_p2p::{Blocker, Receiver, Recipients, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Blob as _, Error, Handle, Spawner, Storage};
use commonware_utils::channel::oneshot;
use commonware_utils::ordered::{Quorum as _, Set};
use commonware_utils::{NZDuration, NZU16, NZUsize, sys_rng};
use tally_ledger::{BlockDigest, Epoch};

use crate::Runtime;
use crate::consensus::{
    Audience, Consensus, EpochStart, Fault, FaultKind, Finalized, Mailbox, Proposed, Request, Slot,
    View,
};
use crate::store::Partitions;
use again::Said;

/// How long an engine waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// For a leader's proposal.
    pub leader: Duration,
    /// For a view to be agreed on; longer than `leader`.
    pub view: Duration,
    /// Between two attempts to give a view up.
    pub retry: Duration,
    /// A leader that was silent for so long is passed over; longer than `view` and `retry`.
    pub skip: Duration,
    /// For a peer to send a certificate that is missing.
    pub fetch: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            leader: Duration::from_millis(1000),
            view: Duration::from_millis(1500),
            retry: Duration::from_millis(1000),
            skip: Duration::from_millis(2500),
            fetch: Duration::from_millis(500),
        }
    }
}

/// Views behind the last final one that an engine remembers. Each is a file of its journal, of 8 KiB.
const RETAINED_VIEWS: u64 = 128;

/// Messages that wait inside an engine.
const MAILBOX: usize = 1024;

/// The engines of one node, and the channels they share.
pub(crate) struct Simplex<S: Sender, B> {
    partitions: Partitions,
    namespace: Vec<u8>,
    key: PrivateKey,
    timing: Timing,
    blocker: B,
    votes: MuxHandle<S>,
    certificates: MuxHandle<S>,
    missing: MuxHandle<S>,
    /// Whether an engine of this process was started before.
    has_started: bool,
}

/// The three channels of an engine: votes, certificates, requests for missing certificates.
pub(crate) struct Channels<S, R> {
    pub(crate) votes: (S, R),
    pub(crate) certificates: (S, R),
    pub(crate) missing: (S, R),
}

impl<S, B> Simplex<S, B>
where
    S: Sender<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
{
    pub(crate) fn new<E: Spawner, R: Receiver<PublicKey = PublicKey>>(
        context: &E,
        partitions: Partitions,
        namespace: Vec<u8>,
        key: PrivateKey,
        timing: Timing,
        blocker: B,
        channels: Channels<S, R>,
    ) -> Self {
        let mux = |name, (sender, receiver)| {
            let (mux, handle) = Muxer::new(context.child(name), sender, receiver);
            mux.start();
            handle
        };
        Self {
            partitions,
            namespace,
            key,
            timing,
            blocker,
            votes: mux("votes", channels.votes),
            certificates: mux("certificates", channels.certificates),
            missing: mux("missing", channels.missing),
            has_started: false,
        }
    }
}

impl<E, S, B> Consensus<E> for Simplex<S, B>
where
    E: Runtime,
    S: Sender<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
{
    async fn start(&mut self, context: E, start: EpochStart, mailbox: Mailbox) -> Handle<()> {
        let participants = Set::from_iter_dedup(start.validators);
        let scheme = Scheme::signer(&self.namespace, participants, self.key.clone())
            .expect("a node starts the engines of the epochs in which it votes");
        let is_first = !std::mem::replace(&mut self.has_started, true);
        let said = Said::new(scheme.me().map(|me| me.index()));
        let adapter = Adapter {
            mailbox,
            scheme: scheme.clone(),
            said: said.clone(),
        };
        let number = start.epoch.get();
        let config = Config {
            scheme,
            elector: RoundRobin::<Sha256>::default(),
            blocker: self.blocker.clone(),
            automaton: adapter.clone(),
            relay: adapter.clone(),
            reporter: adapter,
            // So that what a validator signs twice is seen even after its view is over.
            track_historical_votes: true,
            strategy: Sequential,
            partition: self.partitions.votes(start.epoch),
            mailbox_size: NZUsize!(MAILBOX),
            epoch: types::Epoch::new(number),
            floor: Floor::Genesis(digest(start.root)),
            replay_buffer: NZUsize!(1 << 20),
            write_buffer: NZUsize!(1 << 18),
            // A page and its checksum fill 4 KiB.
            page_cache: CacheRef::new(NZU16!(4084), NZUsize!(256)),
            leader_timeout: self.timing.leader,
            certification_timeout: self.timing.view,
            timeout_retry: self.timing.retry,
            view_retention: ViewDelta::new(RETAINED_VIEWS),
            skip: SkipPolicy::Enabled {
                timeout: self.timing.skip,
                budget: SkipBudget::Participants,
            },
            fetch_timeout: NZDuration!(self.timing.fetch),
            fetch_retry_delay: self.timing.fetch / 4,
            forward: ForwardPolicy::SilentVoters,
        };
        let registered = "an epoch's engine is started once, while its channels are there";
        let votes = self.votes.register(number).await.expect(registered);
        let certificates = self.certificates.register(number).await.expect(registered);
        let missing = self.missing.register(number).await.expect(registered);
        let durable = synced(&context, &self.partitions.votes(start.epoch)).await;
        let beside = context.child("again");
        let engine = Engine::new(context, config);
        let (stall, senders) = (
            self.timing.leader,
            (votes.0.clone(), certificates.0.clone()),
        );
        let engine = engine.start(votes, certificates, missing);
        match durable {
            // A child of the engine's context, so that it ends with it.
            Ok(()) => {
                beside.spawn(move |clock| again::say(clock, said, is_first, stall, senders));
            }
            Err(error) => {
                tracing::error!(%error, "votes of before are not durable, and not said again")
            }
        }
        engine
    }
}

/// Makes durable what is in a partition: of a process that was killed, the system may have what the disk does not.
async fn synced<E: Storage>(storage: &E, partition: &str) -> Result<(), Error> {
    let names = match storage.scan(partition).await {
        Ok(names) => names,
        Err(Error::PartitionMissing(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names {
        let (blob, _) = storage.open(partition, &name).await?;
        blob.sync().await?;
    }
    Ok(())
}

/// A vote key as commonware has it; none if it is no point of the curve, so that nobody can vote with it.
#[must_use]
pub fn vote_key(key: &tally_receipt::PublicKey) -> Option<PublicKey> {
    PublicKey::decode(Copying(&key.as_bytes()[..])).ok()
}

/// The vote key of a validator, as commonware has it.
pub(crate) fn key(key: &tally_receipt::PublicKey) -> PublicKey {
    vote_key(key).expect("the vote keys of a set of validators are points")
}

fn digest(block: BlockDigest) -> Digest {
    Digest::decode(Copying(&block.as_bytes()[..])).expect("32 bytes are a digest")
}

fn block(digest: &Digest) -> BlockDigest {
    let bytes: &[u8] = digest.as_ref();
    BlockDigest::from_bytes(*bytes.first_chunk().expect("a digest has 32 bytes"))
}

/// The engine's view of a node.
#[derive(Clone)]
struct Adapter {
    mailbox: Mailbox,
    scheme: Scheme,
    said: Said,
}

fn slot(context: Context<Digest, PublicKey>) -> Slot {
    Slot {
        epoch: Epoch::new(context.epoch().get()),
        parent: block(&context.parent.1),
    }
}

impl Automaton for Adapter {
    type Context = Context<Digest, PublicKey>;
    type Digest = Digest;

    async fn propose(&mut self, context: Self::Context) -> oneshot::Receiver<Digest> {
        let (answer, proposed) = oneshot::channel();
        self.mailbox.put(Request::Propose {
            slot: slot(context),
            // The engine may have gone on to another view, which is as good as an answer not taken.
            answer: Proposed::new(move |block| {
                let _ = answer.send(digest(block));
            }),
        });
        proposed
    }

    async fn verify(&mut self, context: Self::Context, payload: Digest) -> oneshot::Receiver<bool> {
        let (answer, verdict) = oneshot::channel();
        self.mailbox.put(Request::Verify {
            slot: slot(context),
            block: block(&payload),
            answer,
        });
        verdict
    }
}

impl CertifiableAutomaton for Adapter {}

impl Relay for Adapter {
    type Digest = Digest;
    type PublicKey = PublicKey;
    type Plan = Plan<PublicKey>;

    fn broadcast(&mut self, payload: Digest, plan: Self::Plan) -> Feedback {
        let audience = match plan {
            Plan::Propose { .. } | Plan::Prepare { .. } => Audience::All,
            Plan::Forward { recipients, .. } => match recipients {
                Recipients::All => Audience::All,
                Recipients::Some(peers) => Audience::Some(peers),
                Recipients::One(peer) => Audience::Some(vec![peer]),
            },
        };
        feedback(self.mailbox.put(Request::Broadcast {
            block: block(&payload),
            audience,
        }))
    }
}

impl Reporter for Adapter {
    type Activity = Activity<Scheme, Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        self.said.note(&activity);
        let request = match activity {
            Activity::Finalization(finalization) => Request::Finalized(Finalized {
                block: block(&finalization.proposal.payload),
                certificate: finalization.encode().to_vec(),
            }),
            // Votes are handed on before they are checked: a fault is one only once both signatures hold.
            Activity::ConflictingNotarize(both)
                if both.verify(&mut sys_rng(), &self.scheme, &Sequential) =>
            {
                self.fault(FaultKind::TwoProposals, &both)
            }
            Activity::ConflictingFinalize(both)
                if both.verify(&mut sys_rng(), &self.scheme, &Sequential) =>
            {
                self.fault(FaultKind::TwoFinal, &both)
            }
            Activity::NullifyFinalize(both)
                if both.verify(&mut sys_rng(), &self.scheme, &Sequential) =>
            {
                self.fault(FaultKind::EmptyAndFinal, &both)
            }
            _ => return Feedback::Ok,
        };
        feedback(self.mailbox.put(request))
    }
}

impl Adapter {
    fn fault(
        &self,
        kind: FaultKind,
        both: &(impl Attributable + Epochable + Viewable + commonware_codec::Encode),
    ) -> Request {
        let validator = self
            .scheme
            .participants()
            .key(both.signer())
            .expect("a signature that holds is a participant's")
            .clone();
        Request::Fault(Fault {
            validator,
            epoch: Epoch::new(both.epoch().get()),
            view: View(both.view().get()),
            kind,
            evidence: both.encode().to_vec(),
        })
    }
}

/// A node that is gone closes the way to it.
fn feedback(taken: bool) -> Feedback {
    if taken {
        Feedback::Ok
    } else {
        Feedback::Closed
    }
}
