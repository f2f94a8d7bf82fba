//! Candidates for vector search from Qdrant: in this process (`edge`), or on a server or cluster (`server`).
//!
//! What Qdrant says is a **hint**. [`Assisted`] keeps every vector itself, in 8 bits as the exact index does, asks Qdrant which
//! are near, and computes the cosines here. So a server can leave something out, and it cannot put anything in, swap a
//! memory for another or give it a place that it does not have; and whatever it does not answer is searched exactly.
//!
//! What a server sees is on the page `docs/qdrant.md`: vectors turned by a secret rotation, under names that say nothing, and no payload.
//! Out of scope: vectors that do not fit into memory, and text search; words stay with `tally-recall`.

#[cfg(feature = "edge")]
pub mod edge;
pub mod rotation;
#[cfg(feature = "server")]
pub mod server;

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tally_recall::{ExactVectors, VectorIndex};

/// Why a source of candidates did not do what it was asked. The search goes on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CandidatesError {
    /// It cannot be reached, or did not answer in time: start it, or look at the network.
    #[error("vector server: {0}")]
    Unreachable(String),
    /// It refused: the key, the collection or the program does not fit.
    #[error("vector server refused: {0}")]
    Refused(String),
    /// The engine in this process failed: its folder may be full.
    #[error("vector engine: {0}")]
    Engine(String),
}

/// Where candidates come from. Slots are those of the [`VectorIndex`].
pub trait Candidates: Send {
    /// Adds or replaces vectors.
    ///
    /// # Errors
    /// [`CandidatesError`]; then any part of it may have been taken, and doing it again is right.
    fn put(&mut self, vectors: &[(u32, Vec<f32>)]) -> Result<(), CandidatesError>;

    /// Removes vectors. One that is not there is no error.
    ///
    /// # Errors
    /// [`CandidatesError`], as for `put`.
    fn remove(&mut self, slots: &[u32]) -> Result<(), CandidatesError>;

    /// Everything that changed has been handed over. What nobody was told to keep may go.
    ///
    /// # Errors
    /// [`CandidatesError`]; it is called again before the next search.
    fn settled(&mut self) -> Result<(), CandidatesError> {
        Ok(())
    }

    /// Slots near a vector, at most `count`, in any order. Approximate: a near one may be missing.
    ///
    /// # Errors
    /// [`CandidatesError`].
    fn nearest(&mut self, query: &[f32], count: usize) -> Result<Vec<u32>, CandidatesError>;
}

/// After a failure this many searches are exact before the source is asked again.
const REST: u32 = 32;
/// Vectors handed over at once.
const BATCH: usize = 1_024;

/// A [`VectorIndex`] that asks somebody else which vectors are near, and computes how near they are itself.
pub struct Assisted {
    exact: ExactVectors,
    held: usize,
    /// Below this many vectors a scan is as fast as asking.
    from: usize,
    source: Mutex<Source>,
}

struct Source {
    candidates: Box<dyn Candidates>,
    /// Vectors that the source does not have yet.
    unsent: Vec<(u32, Vec<f32>)>,
    /// Slots that the source may still have.
    removed: BTreeSet<u32>,
    is_settled: bool,
    rest: u32,
    failures: u64,
}

impl Assisted {
    /// An index of nothing that asks `candidates` once it holds `from` vectors.
    #[must_use]
    pub fn new(candidates: Box<dyn Candidates>, from: usize) -> Self {
        Self {
            exact: ExactVectors::new(),
            held: 0,
            from,
            source: Mutex::new(Source {
                candidates,
                unsent: Vec::new(),
                removed: BTreeSet::new(),
                is_settled: false,
                rest: 0,
                failures: 0,
            }),
        }
    }

