//! Whatever the members do and however it is delivered: one set, one state, and the state that the slow model gives.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{model::Model, *};
use proptest::prelude::*;
use tally_vault_format::*;
use tally_vault_state::{GrantStanding, Record, Status};

struct Player {
    pen: Pen,
    /// Pens from before: what a restored backup writes with.
    old: Vec<Pen>,
    /// What it has seen: indexes into the frames of the world.
    seen: BTreeSet<usize>,
}

/// Plays a vault: everybody acts on what it has seen, and not everybody keeps to the rules.
fn play(seed: u64, players: usize, turns: usize) -> Vec<Sealed> {
    let mut dice = Dice(seed);
    let kinds = [
        MemberKind::Slot,
        MemberKind::Device,
        MemberKind::Agent,
        MemberKind::Relay,
    ];
    let mut all: Vec<Player> = (0..players as u8)
        .map(|number| {
            let kind = if number == 0 {
                MemberKind::Root
            } else {
                *dice.pick(&kinds)
            };
            let mut pen = Pen::new(card(kind, number));
            pen.clock = match dice.below(4) {
                0 => NOW - 10 * YEAR,
                1 => NOW + 10 * YEAR,
                _ => NOW,
            };
            Player {
                pen,
                old: vec![],
                seen: BTreeSet::new(),
            }
        })
        .collect();
    let cards: Vec<Card> = all.iter().map(|player| player.pen.card).collect();
    let mut frames: Vec<Sealed> = Vec::new();
    // Somebody has to be let in first, or nothing ever counts.
    for (number, card) in cards.iter().enumerate().take(4).skip(1) {
        let rights = [(
            ALL,
            if number == 1 {
                Right::Admin
            } else {
                Right::Append
            },
        )];
        let expires = (card.kind() == MemberKind::Agent).then_some(NOW + 11 * YEAR);
        let draft = grant(GrantId::ROOT, *card, 3, expires, &rights);
        frames.push(write(&mut all[0].pen, GrantId::ROOT, CONTROL, vec![draft]));
    }
    for player in &mut all {
        player.seen = (0..frames.len()).collect();
    }

    for _ in 0..turns {
        let who = dice.below(players);
        // Gossip: partitions come and go.
        if dice.chance(30) {
            let from = dice.below(players);
            let news: Vec<usize> = all[from]
                .seen
                .iter()
                .copied()
                .filter(|_| dice.chance(80))
                .collect();
            all[who].seen.extend(news);
        }
        if dice.chance(5) {
            let copy = all[who].pen.clone();
            all[who].old.push(copy);
        }
        if dice.chance(4) && !all[who].old.is_empty() {
            let old = all[who].old.pop().expect("not empty");
            let pen = std::mem::replace(&mut all[who].pen, old);
            all[who].old.push(pen);
        }
        all[who].pen.clock += match dice.below(20) {
            0 => YEAR,
            1 => 40 * DAY,
            _ => 1_000,
        };
        if dice.chance(3) {
            all[who].pen.clock -= YEAR;
        }

        let known: Vec<&Sealed> = all[who].seen.iter().map(|&at| &frames[at]).collect();
        let grants: Vec<(GrantId, MemberId)> = known
            .iter()
            .flat_map(|frame| &frame.operations)
            .filter_map(|op| match &op.fact {
                tally_vault_state::Fact::Grant(grant) => Some((op.id.grant(), grant.card.member())),
                _ => None,
            })
            .chain([(GrantId::ROOT, cards[0].member())])
            .collect();
        let me = all[who].pen.id();
        let mine: Vec<GrantId> = grants
            .iter()
            .filter(|grant| grant.1 == me)
            .map(|grant| grant.0)
            .collect();
        let under = if mine.is_empty() || dice.chance(3) {
            dice.pick(&grants).0
        } else {
            *dice.pick(&mine)
        };
        let data: Vec<OpId> = known
            .iter()
            .filter(|frame| frame.seal.namespace != CONTROL)
            .flat_map(|frame| frame.operations.iter().map(|op| op.id))
            .collect();
        let namespace = *dice.pick(&[DIARY, HEALTH]);
        let mut targets = Vec::new();
        for _ in 0..1 + dice.below(3) {
            targets.push(if data.is_empty() || dice.chance(3) {
                OpId([dice.next() as u8; 32])
            } else {
                *dice.pick(&data)
            });
        }
        let rights = [
            Right::Relay,
            Right::Read,
            Right::Append,
            Right::Curate,
            Right::Admin,
        ];
        let (place, draft) = match dice.below(100) {
            0..25 => (namespace, add()),
            25..45 => (namespace, supersede(&targets)),
            45..52 => (namespace, retract(&targets)),
            52..57 => (namespace, redact(&targets)),
            57..75 => {
                let places = if dice.chance(40) {
                    vec![ALL]
                } else {
                    vec![DIARY, HEALTH]
                };
                let rights: Vec<_> = places
                    .into_iter()
                    .map(|place| (place, *dice.pick(&rights)))
                    .collect();
                let expires = dice
                    .chance(60)
                    .then(|| NOW - 11 * YEAR + dice.below(23) as u64 * YEAR);
                // Sometimes the parent is not the grant that it is made under.
                let parent = if dice.chance(5) {
                    dice.pick(&grants).0
                } else {
                    under
                };
                (
                    CONTROL,
                    grant(
                        parent,
                        *dice.pick(&cards[1..]),
                        dice.below(4) as u8,
                        expires,
                        &rights,
                    ),
                )
            }
            75..90 => {
                let (target, subject) = *dice.pick(&grants);
                let theirs = known.iter().filter(|frame| frame.seal.author == subject);
                let mut logs: BTreeMap<NamespaceId, (u64, OpId)> = BTreeMap::new();
                for frame in theirs {
                    for (sequence, op) in (frame.seal.first..).zip(&frame.operations) {
                        // Not always the last: somebody who lies, or has not seen it.
                        if dice.chance(80) {
                            let entry = logs
                                .entry(frame.seal.namespace)
                                .or_insert((sequence, op.id));
                            *entry = (*entry).max((sequence, op.id));
                        }
                    }
                }
                let frontier = logs
                    .into_iter()
                    .map(|(namespace, (sequence, operation))| LogPosition {
                        namespace,
                        sequence: sequence + u64::from(dice.chance(2)),
                        operation,
                    })
                    .collect();
                (CONTROL, revoke(target, Revocation { frontier }))
            }
            90..96 => {
                let number = 1 + dice.below(3) as u32;
                (
                    CONTROL,
                    rotate(namespace, number, dice.below(5) as u8, dice.chance(20)),
                )
            }
            _ => {
                let mut heads: BTreeMap<MemberId, Head> = BTreeMap::new();
                for frame in &known {
                    let Seal {
                        author, counter, ..
                    } = frame.seal;
                    let head = Head {
                        author,
                        counter,
                        seal: frame.id,
                    };
                    let newest = heads.entry(author).or_insert(head);
                    if newest.counter < counter {
                        *newest = head;
                    }
                }
                (CONTROL, checkpoint(heads.into_values().collect()))
            }
        };
        let again = known
            .iter()
            .filter(|frame| frame.seal.author == me)
            .map(|frame| (*frame).clone());
        let again: Vec<Sealed> = again.collect();
        let frame = if dice.chance(4) && !again.is_empty() {
            // The same operations sealed once more, under another grant.
            let old = dice.pick(&again).clone();
            let seal_ = &old.seal;
            seal(
                &mut all[who].pen,
                under,
                seal_.namespace,
                seal_.first,
                seal_.before,
                old.operations,
            )
        } else {
            let mut drafts = vec![draft];
            if place != CONTROL && dice.chance(20) {
                drafts.push(add());
            }
            write(&mut all[who].pen, under, place, drafts)
        };
        all[who].seen.insert(frames.len());
        frames.push(frame);
    }
    frames
}

