//! The sampler: which token follows, as a function that anyone can compute again.
//!
//! ```text
//! scores ─ repeat penalty ─ grammar mask ─ temperature ─ top-k ─ top-p ─ min-p ─ Gumbel-max ─► token
//!
//! seed  = BLAKE3 derive_key(SEED_CONTEXT, nonce || prompt digest || weights digest || node key)
//! x     = 8 bytes at offset 8*token of BLAKE3 keyed_hash(seed, position as u64 LE) in extended output, as u64 LE
//! u     = ((x >> 12) + 1/2) / 2^52          strictly between 0 and 1
//! token = argmax over what is left of  score/temperature - ln(-ln u)
//! ```
//!
//! Adding Gumbel noise to the scores and taking the largest draws from their softmax. The noise of a token depends on
//! the seed, the position and the token alone, not on what was drawn before: every position can be checked alone, and
//! a small change in the scores (another machine's rounding) changes the choice only where two tokens were nearly
//! tied. `docs/sampling.md` is exact enough for a second implementation; `vectors/sampling.json` are its vectors.
//!
//! Invariants:
//! - No I/O, no clock, no state between positions.
//! - All arithmetic is IEEE 754 binary64, in the order given; `ln` and `exp` are those of `libm` (a port of musl's), not
//!   the platform's.
//! - Ties go to the larger score, then to the smaller token id.
//!
//! Out of scope: where scores come from ([`crate::worker`]), what a grammar allows ([`Mask`] asks).

use serde::{Deserialize, Serialize};

use crate::request::{ClientNonce, Sampling};
use crate::weights::WeightsDigest;

/// What a receipt calls this procedure.
pub const SAMPLER_ID: &str = "tally-gumbel-v1";
/// The BLAKE3 key-derivation context of a seed.
pub const SEED_CONTEXT: &str = "tally 2026-11-20 sampler seed v1";
/// The BLAKE3 key-derivation context of a prompt's digest.
pub const PROMPT_CONTEXT: &str = "tally 2026-11-20 prompt token ids v1";

/// A token of a model's vocabulary.
pub type TokenId = u32;

/// BLAKE3 over token ids, each as `u32` little-endian, under [`PROMPT_CONTEXT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PromptDigest([u8; 32]);

impl PromptDigest {
    /// The digest of these tokens.
    #[must_use]
    pub fn of(tokens: &[TokenId]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(PROMPT_CONTEXT);
        for token in tokens {
            hasher.update(&token.to_le_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What the randomness of one generation is computed from. Not a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seed([u8; 32]);

impl Seed {
    /// Derives the seed of a generation. Neither the client nor the node can choose it: the client does not know how
    /// the model will score, and the node has one key.
    #[must_use]
    pub fn derive(
        nonce: &ClientNonce,
        prompt: &PromptDigest,
        weights: &WeightsDigest,
        node_key: &[u8; 32],
    ) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(SEED_CONTEXT);
        hasher.update(nonce.as_bytes());
        hasher.update(prompt.as_bytes());
        hasher.update(weights.as_bytes());
        hasher.update(node_key);
        Self(*hasher.finalize().as_bytes())
    }

    /// The seed with these bytes, for checking.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The numbers of [`Sampling`] that decide which token follows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: u32,
    /// 1 keeps all.
    pub top_p: f32,
    /// 0 keeps all.
    pub min_p: f32,
    /// 1 penalises nothing.
    pub repeat_penalty: f32,
    /// How many latest tokens the penalty looks at.
    pub repeat_last_n: u32,
}

impl From<&Sampling> for Rules {
    fn from(sampling: &Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            repeat_penalty: sampling.repeat_penalty,
            repeat_last_n: sampling.repeat_last_n,
        }
    }
}

/// Which tokens a grammar allows next.
pub trait Mask {
    /// Whether everything is allowed, so that nobody need ask.
    fn is_open(&self) -> bool {
        false
    }

    /// Sets `allowed[i]` to whether `tokens[i]` may follow. Called with the likeliest tokens first, any number of
    /// times for one position; the answer for a token must not depend on which others are asked with it.
    fn allow(&mut self, tokens: &[TokenId], allowed: &mut Vec<bool>);
}

/// A mask that allows every token.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmasked;

impl Mask for Unmasked {
    fn is_open(&self) -> bool {
        true
    }

    fn allow(&mut self, tokens: &[TokenId], allowed: &mut Vec<bool>) {
        allowed.clear();
        allowed.resize(tokens.len(), true);
    }
}

/// Why no token can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoToken {
    /// No score is a number.
    #[error("no score is a finite number")]
    NoScores,
    /// The mask allows none.
    #[error("the grammar allows no token")]
    AllMasked,
}

/// Everything that decides one position.
#[derive(Clone, Copy, Debug)]
pub struct Position<'a> {
    /// The model's scores, one for each token of its vocabulary.
    pub logits: &'a [f32],
    /// All tokens before this position, the prompt's and the output's.
    pub before: &'a [TokenId],
    /// Which position of the output this is, from zero.
    pub index: u64,
    /// The seed of the generation.
    pub seed: &'a Seed,
    /// The rules of the generation.
    pub rules: &'a Rules,
}