    /// How often the source failed, and a search was exact for it.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.source().failures
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        // A panic inside the source leaves at worst vectors unsent twice, which is allowed.
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At least `count` slots that pass, if the source knows as many; `None` where a scan has to do it.
    fn hinted(&self, query: &[f32], count: usize, keep: &dyn Fn(u32) -> bool) -> Option<Vec<u32>> {
        if self.held < self.from || count == 0 {
            return None;
        }
        let mut source = self.source();
        if source.rest > 0 {
            source.rest -= 1;
            return None;
        }
        let mut wanted = count.saturating_mul(2);
        loop {
            let found = source
                .settle()
                .and_then(|()| source.candidates.nearest(query, wanted));
            let mut found = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "searching vectors without help");
                    source.failures += 1;
                    source.rest = REST;
                    return None;
                }
            };
            let all = found.len() < wanted || wanted >= self.held;
            found.sort_unstable();
            found.dedup();
            found.retain(|slot| keep(*slot) && self.exact.similarity(query, *slot).is_some());
            if found.len() >= count {
                return Some(found);
            }
            // The filter leaves few: of those a scan misses none.
            if all || wanted > count.saturating_mul(8) {
                return None;
            }
            wanted = wanted.saturating_mul(4);
        }
    }
}

impl Source {
    /// Hands over what changed.
    fn settle(&mut self) -> Result<(), CandidatesError> {
        if self.is_settled && self.removed.is_empty() && self.unsent.is_empty() {
            return Ok(());
        }
        self.is_settled = false;
        if !self.removed.is_empty() {
            let removed: Vec<u32> = self.removed.iter().copied().collect();
            self.candidates.remove(&removed)?;
            self.removed.clear();
        }
        while !self.unsent.is_empty() {
            let count = self.unsent.len().min(BATCH);
            self.candidates.put(&self.unsent[..count])?;
            self.unsent.drain(..count);
        }
        self.candidates.settled()?;
        self.is_settled = true;
        Ok(())
    }
}

impl VectorIndex for Assisted {
    fn insert(&mut self, slot: u32, vector: &[f32]) {
        let before = self.exact.holds(slot);
        self.exact.insert(slot, vector);
        // What the exact index does not hold is not held.
        if !self.exact.holds(slot) {
            return;
        }
        if !before {
            self.held += 1;
        }
        let source = self
            .source
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        source.removed.remove(&slot);
        source.unsent.push((slot, vector.to_vec()));
    }

    fn remove(&mut self, slot: u32) {
        if !self.exact.holds(slot) {
            return;
        }
        self.exact.remove(slot);
        self.held -= 1;
        let source = self
            .source
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        source.unsent.retain(|(unsent, _)| *unsent != slot);
        source.removed.insert(slot);
    }

    fn nearest(&self, query: &[f32], count: usize, keep: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let Some(slots) = self.hinted(query, count, keep) else {
            return self.exact.nearest(query, count, keep);
        };
        let mut found: Vec<(u32, f32)> = slots
            .into_iter()
            .filter_map(|slot| Some((slot, self.exact.similarity(query, slot)?)))
            .collect();
        found.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(count);
        found
    }

    fn similarities(&self, query: &[f32], slots: &[u32]) -> Vec<Option<f32>> {
        self.exact.similarities(query, slots)
    }

