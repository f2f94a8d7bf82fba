//! Which seals stand (`docs/vault.md`, Seal): by their own signature, or because a standing seal names them.
//!
//! One signature is checked for each end of an author's chain; the seals behind it stand by their hash. Frames that hold
//! the same seal with different signatures are one seal, which stands if one of the signatures is good.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroUsize;

use tally_vault_format::{MemberId, Seal, SealId};

use crate::parallel;

/// One seal as it was found, perhaps several times.
pub(crate) struct Candidate {
    pub(crate) seal: Seal,
    /// The same seal with other signatures, as found in other frames.
    pub(crate) others: Vec<Seal>,
}

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

/// What became of one author's candidates.
pub(crate) struct Judged {
    author: MemberId,
    /// With the checked form of the seal, if its signature was checked.
    standing: Vec<(u64, Link, Option<Seal>)>,
    forged: Vec<SealId>,
}

/// Judges candidates, none of which stand yet, beside the chains that do. Returns those that do not stand. The signature
/// that a candidate carries afterwards is one that was checked, if any was.
pub(crate) fn judge(
    candidates: &mut HashMap<SealId, Candidate>,
    chains: &mut BTreeMap<MemberId, Chain>,
    threads: NonZeroUsize,
) -> Vec<(SealId, Candidate)> {
    let mut by_author: BTreeMap<MemberId, Vec<(u64, SealId, &Candidate)>> = BTreeMap::new();
    for (id, candidate) in &*candidates {
        by_author.entry(candidate.seal.author).or_default().push((
            candidate.seal.counter,
            *id,
            candidate,
        ));
    }
    let authors: Vec<_> = by_author.into_iter().collect();
    let judged = parallel::map(&authors, threads, |(author, seals)| {
        judge_author(*author, seals, chains.get(author))
    });

    let mut dropped = Vec::new();
    for one in judged {
        for id in one.forged {
            dropped.extend(candidates.remove(&id).map(|candidate| (id, candidate)));
        }
        if one.standing.is_empty() {
            continue;
        }
        let chain = chains.entry(one.author).or_default();
        for (counter, link, checked) in one.standing {
            if let (Some(seal), Some(candidate)) = (checked, candidates.get_mut(&link.id)) {
                candidate.seal = seal;
            }
            chain.entry(counter).or_default().push(link);
        }
    }
    dropped
}

fn judge_author(
    author: MemberId,
    seals: &[(u64, SealId, &Candidate)],
    known: Option<&Chain>,
) -> Judged {
    let mut descending: Vec<_> = seals.iter().collect();
    descending.sort_by_key(|(counter, id, _)| std::cmp::Reverse((*counter, *id)));
    let mut judged = Judged {
        author,
        standing: Vec::new(),
        forged: Vec::new(),
    };
    // What a standing seal of the next counter names. A seal vouches only for its own author and the counter below.
    let mut vouched: HashSet<(u64, SealId)> = HashSet::new();
    for (counter, id, candidate) in descending {
        let above = known.and_then(|chain| chain.get(&counter.checked_add(1)?));
        let is_vouched = vouched.remove(&(*counter, *id))
            || above.is_some_and(|links| links.iter().any(|link| link.previous == *id));
        let checked = if is_vouched {
            None
        } else {
            let good = std::iter::once(&candidate.seal)
                .chain(&candidate.others)
                .find(|seal| seal.verify().is_ok());
            if good.is_none() {
                judged.forged.push(*id);
                continue;
            }
            good.copied()
        };
        let previous = candidate.seal.previous;
        vouched.insert((counter - 1, previous));
        judged.standing.push((
            *counter,
            Link {
                id: *id,
                previous,
                signed: checked.is_some(),
            },
            checked,
        ));
    }
    judged
}