/// The token that follows.
///
/// # Errors
/// [`NoToken`].
pub fn choose(position: &Position<'_>, mask: &mut dyn Mask) -> Result<TokenId, NoToken> {
    let support = support(position, mask)?;
    Ok(support.best(position).token)
}

/// What [`check_position`] found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PositionCheck {
    /// The token that [`choose`] gives.
    pub expected: TokenId,
    /// How much larger the expected token's key is than the checked one's: 0 when they are the same, small when the
    /// scores differ by rounding, infinite when the checked token was filtered out.
    pub margin: f64,
}

/// Compares a claimed token with what the rules give at its position.
///
/// # Errors
/// [`NoToken`], as for [`choose`].
pub fn check_position(
    position: &Position<'_>,
    mask: &mut dyn Mask,
    claimed: TokenId,
) -> Result<PositionCheck, NoToken> {
    let support = support(position, mask)?;
    let best = support.best(position);
    let claimed_key = support
        .candidates
        .iter()
        .find(|candidate| candidate.token == claimed)
        .map_or(f64::NEG_INFINITY, |candidate| {
            support.key(position, candidate)
        });
    let margin = if best.token == claimed {
        0.0
    } else {
        best.key - claimed_key
    };
    Ok(PositionCheck {
        expected: best.token,
        margin,
    })
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    token: TokenId,
    score: f64,
}

impl Candidate {
    /// Larger scores first, then smaller tokens. Scores are finite, so the order is total.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        other
            .score
            .total_cmp(&self.score)
            .then(self.token.cmp(&other.token))
    }
}

/// The tokens that may be drawn.
struct Support {
    /// In [`Candidate::order`] when a rule needed it; in order of tokens otherwise.
    candidates: Vec<Candidate>,
    /// 0 means that the first candidate by order is taken.
    temperature: f64,
}

struct Best {
    token: TokenId,
    key: f64,
}

impl Support {
    fn key(&self, position: &Position<'_>, candidate: &Candidate) -> f64 {
        if self.temperature == 0.0 {
            return candidate.score;
        }
        let mut noise = Noise::new(position.seed, position.index);
        candidate.score / self.temperature + noise.gumbel(candidate.token)
    }

    fn best(&self, position: &Position<'_>) -> Best {
        let mut noise =
            (self.temperature != 0.0).then(|| Noise::new(position.seed, position.index));
        let mut best: Option<(f64, &Candidate)> = None;
        for candidate in &self.candidates {
            let key = match &mut noise {
                None => candidate.score,
                Some(noise) => candidate.score / self.temperature + noise.gumbel(candidate.token),
            };
            let better = best.is_none_or(|(best_key, best)| {
                key.total_cmp(&best_key).then_with(|| best.order(candidate))
                    == std::cmp::Ordering::Greater
            });
            if better {
                best = Some((key, candidate));
            }
        }
        let (key, candidate) = best.expect("a support is never empty");
        Best {
            token: candidate.token,
            key,
        }
    }
}

fn support(position: &Position<'_>, mask: &mut dyn Mask) -> Result<Support, NoToken> {
    let rules = position.rules;
    if rules.temperature == 0.0 && mask.is_open() && !penalises(rules) {
        // The commonest case needs one look at each score and no copy of them.
        return likeliest(position.logits);
    }
    // Adding 0 turns -0 into 0, so that equal scores are equal bits.
    let mut candidates: Vec<Candidate> = position
        .logits
        .iter()
        .zip(0..)
        .filter(|(logit, _)| logit.is_finite())
        .map(|(logit, token)| Candidate {
            token,
            score: f64::from(*logit) + 0.0,
        })
        .collect();
    if candidates.is_empty() {
        return Err(NoToken::NoScores);
    }
    penalise(&mut candidates, position);

    let temperature = f64::from(rules.temperature);
    // How many of the likeliest tokens can matter; the mask is asked about no more than it must.
    let wanted = if temperature == 0.0 {
        1
    } else if rules.top_k > 0 {
        rules.top_k as usize
    } else {
        usize::MAX
    };
    let mut candidates = keep_allowed(candidates, wanted, mask)?;
    if temperature != 0.0 {
        keep_top_p(&mut candidates, temperature, f64::from(rules.top_p));
        keep_min_p(&mut candidates, temperature, f64::from(rules.min_p));
    }
    Ok(Support {
        candidates,
        temperature,
    })
}

fn likeliest(logits: &[f32]) -> Result<Support, NoToken> {
    let mut best: Option<(f32, TokenId)> = None;
    for (logit, token) in logits.iter().zip(0..) {
        // A later token wins only by more, so that ties go to the smaller id.
        if logit.is_finite() && best.is_none_or(|(most, _)| *logit > most) {
            best = Some((*logit, token));
        }
    }
    let (logit, token) = best.ok_or(NoToken::NoScores)?;
    let score = f64::from(logit) + 0.0;
    Ok(Support {
        candidates: vec![Candidate { token, score }],
        temperature: 0.0,
    })
}