/// The state as the fold sees it equals the state as the rules read.
fn assert_as_the_model(frames: &[Sealed]) {
    let root = card(MemberKind::Root, 0).member();
    let model = Model::new(root, frames);
    let mut folded = fold(frames);
    let view = folded.view();
    for (id, status) in model.statuses() {
        assert_eq!(view.status(&id), Some(status), "{:?}", view.row(&id));
    }
    let records: BTreeMap<OpId, _> = view
        .records()
        .into_iter()
        .map(
            |Record {
                 id,
                 versions,
                 shown,
                 conflicts,
             }| {
                assert_eq!(view.record(&versions[0]).expect("a version").id, id);
                (
                    id,
                    (
                        versions.into_iter().collect(),
                        shown,
                        conflicts.into_iter().collect(),
                    ),
                )
            },
        )
        .collect();
    assert_eq!(records, model.records());
    for row in view.grants().iter().skip(1) {
        let (mut above, own) = model.valid_revocations(row.id);
        above.extend(own);
        above.sort_unstable();
        match &row.standing {
            GrantStanding::Void(_) => assert!(!model.stands(row.id)),
            GrantStanding::Valid => assert!(model.stands(row.id) && above.is_empty()),
            GrantStanding::Revoked(by) => assert!(model.stands(row.id) && *by == above),
        }
    }
    // What counts is inside every grant on the way to the root.
    for row in view
        .log()
        .filter(|row| row.status != Status::Void && row.namespace != CONTROL)
    {
        let mut at = row.grant;
        while at != GrantId::ROOT {
            let grant = view.grant(&at).expect("a grant that counts is here");
            assert!(model.right(at, row.namespace) >= Right::Append as u8);
            assert!(grant.expires.is_none_or(|end| row.time <= end));
            assert!(!matches!(grant.standing, GrantStanding::Void(_)));
            at = grant.parent.expect("only the root's grant has no parent");
        }
    }
}

