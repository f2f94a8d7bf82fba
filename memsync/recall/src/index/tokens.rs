//! The question against documents token by token (MaxSim, as in ColBERT), in a document and around it.
//!
//! Each token of the question takes its best match in a document. How much the token counts is how far the best of all documents
//! stands out from them, in standard deviations: a token that matches everywhere, like "the", says nothing.
//!
//! ```text
//! s(q, d)  = largest cosine of q with a token of d
//! m(q, d)  = s(q, d) − mean over documents of s(q, ·)
//! w(q)     = largest m(q, ·) / standard deviation of s(q, ·)
//! tokens   = Σ w(q) · m(q, d)
//! passage  = Σ w(q) · max over offsets o of a(o) · m(q, d + o), none below 0
//! ```
//!
//! A fact drawn from a document is one more place near it.
//!
//! Source: Khattab and Zaharia, "ColBERT", 2020, section 3.3; the weights and the passage are ours.

use std::collections::HashMap;

use super::{Entry, Index};
use crate::embed::TokenVectors;
use crate::vector;

/// What a token counts that stands so many documents away: the turn before explains more than the turn after.
const AROUND: [(isize, f32); 7] = [
    (0, 1.0),
    (-1, 0.75),
    (1, 0.5),
    (-2, 0.5),
    (2, 0.25),
    (-3, 0.25),
    (3, 0.125),
];

/// What a token of a fact counts: it says what the document said, in other words.
const OF_A_FACT: f32 = 0.75;

/// Values of the two arms for each of `slots`; `facts` gives those drawn from one that hold.
pub(super) fn score<'i, F: Iterator<Item = u32>>(
    index: &'i Index,
    question: &TokenVectors,
    slots: &[u32],
    facts: impl Fn(&'i Entry) -> F,
) -> (Vec<f32>, Vec<f32>) {
    let around: Vec<Vec<(u32, f32)>> = slots
        .iter()
        .map(|slot| {
            AROUND
                .iter()
                .filter_map(|(offset, weight)| Some((index.neighbour(*slot, *offset)?, *weight)))
                .chain(
                    index
                        .entry(*slot)
                        .into_iter()
                        .flat_map(&facts)
                        .map(|fact| (fact, OF_A_FACT)),
                )
                .collect()
        })
        .collect();
    let mut rows: HashMap<u32, usize> = HashMap::new();
    let mut matches: Vec<f32> = Vec::new();
    let width = question.len();
    // Slots first, in order, so that sums do not depend on the order of the neighbours.
    for slot in slots
        .iter()
        .chain(around.iter().flatten().map(|(slot, _)| slot))
    {
        let next = rows.len();
        if let std::collections::hash_map::Entry::Vacant(vacant) = rows.entry(*slot) {
            vacant.insert(next);
            let tokens = index.entry(*slot).map(|entry| &entry.tokens);
            matches.extend(question.rows().map(|asked| best(asked, tokens)));
        }
    }
    let candidates = &matches[..slots.len() * width];
    let statistics: Vec<(f32, f32)> = (0..width)
        .map(|at| {
            let column = candidates.iter().skip(at).step_by(width).copied();
            statistics(column)
        })
        .collect();
    let above = |slot: u32, at: usize| matches[rows[&slot] * width + at] - statistics[at].0;
    let own = slots
        .iter()
        .map(|slot| {
            (0..width)
                .map(|at| statistics[at].1 * above(*slot, at))
                .sum()
        })
        .collect();
    let passages = around
        .iter()
        .map(|places| {
            (0..width)
                .map(|at| {
                    let best = places
                        .iter()
                        .map(|(slot, weight)| weight * above(*slot, at))
                        .fold(0.0, f32::max);
                    statistics[at].1 * best
                })
                .sum()
        })
        .collect();
    (own, passages)
}

/// The largest cosine of a token with those of a document; 0 when it has none.
fn best(asked: &[i8], tokens: Option<&TokenVectors>) -> f32 {
    let best = tokens
        .filter(|tokens| tokens.dimensions() == asked.len())
        .and_then(|tokens| tokens.rows().map(|row| vector::dot(asked, row)).max());
    best.unwrap_or(0) as f32 / (127.0 * 127.0)
}

/// The mean, and how many standard deviations the largest value is above it.
fn statistics(values: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    let count = values.clone().count().max(1) as f32;
    let mean = values.clone().sum::<f32>() / count;
    let variance = values
        .clone()
        .map(|value| (value - mean) * (value - mean))
        .sum::<f32>()
        / count;
    let largest = values.fold(f32::NEG_INFINITY, f32::max);
    if variance > 0.0 {
        (mean, (largest - mean) / variance.sqrt())
    } else {
        (mean, 0.0)
    }
}
