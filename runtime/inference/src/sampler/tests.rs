//! The sampler against its specification: a naive reference, the softmax it draws from, and vectors.

use proptest::prelude::*;

use super::*;

const SEED: Seed = Seed::from_bytes([9; 32]);

fn rules(temperature: f32) -> Rules {
    Rules {
        temperature,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repeat_penalty: 1.0,
        repeat_last_n: 0,
    }
}

fn at<'a>(logits: &'a [f32], rules: &'a Rules, index: u64) -> Position<'a> {
    Position {
        logits,
        before: &[],
        index,
        seed: &SEED,
        rules,
    }
}

/// Allows the listed tokens, and remembers how many it was asked about.
struct Only<'a> {
    tokens: &'a [TokenId],
    asked: usize,
}

impl Mask for Only<'_> {
    fn allow(&mut self, tokens: &[TokenId], allowed: &mut Vec<bool>) {
        self.asked += tokens.len();
        allowed.clear();
        allowed.extend(tokens.iter().map(|token| self.tokens.contains(token)));
    }
}

/// `docs/sampling.md` word for word, without a thought for speed.
fn reference(position: &Position<'_>, allowed: Option<&[TokenId]>) -> Result<TokenId, NoToken> {
    let rules = position.rules;
    let mut left: Vec<(TokenId, f64)> = Vec::new();
    for (token, logit) in position.logits.iter().enumerate() {
        if logit.is_finite() {
            left.push((token as TokenId, f64::from(*logit) + 0.0));
        }
    }
    if left.is_empty() {
        return Err(NoToken::NoScores);
    }
    let recent: Vec<TokenId> = position
        .before
        .iter()
        .rev()
        .take(rules.repeat_last_n as usize)
        .copied()
        .collect();
    let penalty = f64::from(rules.repeat_penalty);
    if penalty != 1.0 {
        for (token, score) in &mut left {
            if recent.contains(token) {
                *score = if *score > 0.0 {
                    *score / penalty
                } else {
                    *score * penalty
                };
            }
        }
    }
    if let Some(allowed) = allowed {
        left.retain(|(token, _)| allowed.contains(token));
    }
    if left.is_empty() {
        return Err(NoToken::AllMasked);
    }
    left.sort_by(|(a, x), (b, y)| y.partial_cmp(x).expect("scores are finite").then(a.cmp(b)));
    let temperature = f64::from(rules.temperature);
    if temperature == 0.0 {
        return Ok(left[0].0);
    }
    if rules.top_k > 0 {
        left.truncate(rules.top_k as usize);
    }
    let best = left[0].1 / temperature;
    if rules.top_p < 1.0 {
        let weights: Vec<f64> = left
            .iter()
            .map(|(_, score)| libm::exp(score / temperature - best))
            .collect();
        let total: f64 = weights.iter().fold(0.0, |sum, weight| sum + weight);
        let mut sum = 0.0;
        let mut keep = left.len();
        for (index, weight) in weights.iter().enumerate() {
            sum += weight;
            if sum >= f64::from(rules.top_p) * total {
                keep = index + 1;
                break;
            }
        }
        left.truncate(keep);
    }
    if rules.min_p > 0.0 {
        left.retain(|(_, score)| score / temperature - best >= libm::log(f64::from(rules.min_p)));
    }
    let mut chosen = (f64::NEG_INFINITY, 0);
    for (token, score) in left {
        let mut hasher = blake3::Hasher::new_keyed(position.seed.as_bytes());
        hasher.update(&position.index.to_le_bytes());
        let mut stream = hasher.finalize_xof();
        stream.set_position(u64::from(token) * 8);
        let mut bytes = [0; 8];
        stream.fill(&mut bytes);
        let u = ((u64::from_le_bytes(bytes) >> 12) as f64 + 0.5) / 4_503_599_627_370_496.0;
        let key = score / temperature - libm::log(-libm::log(u));
        if key > chosen.0 {
            chosen = (key, token);
        }
    }
    Ok(chosen.1)
}

