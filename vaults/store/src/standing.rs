//! Which seals stand (`docs/vault.md`, Seal): by their own signature, or because a standing seal names them.
//!
//! One signature is checked for each end of an author's chain; the seals behind it stand by their hash. Frames that hold
//! the same seal with different signatures are one seal, which stands if one of the signatures is good.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use tally_vault_format::{MemberId, Seal, SealId, Signature};

use crate::parallel;

/// The seals of one author that stand, by counter. More than one under a counter is a fork.
pub(crate) type Chain = BTreeMap<u64, Vec<Link>>;

/// A standing seal in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) id: SealId,
    pub(crate) previous: SealId,
    /// Whether its own signature was checked.
    pub(crate) signed: bool,
}

/// Puts a link where it belongs. Most counters have one, so room is made for one.
pub(crate) fn add_link(chain: &mut Chain, counter: u64, link: Link) {
    chain
        .entry(counter)
        .or_insert_with(|| Vec::with_capacity(1))
        .push(link);
}

/// What became of the seals that were found.
#[derive(Default)]
pub(crate) struct Judged<'f> {
    /// Each once, by author and counter, ascending. The signature is one that was checked, if any was.
    pub(crate) standing: Vec<(SealId, &'f Seal)>,
    pub(crate) forged: Vec<(SealId, &'f Seal)>,
}

/// Judges seals, none of which stand yet, beside the chains that do, and adds to these. A seal may be given several times.
pub(crate) fn judge<'f>(
    mut found: Vec<(SealId, &'f Seal)>,
    chains: &mut BTreeMap<MemberId, Chain>,
    threads: NonZeroUsize,
) -> Judged<'f> {
    // Stable, because what lies in a file is mostly in order, and because the first of several equal seals is kept.
    found.sort_by(|(a_id, a), (b_id, b)| {
        (a.author, a.counter, a_id).cmp(&(b.author, b.counter, b_id))
    });
    let authors: Vec<_> = found
        .chunk_by(|(_, a), (_, b)| a.author == b.author)
        .collect();
    let results = parallel::map(&authors, threads, |seals| {
        judge_author(seals, chains.get(&seals[0].1.author))
    });
    let mut judged = Judged::default();
    for (standing, forged) in results {
        judged.forged.extend(forged);
        let Some((_, first)) = standing.first() else {
            continue;
        };
        let chain = chains.entry(first.author).or_default();
        for (link, seal) in standing.into_iter().rev() {
            add_link(chain, seal.counter, link);
            judged.standing.push((link.id, seal));
        }
    }
    judged
}

/// The seals of one author: those that stand, from the newest down, and those that do not.
type Verdict<'f> = (Vec<(Link, &'f Seal)>, Vec<(SealId, &'f Seal)>);

/// `seals` ascend by counter and id.
fn judge_author<'f>(seals: &[(SealId, &'f Seal)], known: Option<&Chain>) -> Verdict<'f> {
    let (mut standing, mut forged) = (Vec::with_capacity(seals.len()), Vec::new());
    // What standing seals name: under the counter that is being judged, and under the one below it. A seal vouches only for
    // its own author and the counter below.
    let mut counter = None;
    let (mut vouched, mut below) = (Vec::new(), Vec::new());
    for same in seals.chunk_by(|(a, _), (b, _)| a == b).rev() {
        let (id, seal) = same[0];
        let next = seal.counter.checked_add(1);
        if counter != Some(seal.counter) {
            std::mem::swap(&mut vouched, &mut below);
            below.clear();
            if next != counter {
                vouched.clear();
            }
            counter = Some(seal.counter);
        }
        let above = known.and_then(|chain| chain.get(&next?));
        let is_vouched = vouched.contains(&id)
            || above.is_some_and(|links| links.iter().any(|link| link.previous == id));
        let good = if is_vouched { Some(seal) } else { signed(same) };
        let Some(seal) = good else {
            forged.push((id, seal));
            continue;
        };
        below.push(seal.previous);
        let link = Link {
            id,
            previous: seal.previous,
            signed: !is_vouched,
        };
        standing.push((link, seal));
    }
    (standing, forged)
}

/// Of the same seal, found several times, one whose signature is good.
fn signed<'f>(same: &[(SealId, &'f Seal)]) -> Option<&'f Seal> {
    let mut tried: Vec<Signature> = Vec::new();
    for (_, seal) in same {
        if tried.contains(&seal.signature) {
            continue;
        }
        if seal.verify().is_ok() {
            return Some(seal);
        }
        tried.push(seal.signature);
    }
    None
}
