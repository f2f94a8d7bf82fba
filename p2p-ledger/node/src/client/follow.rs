//! Who validates now, from genesis on or from validators whom whoever made the client trusts, and what they decide on.
//!
//! Whose answers count changes with the chain. The ledger has no addresses: they come from genesis and from whoever made the
//! client, and who validates now can be asked only if it is among those, or if the endpoint finds by key.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tally_ledger::{Decided, Decision, Epoch, Height, TrustedValidators, ValidatorSet, policy_of};
use tally_log::{KeyName, Policy};
use tally_net::{Caller, EndpointId};

use super::{AskError, Asked, Client, ClientError, HEDGE};
use crate::light::{AdvanceError, LightClient};
use crate::wire::{DecidedAnswer, Head, RefusedCode};

/// How long it may take to learn who validates. Then what is known has to do.
const FOLLOWS: Duration = Duration::from_secs(5);

/// What a chain's validators decide on, and who decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governance {
    /// The block after which it is so.
    pub height: Height,
    /// Who votes on the next block, and on decisions.
    pub validators: ValidatorSet,
    /// The parameters, and the number of the next decision.
    pub decided: Decided,
}

/// Who validates, and which of a client's callers are theirs.
#[derive(Debug)]
pub(super) struct Voting {
    validators: ValidatorSet,
    /// By the order of the set, for those whose address is known.
    callers: Vec<Option<usize>>,
}

fn endpoints(validators: &ValidatorSet) -> impl Iterator<Item = EndpointId> {
    validators
        .as_slice()
        .iter()
        .map(|one| EndpointId::of_validator(&crate::simplex::key(&one.vote_key)))
}

/// How many of the validators have answered.
fn count(validators: &ValidatorSet, answered: &BTreeSet<EndpointId>) -> usize {
    endpoints(validators)
        .filter(|id| answered.contains(id))
        .count()
}

impl Voting {
    pub(super) fn new(validators: ValidatorSet, callers: &[Arc<Caller>]) -> Self {
        Self {
            callers: endpoints(&validators)
                .map(|id| callers.iter().position(|caller| caller.server() == id))
                .collect(),
            validators,
        }
    }

    /// `f + 1`: one of so many is honest.
    pub(super) fn needed(&self) -> usize {
        self.validators.tolerated() + 1
    }

    /// Whose signatures on a checkpoint of the log are enough.
    pub(super) fn log_policy(&self, origin: &KeyName) -> Policy {
        policy_of(origin, &self.validators)
    }

    /// The places of their callers.
    pub(super) fn callers(&self) -> impl Iterator<Item = usize> {
        self.callers.iter().copied().flatten()
    }

    /// The names and keys of those whose address is not known.
    fn missing(&self) -> String {
        let missing: Vec<String> = self
            .validators
            .as_slice()
            .iter()
            .zip(&self.callers)
            .filter(|(_, caller)| caller.is_none())
            .map(|(one, _)| format!("{} ({})", one.name, one.vote_key))
            .collect();
        missing.join(", ")
    }

    /// Whether it is known where enough of them are.
    pub(super) fn located(&self) -> Result<(), ClientError> {
        let (found, needed) = (self.callers().count(), self.needed());
        if found >= needed {
            return Ok(());
        }
        Err(ClientError::NotLocated {
            found,
            needed,
            missing: self.missing(),
        })
    }

    /// Why too few answered, and who could not be asked.
    pub(super) fn with_missing(&self, sentence: String) -> String {
        match self.missing() {
            missing if missing.is_empty() => sentence,
            missing => format!(
                "{sentence}; it is not known where these are, name KEY@ADDRESS (--peer): {missing}"
            ),
        }
    }
}

impl Client {
    /// The same, which follows from these validators on and not from those of genesis: nothing that was before is asked for.
    /// Whoever says who they are is believed about who validates, as a genesis file is.
    ///
    /// # Errors
    ///
    /// [`ClientError::OtherChain`].
    pub fn starting_from(mut self, trusted: TrustedValidators) -> Result<Self, ClientError> {
        let expected = self.genesis.chain();
        if trusted.chain != expected {
            return Err(ClientError::OtherChain {
                expected,
                found: trusted.chain,
            });
        }
        // Those of genesis may all be gone.
        self.add(endpoints(&trusted.validators));
        let voting = Voting::new(trusted.validators.clone(), &self.callers());
        self.voting = Mutex::new(Arc::new(voting));
        self.light = tokio::sync::Mutex::new(LightClient::from_trusted(trusted));
        Ok(self)
    }