prop_compose! {
    fn any_rules()(
        temperature in prop_oneof![Just(0.0f32), 0.01f32..4.0],
        top_k in prop_oneof![Just(0u32), 1u32..12, Just(1000)],
        top_p in prop_oneof![Just(1.0f32), 0.0f32..1.0],
        min_p in prop_oneof![Just(0.0f32), 0.0f32..1.0, Just(1.0)],
        repeat_penalty in prop_oneof![Just(1.0f32), 0.5f32..2.0],
        repeat_last_n in 0u32..8,
    ) -> Rules {
        Rules { temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n }
    }
}

fn any_logits() -> impl Strategy<Value = Vec<f32>> {
    // Few distinct values, so that ties are common; a few that are no numbers.
    let logit = prop_oneof![
        4 => (-8i32..8).prop_map(|step| step as f32 / 2.0),
        4 => -20.0f32..20.0,
        1 => prop_oneof![Just(f32::NAN), Just(f32::NEG_INFINITY), Just(f32::INFINITY), Just(-0.0)],
    ];
    proptest::collection::vec(logit, 1..400)
}

proptest! {
    #[test]
    fn the_fast_way_chooses_what_the_reference_chooses(
        logits in any_logits(),
        before in proptest::collection::vec(0u32..40, 0..12),
        index in any::<u64>(),
        seed in any::<[u8; 32]>(),
        rules in any_rules(),
    ) {
        let seed = Seed::from_bytes(seed);
        let position = Position { logits: &logits, before: &before, index, seed: &seed, rules: &rules };
        prop_assert_eq!(choose(&position, &mut Unmasked), reference(&position, None));
    }

    #[test]
    fn a_mask_asked_bit_by_bit_is_the_same_mask(
        logits in any_logits(),
        allowed in proptest::collection::vec(0u32..400, 0..30),
        rules in any_rules(),
        index in any::<u64>(),
    ) {
        let position = at(&logits, &rules, index);
        let mut mask = Only { tokens: &allowed, asked: 0 };
        prop_assert_eq!(choose(&position, &mut mask), reference(&position, Some(&allowed)));
    }

    #[test]
    fn a_chosen_token_checks_and_no_other_does(
        logits in any_logits(),
        rules in any_rules(),
        index in any::<u64>(),
        other in 0u32..400,
    ) {
        let position = at(&logits, &rules, index);
        let Ok(chosen) = choose(&position, &mut Unmasked) else { return Ok(()) };
        let check = check_position(&position, &mut Unmasked, chosen).expect("there is a choice");
        prop_assert_eq!(check, PositionCheck { expected: chosen, margin: 0.0 });
        if other != chosen {
            let check = check_position(&position, &mut Unmasked, other).expect("there is a choice");
            prop_assert_eq!(check.expected, chosen);
            prop_assert!(check.margin >= 0.0);
        }
    }
}

