//! Proofs of receipts for whoever looks: asked of the validators a few at a time, and none of them twice, also not at once: whoever
//! wants one that is being asked for waits for the same answer.
//!
//! What is settled stays so, and its proof with it. What is not may be in a moment.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::WeakShared;
use tally_gateway::LedgerError;
use tally_receipt::Digest;
use tokio::sync::Semaphore;

/// Receipts that the validators are asked for at once.
const AT_ONCE: usize = 8;
/// How long whoever asks for one more waits for a place before it is told to come again.
const PLACE: Duration = Duration::from_secs(2);
/// How long a receipt is not settled, once they have said so.
const NOT_YET: Duration = Duration::from_secs(1);
/// How many receipts that are not settled are known at once.
const MISSING: usize = 10_000;
/// Bytes of proofs that are kept.
const KEPT_BYTES: usize = 16 << 20;

/// A proof, and how many bytes it has.
pub(super) struct Found<P> {
    pub(super) proof: P,
    pub(super) bytes: usize,
}

/// What is said of a receipt: its proof; none if it is not settled.
type Answer<P> = Result<Option<Arc<Found<P>>>, LedgerError>;
/// An answer on its way, for all who wait for it. It is given up when the last of them goes.
type Asking<P> = Pin<Box<dyn Future<Output = Answer<P>> + Send>>;

/// Proofs by the digests of their receipts.
pub(super) struct Proofs<P> {
    at_once: Arc<Semaphore>,
    known: Arc<Mutex<Known<P>>>,
}

struct Known<P> {
    /// The one that was used last is the last.
    settled: VecDeque<(Digest, Arc<Found<P>>)>,
    bytes: usize,
    /// Since when it is known.
    missing: HashMap<Digest, Instant>,
    asking: HashMap<Digest, WeakShared<Asking<P>>>,
}

impl<P> Known<P> {
    /// The proof of a receipt, or that there is none, if it need not be asked for.
    fn get(&mut self, wanted: Digest, now: Instant) -> Option<Option<Arc<Found<P>>>> {
        if let Some(place) = self.settled.iter().position(|(one, _)| *one == wanted) {
            let kept = self.settled.remove(place)?;
            let found = Arc::clone(&kept.1);
            self.settled.push_back(kept);
            return Some(Some(found));
        }
        let since = self.missing.get(&wanted)?;
        (now.saturating_duration_since(*since) < NOT_YET).then_some(None)
    }

    /// Keeps a proof, and lets those go that were not used for longest, down to `most` bytes.
    fn keep(&mut self, of: Digest, found: &Arc<Found<P>>, most: usize) {
        self.missing.remove(&of);
        if found.bytes > most || self.settled.iter().any(|(one, _)| *one == of) {
            return;
        }
        self.bytes += found.bytes;
        self.settled.push_back((of, Arc::clone(found)));
        while self.bytes > most {
            let Some((_, oldest)) = self.settled.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes;
        }
    }

    /// Notes that a receipt is not settled.
    fn miss(&mut self, of: Digest, now: Instant) {
        if self.missing.len() >= MISSING {
            self.missing
                .retain(|_, since| now.saturating_duration_since(*since) < NOT_YET);
        }
        if self.missing.len() < MISSING {
            self.missing.insert(of, now);
        }
    }
}