fn penalises(rules: &Rules) -> bool {
    rules.repeat_penalty != 1.0 && rules.repeat_last_n > 0
}

fn penalise(candidates: &mut [Candidate], position: &Position<'_>) {
    let penalty = f64::from(position.rules.repeat_penalty);
    if !penalises(position.rules) {
        return;
    }
    let from = position
        .before
        .len()
        .saturating_sub(position.rules.repeat_last_n as usize);
    let mut recent = position.before[from..].to_vec();
    recent.sort_unstable();
    recent.dedup();
    for token in recent {
        // Candidates are still in order of tokens here.
        if let Ok(at) = candidates.binary_search_by_key(&token, |candidate| candidate.token) {
            let score = &mut candidates[at].score;
            *score = if *score > 0.0 {
                *score / penalty
            } else {
                *score * penalty
            };
        }
    }
}

/// The first `wanted` allowed candidates by order, or all allowed ones when `wanted` is not less than their number.
fn keep_allowed(
    mut candidates: Vec<Candidate>,
    wanted: usize,
    mask: &mut dyn Mask,
) -> Result<Vec<Candidate>, NoToken> {
    if mask.is_open() {
        if wanted < candidates.len() {
            if wanted == 1 {
                let best = candidates.iter().copied().min_by(Candidate::order);
                candidates = best.into_iter().collect();
            } else {
                candidates.select_nth_unstable_by(wanted - 1, Candidate::order);
                candidates.truncate(wanted);
                candidates.sort_unstable_by(Candidate::order);
            }
        }
        return Ok(candidates);
    }
    let mut kept = Vec::new();
    let mut allowed = Vec::new();
    let mut rest = &mut candidates[..];
    let mut window = if wanted == usize::MAX {
        rest.len()
    } else {
        wanted.saturating_mul(2).max(64)
    };
    while !rest.is_empty() && kept.len() < wanted {
        let take = window.min(rest.len());
        if take < rest.len() {
            rest.select_nth_unstable_by(take - 1, Candidate::order);
        }
        let (head, tail) = rest.split_at_mut(take);
        if wanted != usize::MAX {
            head.sort_unstable_by(Candidate::order);
        }
        let tokens: Vec<TokenId> = head.iter().map(|candidate| candidate.token).collect();
        mask.allow(&tokens, &mut allowed);
        kept.extend(
            head.iter()
                .zip(&allowed)
                .filter(|(_, allowed)| **allowed)
                .map(|(candidate, _)| *candidate),
        );
        rest = tail;
        window = window.saturating_mul(4);
    }
    kept.truncate(wanted);
    if kept.is_empty() {
        Err(NoToken::AllMasked)
    } else {
        Ok(kept)
    }
}

fn keep_top_p(candidates: &mut Vec<Candidate>, temperature: f64, top_p: f64) {
    if top_p >= 1.0 {
        return;
    }
    candidates.sort_unstable_by(Candidate::order);
    let first = candidates[0].score / temperature;
    let mut cumulative = Vec::with_capacity(candidates.len());
    let mut sum = 0.0;
    for candidate in &*candidates {
        sum += libm::exp(candidate.score / temperature - first);
        cumulative.push(sum);
    }
    let enough = cumulative
        .iter()
        .position(|so_far| *so_far >= top_p * sum)
        .unwrap_or(candidates.len() - 1);
    candidates.truncate(enough + 1);
}

fn keep_min_p(candidates: &mut Vec<Candidate>, temperature: f64, min_p: f64) {
    if min_p <= 0.0 {
        return;
    }
    let best = candidates
        .iter()
        .map(|candidate| candidate.score)
        .fold(f64::NEG_INFINITY, f64::max)
        / temperature;
    let least = libm::log(min_p);
    candidates.retain(|candidate| candidate.score / temperature - best >= least);
}

/// The noise of one position.
struct Noise {
    stream: blake3::OutputReader,
    /// Eight tokens share a block of the stream.
    block: [u8; 64],
    block_index: u64,
}

impl Noise {
    fn new(seed: &Seed, index: u64) -> Self {
        let stream = blake3::Hasher::new_keyed(seed.as_bytes())
            .update(&index.to_le_bytes())
            .finalize_xof();
        Self {
            stream,
            block: [0; 64],
            block_index: u64::MAX,
        }
    }

    /// Strictly between 0 and 1.
    fn uniform(&mut self, token: TokenId) -> f64 {
        let at = u64::from(token) * 8;
        if at / 64 != self.block_index {
            self.block_index = at / 64;
            self.stream.set_position(self.block_index * 64);
            self.stream.fill(&mut self.block);
        }
        let from = (at % 64) as usize;
        let bytes = self.block[from..from + 8]
            .try_into()
            .expect("eight bytes of a block of 64");
        let x = u64::from_le_bytes(bytes);
        ((x >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }

    fn gumbel(&mut self, token: TokenId) -> f64 {
        -libm::log(-libm::log(self.uniform(token)))
    }
}

#[cfg(test)]
mod tests;