/// Pearson's statistic of `draws` draws against the softmax of what `keep` tokens have, likeliest first.
fn chi_square(logits: &[f32], rules: &Rules, keep: usize, draws: u64) -> f64 {
    let mut counts = vec![0u64; logits.len()];
    for index in 0..draws {
        let token = choose(&at(logits, rules, index), &mut Unmasked).expect("there is a choice");
        counts[token as usize] += 1;
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    assert!(
        order[keep..].iter().all(|token| counts[*token] == 0),
        "nothing outside the support is drawn"
    );
    let weight = |token: usize| (f64::from(logits[token]) / f64::from(rules.temperature)).exp();
    let total: f64 = order[..keep].iter().map(|token| weight(*token)).sum();
    order[..keep]
        .iter()
        .map(|token| {
            let expected = draws as f64 * weight(*token) / total;
            (counts[*token] as f64 - expected).powi(2) / expected
        })
        .sum()
}

#[test]
fn draws_follow_the_softmax() {
    // The seed is fixed, so these are not random: they hold or they do not. The bounds are the 99.9 % points of the
    // chi-square distribution with 7 and 4 degrees of freedom.
    let logits = [2.0, 1.5, 1.0, 0.5, 0.0, -0.5, -1.0, -1.5];
    assert!(chi_square(&logits, &rules(1.0), 8, 40_000) < 24.3);
    assert!(chi_square(&logits, &rules(0.5), 8, 40_000) < 24.3);
    assert!(
        chi_square(
            &logits,
            &Rules {
                top_k: 5,
                ..rules(1.3)
            },
            5,
            40_000
        ) < 18.5
    );
    // Weights relative to the first: 1, .61, .37, .22, .14, … A minimum of .2 keeps four, a mass of .8 four.
    assert!(
        chi_square(
            &logits,
            &Rules {
                min_p: 0.2,
                ..rules(1.0)
            },
            4,
            40_000
        ) < 16.3
    );
    assert!(
        chi_square(
            &logits,
            &Rules {
                top_p: 0.8,
                ..rules(1.0)
            },
            4,
            40_000
        ) < 16.3
    );
}

#[test]
fn draws_at_different_positions_are_independent() {
    // Pairs of neighbouring positions fall evenly on the four pairs of two equal tokens.
    let (logits, rules) = ([0.0, 0.0], rules(1.0));
    let draw = |index| {
        choose(&at(&logits, &rules, index), &mut Unmasked).expect("there is a choice") as usize
    };
    let mut counts = [0f64; 4];
    for index in 0..20_000 {
        counts[draw(index) * 2 + draw(index + 1)] += 1.0;
    }
    let chi: f64 = counts
        .iter()
        .map(|count| (count - 5000.0f64).powi(2) / 5000.0)
        .sum();
    assert!(chi < 16.3, "{counts:?}");
}

#[test]
fn zero_temperature_takes_the_first_of_the_largest() {
    let logits = [1.0, 3.0, f32::NAN, 3.0, f32::INFINITY];
    assert_eq!(choose(&at(&logits, &rules(0.0), 0), &mut Unmasked), Ok(1));
}

#[test]
fn scores_that_are_no_numbers_are_never_chosen() {
    let logits = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
    for temperature in [0.0, 1.0] {
        assert_eq!(
            choose(&at(&logits, &rules(temperature), 0), &mut Unmasked),
            Err(NoToken::NoScores)
        );
    }
}

#[test]
fn a_mask_that_allows_nothing_is_said_to() {
    let logits = [1.0, 2.0];
    for temperature in [0.0, 1.0] {
        assert_eq!(
            choose(
                &at(&logits, &rules(temperature), 0),
                &mut Only {
                    tokens: &[],
                    asked: 0
                }
            ),
            Err(NoToken::AllMasked)
        );
    }
}

#[test]
fn a_mask_is_asked_about_few_tokens_when_few_can_matter() {
    let logits: Vec<f32> = (0..100_000).map(|token| -(token as f32)).collect();
    let mut mask = Only {
        tokens: &[3, 5, 9],
        asked: 0,
    };
    assert_eq!(choose(&at(&logits, &rules(0.0), 0), &mut mask), Ok(3));
    assert!(mask.asked <= 64, "{}", mask.asked);
}

#[test]
fn filtered_tokens_have_an_infinite_margin() {
    let logits = [5.0, 4.0, -5.0];
    let two = Rules {
        top_k: 2,
        ..rules(1.0)
    };
    let check = check_position(&at(&logits, &two, 0), &mut Unmasked, 2).expect("there is a choice");
    assert_eq!(check.margin, f64::INFINITY);
}

#[test]
fn the_penalty_looks_at_the_latest_tokens_only() {
    let logits = [2.0, 1.9, -1.0];
    let penalised = Rules {
        repeat_penalty: 2.0,
        repeat_last_n: 2,
        ..rules(0.0)
    };
    let choose_after = |before: &[TokenId]| {
        choose(
            &Position {
                before,
                ..at(&logits, &penalised, 0)
            },
            &mut Unmasked,
        )
    };
    assert_eq!(choose_after(&[0]), Ok(1));
    assert_eq!(choose_after(&[0, 2, 2]), Ok(0), "token 0 is too long ago");
    assert_eq!(choose_after(&[0, 1]), Ok(0), "both are halved");
}

#[test]
fn seeds_depend_on_each_part() {
    let derive = |nonce, prompt: &[TokenId], weights, node| {
        let nonce = ClientNonce::from_bytes([nonce; 32]);
        Seed::derive(
            &nonce,
            &PromptDigest::of(prompt),
            &WeightsDigest::from_bytes([weights; 32]),
            &[node; 32],
        )
    };
    let base = derive(1, &[1, 2], 3, 4);
    for other in [
        derive(2, &[1, 2], 3, 4),
        derive(1, &[2, 1], 3, 4),
        derive(1, &[1, 2], 5, 4),
        derive(1, &[1, 2], 3, 5),
    ] {
        assert_ne!(base, other);
    }
}

/// `vectors/sampling.json`: what a second implementation must give.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Vectors {
    seeds: Vec<SeedVector>,
    choices: Vec<ChoiceVector>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct SeedVector {
    nonce: String,
    prompt: Vec<TokenId>,
    weights: String,
    node_key: String,
    seed: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct ChoiceVector {
    what: String,
    seed: String,
    index: u64,
    rules: Rules,
    before: Vec<TokenId>,
    /// Tokens that the grammar allows; all when absent.
    allowed: Option<Vec<TokenId>>,
    logits: Vec<f32>,
    token: TokenId,
}

fn hex32(text: &str) -> [u8; 32] {
    hex::decode(text)
        .expect("hex")
        .try_into()
        .expect("32 bytes")
}

/// What, rules, tokens before, allowed tokens, scores, position.
type Case = (
    &'static str,
    Rules,
    Vec<TokenId>,
    Option<Vec<TokenId>>,
    Vec<f32>,
    u64,
);

fn computed() -> Vectors {
    let seeds = [
        (0u8, vec![]),
        (1, vec![0, 1, 4_294_967_295]),
        (7, (0..300).collect()),
    ]
    .map(|(byte, prompt): (u8, Vec<TokenId>)| {
        let (nonce, weights, node_key) = ([byte; 32], [byte + 1; 32], [byte + 2; 32]);
        let seed = Seed::derive(
            &ClientNonce::from_bytes(nonce),
            &PromptDigest::of(&prompt),
            &WeightsDigest::from_bytes(weights),
            &node_key,
        );
        SeedVector {
            nonce: hex::encode(nonce),
            prompt,
            weights: hex::encode(weights),
            node_key: hex::encode(node_key),
            seed: hex::encode(seed.as_bytes()),
        }
    })
    .into();
    // Scores that every reader of JSON holds exactly.
    let wave =
        |n: i32| -> Vec<f32> { (0..n).map(|i| ((i * 37) % 101 - 50) as f32 / 8.0).collect() };
    let cases: Vec<Case> = vec![
        (
            "greedy, a tie",
            rules(0.0),
            vec![],
            None,
            vec![1.0, 3.0, 3.0, -2.0],
            0,
        ),
        ("all tokens", rules(1.0), vec![], None, wave(64), 0),
        (
            "all tokens, the next position",
            rules(1.0),
            vec![],
            None,
            wave(64),
            1,
        ),
        (
            "a large position",
            rules(1.0),
            vec![],
            None,
            wave(64),
            u64::MAX,
        ),
        ("hot", rules(2.5), vec![], None, wave(200), 3),
        (
            "top-k",
            Rules {
                top_k: 4,
                ..rules(1.5)
            },
            vec![],
            None,
            wave(64),
            11,
        ),
        (
            "top-k larger than the vocabulary",
            Rules {
                top_k: 500,
                ..rules(1.5)
            },
            vec![],
            None,
            wave(64),
            12,
        ),
        (
            "top-p",
            Rules {
                top_p: 0.5,
                ..rules(1.5)
            },
            vec![],
            None,
            wave(64),
            13,
        ),
        (
            "top-p of zero keeps the first",
            Rules {
                top_p: 0.0,
                ..rules(1.5)
            },
            vec![],
            None,
            wave(64),
            14,
        ),
        (
            "min-p",
            Rules {
                min_p: 0.25,
                ..rules(1.5)
            },
            vec![],
            None,
            wave(64),
            15,
        ),
        (
            "min-p of one keeps ties",
            Rules {
                min_p: 1.0,
                ..rules(1.0)
            },
            vec![],
            None,
            vec![0.0, 2.0, 2.0, 1.0],
            16,
        ),
        (
            "everything",
            Rules {
                temperature: 0.75,
                top_k: 20,
                top_p: 0.875,
                min_p: 0.0625,
                repeat_penalty: 1.25,
                repeat_last_n: 3,
            },
            vec![5, 30, 41, 60],
            None,
            wave(64),
            17,
        ),
        (
            "a penalty",
            Rules {
                repeat_penalty: 2.0,
                repeat_last_n: 64,
                ..rules(0.0)
            },
            vec![1, 1],
            None,
            vec![1.0, 1.5, -1.0],
            18,
        ),
        (
            "a grammar",
            Rules {
                top_k: 3,
                ..rules(1.0)
            },
            vec![],
            Some(vec![7, 8, 9, 50]),
            wave(64),
            19,
        ),
        (
            "minus zero ties with zero",
            rules(0.0),
            vec![],
            None,
            vec![-0.0, 0.0],
            20,
        ),
    ];
    let seed = Seed::from_bytes(*blake3::hash(b"vectors").as_bytes());
    let choices = cases
        .into_iter()
        .map(|(what, rules, before, allowed, logits, index)| {
            let position = Position {
                logits: &logits,
                before: &before,
                index,
                seed: &seed,
                rules: &rules,
            };
            let token = reference(&position, allowed.as_deref()).expect("there is a choice");
            ChoiceVector {
                what: what.into(),
                seed: hex::encode(seed.as_bytes()),
                index,
                rules,
                before,
                allowed,
                logits,
                token,
            }
        })
        .collect();
    Vectors { seeds, choices }
}

#[test]
fn vectors_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/sampling.json");
    if std::env::var_os("TALLY_WRITE_VECTORS").is_some() {
        let json = serde_json::to_string_pretty(&computed()).expect("plain data");
        std::fs::write(path, json + "\n").expect("the vectors are written");
    }
    let vectors: Vectors =
        serde_json::from_slice(&std::fs::read(path).expect("the vectors are there"))
            .expect("they parse");
    assert_eq!(
        vectors,
        computed(),
        "the reference gives what is published; a change is a new sampler id"
    );
    for vector in &vectors.seeds {
        let seed = Seed::derive(
            &ClientNonce::from_bytes(hex32(&vector.nonce)),
            &PromptDigest::of(&vector.prompt),
            &WeightsDigest::from_bytes(hex32(&vector.weights)),
            &hex32(&vector.node_key),
        );
        assert_eq!(hex::encode(seed.as_bytes()), vector.seed);
    }
    for vector in &vectors.choices {
        let seed = Seed::from_bytes(hex32(&vector.seed));
        let position = Position {
            logits: &vector.logits,
            before: &vector.before,
            index: vector.index,
            seed: &seed,
            rules: &vector.rules,
        };
        let chosen = match &vector.allowed {
            None => choose(&position, &mut Unmasked),
            Some(tokens) => choose(&position, &mut Only { tokens, asked: 0 }),
        };
        assert_eq!(chosen, Ok(vector.token), "{}", vector.what);
    }
}