/// What a panic left behind the lock is whole: nothing is changed in steps.
fn lock<P>(known: &Mutex<Known<P>>) -> MutexGuard<'_, Known<P>> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<P: Send + Sync + 'static> Proofs<P> {
    pub(super) fn new() -> Self {
        Self {
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            known: Arc::new(Mutex::new(Known {
                settled: VecDeque::new(),
                bytes: 0,
                missing: HashMap::new(),
                asking: HashMap::new(),
            })),
        }
    }

    /// The proof of a receipt: the one that is kept, what somebody else is asking for already, or what `ask` brings; none if it is not
    /// settled.
    pub(super) async fn of<A>(
        &self,
        wanted: Digest,
        ask: impl FnOnce() -> A + Send + 'static,
    ) -> Answer<P>
    where
        A: Future<Output = Result<Option<Found<P>>, LedgerError>> + Send + 'static,
    {
        let asking = {
            let mut known = lock(&self.known);
            if let Some(answer) = known.get(wanted, Instant::now()) {
                return Ok(answer);
            }
            match known.asking.get(&wanted).and_then(WeakShared::upgrade) {
                Some(asking) => asking,
                None => {
                    let asking = self.ask(wanted, ask).shared();
                    // Those for which nobody waited to the end.
                    known.asking.retain(|_, other| other.upgrade().is_some());
                    if let Some(shared) = asking.downgrade() {
                        known.asking.insert(wanted, shared);
                    }
                    asking
                }
            }
        };
        asking.await
    }

    /// Asks when there is a place, and keeps what is said.
    fn ask<A>(&self, wanted: Digest, ask: impl FnOnce() -> A + Send + 'static) -> Asking<P>
    where
        A: Future<Output = Result<Option<Found<P>>, LedgerError>> + Send + 'static,
    {
        let (at_once, known) = (Arc::clone(&self.at_once), Arc::clone(&self.known));
        Box::pin(async move {
            let found = match tokio::time::timeout(PLACE, at_once.acquire()).await {
                Ok(Ok(_place)) => ask().await,
                Ok(Err(_)) | Err(_) => Err(LedgerError::Busy),
            };
            let mut known = lock(&known);
            known.asking.remove(&wanted);
            let found = found?.map(Arc::new);
            match &found {
                Some(found) => known.keep(wanted, found, KEPT_BYTES),
                None => known.miss(wanted, Instant::now()),
            }
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn digest(number: usize) -> Digest {
        Digest::of(&number.to_be_bytes())
    }

    fn found(bytes: usize) -> Found<usize> {
        Found {
            proof: bytes,
            bytes,
        }
    }

    #[tokio::test]
    async fn the_validators_are_asked_once_for_what_is_settled() {
        let proofs = Proofs::new();
        let asked = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            let asked = Arc::clone(&asked);
            let ask = move || {
                asked.fetch_add(1, Ordering::Relaxed);
                ready(Ok(Some(found(7))))
            };
            let proof = proofs.of(digest(1), ask).await.expect("an answer");
            assert_eq!(proof.expect("it is settled").proof, 7);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn those_who_want_one_receipt_at_once_wait_for_one_answer_and_take_one_place() {
        let proofs = Arc::new(Proofs::new());
        let asked = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(Semaphore::new(0));
        let mut waiting = VecDeque::new();
        for _ in 0..2 * AT_ONCE {
            let (proofs, asked) = (Arc::clone(&proofs), Arc::clone(&asked));
            let answers = Arc::clone(&answers);
            waiting.push_back(tokio::spawn(async move {
                let ask = move || async move {
                    asked.fetch_add(1, Ordering::Relaxed);
                    answers.acquire().await.expect("nobody closes it").forget();
                    Ok(Some(found(7)))
                };
                proofs.of(digest(1), ask).await
            }));
        }
        // All have begun to wait, on this one thread.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(proofs.at_once.available_permits(), AT_ONCE - 1);
        // The first one goes away, who began to ask.
        let first = waiting.pop_front().expect("there are some");
        first.abort();
        let _ = first.await;
        answers.add_permits(1);
        for one in waiting {
            let answer = one.await.expect("it ends").expect("an answer");
            assert_eq!(answer.expect("it is settled").proof, 7);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert!(lock(&proofs.known).asking.is_empty());
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_asked_anew_and_not_kept() {
        let proofs = Proofs::new();
        for number in 0..3 {
            let given_up = proofs.of(digest(number), pending);
            assert!(given_up.now_or_never().is_none());
        }
        assert_eq!(proofs.at_once.available_permits(), AT_ONCE);
        let proof = proofs.of(digest(0), || ready(Ok(Some(found(1))))).await;
        assert!(proof.expect("an answer").is_some());
        assert!(lock(&proofs.known).asking.is_empty());
    }

    #[tokio::test]
    async fn nobody_who_answers_nothing_is_remembered_for_it() {
        let proofs: Proofs<usize> = Proofs::new();
        let error = LedgerError::Nobody("away".to_owned());
        let no = error.clone();
        let failed = proofs.of(digest(1), || ready(Err(no))).await;
        assert_eq!(failed.err(), Some(error));
        let proof = proofs.of(digest(1), || ready(Ok(Some(found(1))))).await;
        assert!(proof.expect("an answer").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_are_asked_for_at_once_and_what_is_kept_needs_no_place() {
        let proofs = Arc::new(Proofs::new());
        let kept = proofs.of(digest(0), || ready(Ok(Some(found(1))))).await;
        assert!(kept.expect("an answer").is_some());
        let mut asking = Vec::new();
        for number in 1..=AT_ONCE {
            let proofs = Arc::clone(&proofs);
            asking.push(tokio::spawn(async move {
                proofs.of(digest(number), pending).await.is_ok()
            }));
        }
        while proofs.at_once.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let never = || -> std::future::Ready<_> { unreachable!("there is no place for it") };
        let refused = proofs.of(digest(1000), never).await;
        assert_eq!(refused.err(), Some(LedgerError::Busy));
        assert!(proofs.of(digest(0), never).await.is_ok());
        // Whoever goes away leaves its place, to one who waits for it.
        let waits = {
            let proofs = Arc::clone(&proofs);
            tokio::spawn(async move {
                let ask = || ready(Ok(Some(found(1))));
                proofs.of(digest(1000), ask).await.is_ok()
            })
        };
        tokio::task::yield_now().await;
        for one in asking {
            one.abort();
            let _ = one.await;
        }
        assert!(waits.await.expect("it ends"));
    }

    #[test]
    fn what_is_not_settled_is_so_for_a_moment_and_such_are_bounded() {
        let known = Proofs::<usize>::new();
        let mut known = lock(&known.known);
        let now = Instant::now();
        known.miss(digest(1), now);
        assert!(matches!(known.get(digest(1), now), Some(None)));
        assert!(known.get(digest(1), now + NOT_YET).is_none());
        for number in 0..MISSING + 10 {
            known.miss(digest(number), now);
        }
        assert_eq!(known.missing.len(), MISSING);
        known.miss(digest(MISSING + 20), now + NOT_YET);
        assert_eq!(known.missing.len(), 1);
        // It has become settled.
        let settled = Arc::new(found(1));
        known.keep(digest(MISSING + 20), &settled, 10);
        assert!(matches!(
            known.get(digest(MISSING + 20), now),
            Some(Some(_))
        ));
        assert!(known.missing.is_empty());
    }

    #[test]
    fn proofs_are_kept_in_so_many_bytes_and_the_longest_unused_goes_first() {
        let known = Proofs::<usize>::new();
        let mut known = lock(&known.known);
        let now = Instant::now();
        for number in [1, 2, 3, 3] {
            known.keep(digest(number), &Arc::new(found(4)), 12);
        }
        assert!(known.get(digest(1), now).is_some());
        known.keep(digest(4), &Arc::new(found(4)), 12);
        let here: Vec<usize> = (1..=4)
            .filter(|&number| known.get(digest(number), now).is_some())
            .collect();
        assert_eq!((here, known.bytes), (vec![1, 3, 4], 12));
        // One that is larger than all that may be kept sends none away.
        known.keep(digest(5), &Arc::new(found(13)), 12);
        assert_eq!((known.settled.len(), known.bytes), (3, 12));
    }
}