/// Any order, doubles, and any moments of looking give one picture.
fn assert_any_order(frames: &[Sealed], seed: u64) {
    let mut dice = Dice(seed);
    let expected = picture(&fold(frames).view());
    for _ in 0..4 {
        let mut order: Vec<&Sealed> = frames.iter().collect();
        for _ in 0..frames.len() / 3 {
            order.push(dice.pick(frames));
        }
        dice.shuffle(&mut order);
        let mut folded = empty();
        let curious = dice.below(100);
        for frame in order {
            // Some boxes are opened only later, or never had to be.
            if dice.chance(10) {
                folded
                    .insert(frame.id, &frame.seal, None)
                    .expect("a seal of this vault");
            }
            insert(&mut folded, frame);
            if dice.chance(curious) {
                let _ = folded.view();
            }
        }
        assert_same(&picture(&folded.view()), &expected);
    }
}

/// What is known of only a part is the state of that part, and becomes the state of the whole.
fn assert_parts(frames: &[Sealed], seed: u64) {
    let mut dice = Dice(seed);
    let (mut left, mut right) = (empty(), empty());
    let mut halves = (Vec::new(), Vec::new());
    for frame in frames {
        let side = dice.below(3);
        if side != 1 {
            insert(&mut left, frame);
            halves.0.push(frame.clone());
        }
        if side != 0 {
            insert(&mut right, frame);
            halves.1.push(frame.clone());
        }
    }
    assert_as_the_model(&halves.0);
    assert_as_the_model(&halves.1);
    assert_same(&picture(&left.view()), &picture(&fold(&halves.0).view()));
    halves.1.iter().for_each(|frame| insert(&mut left, frame));
    halves.0.iter().for_each(|frame| insert(&mut right, frame));
    assert_eq!(left.view().state_hash(), right.view().state_hash());
    assert_same(&picture(&left.view()), &picture(&right.view()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_order_gives_the_state_of_the_model(seed: u64, players in 2..7_usize, turns in 1..90_usize) {
        let frames = play(seed, players, turns);
        assert_as_the_model(&frames);
        assert_any_order(&frames, seed);
        assert_parts(&frames, seed);
    }
}

#[test]
fn long_games_with_fixed_seeds_agree_too() {
    for seed in 0..12 {
        let frames = play(seed, 7, 400);
        assert_as_the_model(&frames);
        assert_any_order(&frames, seed);
        assert_parts(&frames, seed);
    }
}

/// A game in which nothing counts, or nothing is refused, would show nothing.
#[test]
fn the_games_reach_every_verdict() {
    let mut reached = BTreeSet::new();
    let mut statuses = BTreeSet::new();
    let mut findings = BTreeSet::new();
    for seed in 0..40 {
        let mut folded = fold(&play(seed, 6, 200));
        let view = folded.view();
        for row in view.log() {
            statuses.insert(row.status);
            reached.extend(row.why.map(|why| why.code()));
        }
        findings.extend(view.findings().iter().map(tally_vault_state::Finding::code));
        statuses.extend(
            view.records()
                .iter()
                .filter(|r| !r.conflicts.is_empty())
                .map(|_| Status::Valid),
        );
    }
    let expected = [
        "grant.void",
        "grant.foreign",
        "grant.expired",
        "grant.revoked",
        "grant.given-up",
        "right.missing",
        "parent.wrong",
        "depth.spent",
        "depth.widened",
        "right.widened",
        "expiry.widened",
        "expiry.missing",
        "target.void",
        "target.foreign",
    ];
    for code in expected {
        assert!(
            reached.contains(code),
            "{code} was never reached: {reached:?}"
        );
    }
    assert_eq!(statuses.len(), 5);
    for code in ["author.forked", "frontier.missing", "author.clock"] {
        assert!(
            findings.contains(code),
            "{code} was never found: {findings:?}"
        );
    }
}