    fn similarity(&self, query: &[f32], slot: u32) -> Option<f32> {
        self.exact.similarity(query, slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Knows every slot it was given, and lies as it is told to.
    #[derive(Default)]
    struct Told {
        vectors: std::collections::BTreeMap<u32, Vec<f32>>,
        inject: Vec<u32>,
        withhold: BTreeSet<u32>,
        broken: Arc<AtomicBool>,
    }

    impl Told {
        fn check(&self) -> Result<(), CandidatesError> {
            if self.broken.load(Ordering::Relaxed) {
                return Err(CandidatesError::Unreachable("gone".to_owned()));
            }
            Ok(())
        }
    }

    impl Candidates for Told {
        fn put(&mut self, vectors: &[(u32, Vec<f32>)]) -> Result<(), CandidatesError> {
            self.check()?;
            self.vectors.extend(vectors.iter().cloned());
            Ok(())
        }
        fn remove(&mut self, slots: &[u32]) -> Result<(), CandidatesError> {
            self.check()?;
            self.vectors.retain(|slot, _| !slots.contains(slot));
            Ok(())
        }
        fn nearest(&mut self, query: &[f32], count: usize) -> Result<Vec<u32>, CandidatesError> {
            self.check()?;
            let along = |vector: &[f32]| query.iter().zip(vector).map(|(a, b)| a * b).sum::<f32>();
            let mut honest: Vec<u32> = self.vectors.keys().copied().collect();
            honest.retain(|slot| !self.withhold.contains(slot));
            honest.sort_by(|a, b| along(&self.vectors[b]).total_cmp(&along(&self.vectors[a])));
            Ok(self
                .inject
                .iter()
                .copied()
                .chain(honest)
                .take(count)
                .collect())
        }
    }

    /// Twelve directions of a circle.
    fn filled(told: Told) -> (Assisted, ExactVectors) {
        let (mut assisted, mut exact) = (Assisted::new(Box::new(told), 10), ExactVectors::new());
        for slot in 0..12 {
            let angle =
                f32::from(u8::try_from(slot).expect("small")) / 12.0 * std::f32::consts::TAU;
            for index in [&mut assisted as &mut dyn VectorIndex, &mut exact] {
                index.insert(slot, &[angle.cos(), angle.sin()]);
            }
        }
        (assisted, exact)
    }

    const QUERY: [f32; 2] = [1.0, 0.1];

    #[test]
    fn results_are_those_of_the_exact_index_when_the_source_knows_all() {
        let (assisted, exact) = filled(Told::default());
        assert_eq!(
            assisted.nearest(&QUERY, 5, &|_| true),
            exact.nearest(&QUERY, 5, &|_| true)
        );
        let odd = |slot: u32| slot % 2 == 1;
        assert_eq!(
            assisted.nearest(&QUERY, 3, &odd),
            exact.nearest(&QUERY, 3, &odd)
        );
        // More than pass: a scan says so.
        assert_eq!(
            assisted.nearest(&QUERY, 9, &odd),
            exact.nearest(&QUERY, 9, &odd)
        );
        assert_eq!(assisted.failures(), 0);
    }

    #[test]
    fn a_source_that_makes_things_up_gets_nothing_in() {
        let told = Told {
            inject: vec![900, 6, 6],
            ..Told::default()
        };
        let (assisted, exact) = filled(told);
        // 6 is opposite: it is considered, and placed by its own cosine.
        assert_eq!(
            assisted.nearest(&QUERY, 6, &|_| true),
            exact.nearest(&QUERY, 6, &|_| true)
        );
    }

    #[test]
    fn what_a_source_withholds_is_all_that_is_lost() {
        let told = Told {
            withhold: BTreeSet::from([0]),
            ..Told::default()
        };
        let (assisted, exact) = filled(told);
        let found = assisted.nearest(&QUERY, 4, &|_| true);
        assert_eq!(found, exact.nearest(&QUERY, 4, &|slot| slot != 0));
    }

    #[test]
    fn without_the_source_every_search_is_exact_and_nothing_is_lost_for_later() {
        let broken = Arc::new(AtomicBool::new(true));
        let (mut assisted, mut exact) = filled(Told {
            broken: broken.clone(),
            ..Told::default()
        });
        assert_eq!(
            assisted.nearest(&QUERY, 5, &|_| true),
            exact.nearest(&QUERY, 5, &|_| true)
        );
        assert_eq!(assisted.failures(), 1);
        for index in [&mut assisted as &mut dyn VectorIndex, &mut exact] {
            index.remove(1);
        }
        broken.store(false, Ordering::Relaxed);
        for _ in 0..=REST {
            assert_eq!(
                assisted.nearest(&QUERY, 5, &|_| true),
                exact.nearest(&QUERY, 5, &|_| true)
            );
        }
        assert_eq!(assisted.failures(), 1);
        assert!(assisted.source().unsent.is_empty() && assisted.source().removed.is_empty());
    }
}