    /// Who validates, as far as is known.
    pub(super) fn known(&self) -> Arc<Voting> {
        self.voting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Who validates; the chain is asked the first time.
    pub(super) async fn voting(&self) -> Arc<Voting> {
        if !self.has_followed.load(Ordering::Acquire) {
            let mut light = self.light.lock().await;
            // Somebody else may have asked meanwhile.
            if !self.has_followed.load(Ordering::Acquire) {
                self.follow(&mut light).await;
            }
        }
        self.known()
    }

    /// Who validates by now, if others do than those with whom something failed.
    pub(super) async fn voting_after(&self, failed: &Voting) -> Option<Arc<Voting>> {
        let mut light = self.light.lock().await;
        if self.known().validators == failed.validators {
            self.follow(&mut light).await;
        }
        Some(self.known()).filter(|known| known.validators != failed.validators)
    }

    /// Those whose answers count; of a client that knows no validator's address, those whom it was made of.
    pub(super) fn counted_by(&self, voting: &Voting) -> Vec<Arc<Caller>> {
        let callers = self.callers();
        let counted: Vec<_> = voting.callers().map(|at| callers[at].clone()).collect();
        if counted.is_empty() {
            return callers;
        }
        counted
    }

    /// How many answers are needed so that one is honest, and of whom.
    pub(crate) async fn counted(&self) -> (usize, Vec<Arc<Caller>>) {
        let voting = self.voting().await;
        let counted = self.counted_by(&voting);
        (voting.needed().min(counted.len()), counted)
    }

    /// Asks everybody who validates and goes on to what is shown, until `f + 1` of those who do have answered: then the newest
    /// that an honest one has is known. Says how many of them answered.
    async fn follow(&self, light: &mut LightClient) -> usize {
        let since = light.trusted().epoch;
        let mut found = self.follow_those_called(light).await;
        // Of who came later it is known only now.
        if self.add(endpoints(&light.trusted().validators)) {
            found = self.follow_those_called(light).await;
        }
        let is_shown = found > 0 || light.trusted().epoch > since;
        if let Some(keep) = self.keep.as_ref().filter(|_| is_shown) {
            (keep.0)(light.trusted());
        }
        found
    }

    /// Follows, and wants `f + 1` of those who validate by then to have answered.
    async fn follow_to_now(&self, light: &mut LightClient) -> Result<(), ClientError> {
        let found = self.follow(light).await;
        let voting = self.known();
        voting.located()?;
        if found < voting.needed() {
            return Err(ClientError::TooFew {
                found,
                needed: voting.needed(),
                sentence: voting.with_missing("it did not answer in time".to_owned()),
            });
        }
        Ok(())
    }

    /// Who validates now, as the newest of `f + 1` of them shows it: what another client can start from.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if too few of them answer.
    pub async fn trusted(&self) -> Result<TrustedValidators, ClientError> {
        let mut light = self.light.lock().await;
        self.follow_to_now(&mut light).await?;
        Ok(light.trusted().clone())
    }

    /// The same with those who can be asked by now.
    async fn follow_those_called(&self, light: &mut LightClient) -> usize {
        let callers = self.callers();
        let mut answered = BTreeSet::new();
        let mut asked: FuturesUnordered<_> = callers
            .iter()
            .map(|caller| head_of(caller, light.trusted().epoch))
            .collect();
        let following = async {
            while let Some((caller, since, answer)) = asked.next().await {
                let is_answer = match answer.map(|head| light.take(&head)) {
                    Ok(Ok(()) | Err(AdvanceError::Older { .. })) => true,
                    // One answer has not all the ends of epochs that there are: there may be more of them.
                    Ok(Err(_)) if light.trusted().epoch > since => {
                        asked.push(head_of(caller, light.trusted().epoch));
                        false
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(node = %caller.server(), %error, "a head is not believed");
                        false
                    }
                    Err(AskError::Refused(refused)) => refused.code == RefusedCode::NotYet,
                    Err(_) => false,
                };
                if is_answer {
                    answered.insert(caller.server());
                }
                let validators = &light.trusted().validators;
                if count(validators, &answered) > validators.tolerated() {
                    break;
                }
            }
        };
        // Whoever has not answered by then is as good as away.
        let _ = tokio::time::timeout(FOLLOWS, following).await;
        let validators = light.trusted().validators.clone();
        let found = count(&validators, &answered);
        let voting = Voting::new(validators.clone(), &callers);
        *self.voting.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(voting);
        // If too few answered, whoever asks next asks again.
        if found > validators.tolerated() {
            self.has_followed.store(true, Ordering::Release);
        }
        found
    }

    /// What validators decide on, who decides, and the number of the next decision, as the newest of `f + 1` of them has it.
    /// All of it is shown from where this client started.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if too few validators answer, or none shows it.
    pub async fn governance(&self) -> Result<Governance, ClientError> {
        let known = self.up_to_now().await?;
        if known.head().is_none() {
            // Nothing was ever decided.
            return Ok(Governance {
                height: Height::ZERO,
                validators: self.genesis.validators.clone(),
                decided: Decided {
                    parameters: self.genesis.parameters,
                    next: Decision::ZERO,
                },
            });
        }
        self.first(HEDGE, |caller| {
            let known = known.clone();
            async move { governance_of(&caller, known).await }
        })
        .await
    }

    /// What is final, as far as the newest of `f + 1` of those who validate has it. Without a head, nothing is but genesis.
    pub(super) async fn up_to_now(&self) -> Result<LightClient, ClientError> {
        let mut light = self.light.lock().await;
        self.follow_to_now(&mut light).await?;
        Ok(light.clone())
    }
}

async fn head_of(
    caller: &Arc<Caller>,
    since: Epoch,
) -> (&Arc<Caller>, Epoch, Result<Head, AskError>) {
    (caller, since, Asked(caller).head(since).await)
}

/// What one node shows to somebody who knows so much; not what was before that.
async fn governance_of(caller: &Caller, known: LightClient) -> Result<Governance, AskError> {
    let answer = Asked(caller).decided(known.trusted().epoch).await?;
    match shown(&answer, known) {
        Ok(governance) => Ok(governance),
        Err(AdvanceError::Older { .. }) => Err(AskError::Older(caller.server())),
        Err(_) => Err(AskError::BadProof(caller.server())),
    }
}

/// What an answer shows to somebody who knows so much.
fn shown(answer: &DecidedAnswer, mut known: LightClient) -> Result<Governance, AdvanceError> {
    known.take(&answer.head)?;
    let header = &answer.head.header;
    let validators = known.trusted().validators.clone();
    if header.next_validators != validators.digest() {
        return Err(AdvanceError::NotShown);
    }
    let [parameters, decisions] =
        [&answer.parameters, &answer.decisions].map(|one| (&one.record[..], &one.proof));
    let decided = Decided::shown(header.state_root, parameters, decisions);
    Ok(Governance {
        height: header.height,
        validators,
        decided: decided.ok_or(AdvanceError::NotShown)?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::pin::Pin;
    use std::sync::atomic::AtomicU64;

    use bytes::Bytes;
    use tally_ledger::{ChainId, Parameters};
    use tally_net::{Asker, Endpoint, Limits, Secret, Service};

    use super::*;
    use crate::simulation::recorded;
    use crate::wire::{self, Answer, Ask, Refused};

    /// A node that has the ends of no epochs before one.
    struct Forgetful {
        head: Head,
        from: AtomicU64,
    }

    impl Service for Forgetful {
        fn answer(
            &self,
            _asker: Asker,
            request: Bytes,
        ) -> Pin<Box<dyn Future<Output = Bytes> + Send + '_>> {
            let from = Epoch::new(self.from.load(Ordering::Relaxed));
            let answer = match wire::decode::<Ask>(request) {
                Ok(Ask::Head(since)) if since >= from => {
                    let ends = self.head.ends.iter();
                    let ends = ends.filter(|end| end.header.epoch >= since).cloned();
                    Answer::Head(Head {
                        ends: ends.collect(),
                        ..self.head.clone()
                    })
                }
                _ => Answer::No(Refused {
                    code: RefusedCode::Impossible,
                    sentence: "forgotten".to_owned(),
                }),
            };
            Box::pin(async move { wire::encode(&answer) })
        }
    }

    #[test]
    fn a_client_that_starts_from_what_it_kept_asks_for_no_epoch_before_it() {
        let recorded = recorded();
        let node = Arc::new(Forgetful {
            head: recorded.head.clone(),
            from: AtomicU64::new(1),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let config = || tally_net::Config::new(([127, 0, 0, 1], 0).into());
            let mut nodes = Vec::new();
            // The seeds of those who validate at the end.
            for number in 1..=4 {
                let secret = Secret::of_validator(&[number; 32]);
                let endpoint = Endpoint::bind(&secret, config()).await.unwrap();
                nodes.push((endpoint.id(), endpoint.sockets()));
                let limits = Limits::default();
                tokio::spawn(tally_net::serve(endpoint, None, node.clone(), limits));
            }
            let secret = Secret::derive(&[9; 32]);
            let asking = Endpoint::bind(&secret, config()).await.unwrap();
            let client = || {
                let time = Duration::from_secs(10);
                Client::of(&asking, &recorded.genesis, nodes.clone(), time).unwrap()
            };
            let mut known = TrustedValidators::of(&recorded.genesis);
            client().trusted().await.unwrap_err();

            known.follow(&recorded.head.ends[0]).unwrap();
            let kept = Arc::new(Mutex::new(Vec::new()));
            let keeps = kept.clone();
            let keeping = client()
                .starting_from(known.clone())
                .unwrap()
                .keeping(move |shown| keeps.lock().unwrap().push(shown.clone()));
            let shown = keeping.trusted().await.unwrap();
            assert_eq!(shown.epoch, Epoch::new(2));
            assert_eq!(shown.validators, recorded.head.ends[1].next);
            assert_eq!(*kept.lock().unwrap(), std::slice::from_ref(&shown));

            // Of what was before that nothing is left, and nothing is needed.
            node.from.store(2, Ordering::Relaxed);
            let before = client().starting_from(known).unwrap();
            before.trusted().await.unwrap_err();
            let read = TrustedValidators::from_bytes(&shown.to_bytes()).unwrap();
            let again = client().starting_from(read).unwrap();
            assert_eq!(again.trusted().await.unwrap(), shown);

            let other = TrustedValidators {
                chain: ChainId::from_bytes([0; 32]),
                ..shown
            };
            let refused = client().starting_from(other);
            assert!(matches!(refused, Err(ClientError::OtherChain { .. })));
            asking.close().await;
        });
    }

    #[test]
    fn who_decides_and_on_what_is_shown_from_genesis_on_and_nothing_else_is() {
        let recorded = recorded();
        let known = LightClient::from_genesis(&recorded.genesis);
        let answer = recorded.decided;
        let found = shown(&answer, known.clone()).unwrap();
        assert_eq!(found.height, answer.head.header.height);
        assert_eq!(found.validators.len(), 4);
        let decided = Decided {
            parameters: Parameters::default(),
            next: Decision::new(2),
        };
        assert_eq!(found.decided, decided);

        // Another number.
        let mut altered = answer.clone();
        let mut record = answer.decisions.record.to_vec();
        *record.last_mut().unwrap() += 1;
        altered.decisions.record = record.into();
        assert!(shown(&altered, known.clone()).is_err());
        // A record of something else.
        let mut swapped = answer.clone();
        swapped.decisions = answer.parameters.clone();
        assert!(shown(&swapped, known.clone()).is_err());
        // A header that is not final.
        let mut forged = answer.clone();
        forged.head.header.log_size += 1;
        assert!(shown(&forged, known.clone()).is_err());
        // What somebody keeps back that others have shown.
        let mut ahead = known;
        ahead.take(&answer.head).unwrap();
        let mut older = answer;
        older.head.header.height = Height::new(1);
        assert!(matches!(
            shown(&older, ahead),
            Err(AdvanceError::Older { .. })
        ));
    }

    #[test]
    fn only_those_of_now_count_each_once_and_who_is_nowhere_is_named() {
        let recorded = recorded();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let config = tally_net::Config::new(([127, 0, 0, 1], 0).into());
            let secret = Secret::derive(&[9; 32]);
            let endpoint = Endpoint::bind(&secret, config).await.unwrap();
            let last = &recorded.head.ends[1].next;
            let ids: Vec<EndpointId> = endpoints(last).collect();
            let stranger = Secret::derive(&[8; 32]).id();
            let address = |port: u16| vec![SocketAddr::from(([127, 0, 0, 1], port))];
            // One is named twice, and somebody does not validate.
            let nodes = vec![
                (stranger, address(1)),
                (ids[2], address(2)),
                (ids[2], address(3)),
            ];
            let time = Duration::from_secs(1);
            let client = Client::of(&endpoint, &recorded.genesis, nodes, time).unwrap();
            assert_eq!(client.callers().len(), 2);

            let voting = Voting::new(last.clone(), &client.callers());
            assert_eq!(voting.callers().collect::<Vec<_>>(), [1]);
            assert_eq!(voting.needed(), 2);
            let error = voting.located().unwrap_err().to_string();
            let said = voting.with_missing("late".to_owned());
            for (at, one) in last.as_slice().iter().enumerate() {
                let called = format!("{} ({})", one.name, one.vote_key);
                assert_eq!(error.contains(&called), at != 2, "{error}");
                assert_eq!(said.contains(&called), at != 2, "{said}");
            }
            let answered = BTreeSet::from([stranger, ids[2]]);
            assert_eq!(count(last, &answered), 1);
            endpoint.close().await;
        });
    }
}
