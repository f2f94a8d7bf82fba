//! What a member, an admin or a removed member could try against the rules, one attack after another.

mod common;

use common::*;
use tally_vault_format::*;
use tally_vault_state::{
    Delivery, Fact, Finding, Fold, GrantStanding, Operation, Refused, Status, Void,
};

const R: GrantId = GrantId::ROOT;

fn device(number: u8) -> Pen {
    Pen::new(card(MemberKind::Device, number))
}

/// The root, and one device with that right everywhere under a grant of depth 3.
fn pair(right: Right) -> (Pen, Pen, GrantId, Vec<Sealed>) {
    let (mut root, member) = (root(), device(1));
    let mut frames = Vec::new();
    let draft = grant(R, member.card, 3, None, &[(ALL, right)]);
    let id = one(&mut root, R, CONTROL, draft, &mut frames).grant();
    (root, member, id, frames)
}

fn status(fold: &mut Fold, op: OpId) -> Status {
    fold.view().status(&op).expect("inserted")
}

fn why(fold: &mut Fold, op: OpId) -> Option<Void> {
    fold.view().explain(&op).expect("inserted").err()
}

#[test]
fn whatever_a_removed_member_signs_after_its_removal_does_not_count() {
    let (mut root, mut member, id, mut frames) = pair(Right::Admin);
    let kept = one(&mut member, id, DIARY, add(), &mut frames);
    let below = grant(id, device(2).card, 1, None, &[(ALL, Right::Admin)]);
    let below = one(&mut member, id, CONTROL, below, &mut frames).grant();
    // A second pen of the same key, from before: it will fork below the frontier.
    let backup = member.clone();
    let tip = one(&mut member, id, DIARY, add(), &mut frames);
    // Written before the removal, shown to nobody.
    let mut hidden = member.clone();
    let mut late = Vec::new();
    let unseen = one(
        &mut hidden,
        id,
        CONTROL,
        grant(id, device(3).card, 0, None, &[(ALL, Right::Append)]),
        &mut late,
    );
    one(
        &mut root,
        R,
        CONTROL,
        revoke(id, member.frontier()),
        &mut frames,
    );

    let mut forked = backup.clone();
    forked.clock = NOW - 10 * YEAR;
    let mut void = vec![
        unseen,
        one(&mut device(3), unseen.grant(), DIARY, add(), &mut late),
        one(&mut forked, id, DIARY, add(), &mut late),
        one(&mut forked, id, DIARY, add(), &mut late),
        one(&mut member, id, DIARY, add(), &mut late),
        one(&mut member, id, HEALTH, add(), &mut late),
        one(&mut member, id, DIARY, retract(&[kept]), &mut late),
        one(
            &mut member,
            id,
            CONTROL,
            grant(id, device(4).card, 0, None, &[(ALL, Right::Read)]),
            &mut late,
        ),
        one(
            &mut member,
            id,
            CONTROL,
            rotate(DIARY, 1, 9, true),
            &mut late,
        ),
        one(
            &mut member,
            id,
            CONTROL,
            revoke(below, Revocation { frontier: vec![] }),
            &mut late,
        ),
        one(&mut member, R, DIARY, add(), &mut late),
        one(&mut member, below, DIARY, add(), &mut late),
    ];
    // Backdated to before everything.
    let mut past = hidden.clone();
    past.clock = 1;
    void.push(one(
        &mut past,
        id,
        CONTROL,
        grant(id, device(5).card, 0, None, &[(ALL, Right::Read)]),
        &mut late,
    ));
    // Old operations sealed once more, and new ones that follow them.
    let mut again = backup;
    let same = frames
        .iter()
        .find(|frame| frame.operations[0].id == tip)
        .expect("written")
        .clone();
    late.push(seal(
        &mut again,
        id,
        DIARY,
        same.seal.first,
        same.seal.before,
        same.operations,
    ));

    let mut state = fold(&frames);
    let expected = state.view().state_hash();
    late.iter().for_each(|frame| insert(&mut state, frame));
    for op in void {
        assert_eq!(
            status(&mut state, op),
            Status::Void,
            "{:?}",
            state.view().row(&op)
        );
    }
    assert_eq!(state.view().state_hash(), expected);
    assert_eq!(status(&mut state, kept), Status::Valid);
    assert_eq!(status(&mut state, tip), Status::Valid);
    // What was granted inside the frontier stays, until it is named.
    let revoked = state.view().grant(&id).expect("here");
    assert!(matches!(revoked.standing, GrantStanding::Revoked(_)));
    assert_eq!(state.view().grants_below(&id), [below]);
    assert_eq!(
        state.view().right(&device(2).id(), &DIARY, at(NOW)),
        Some(Right::Admin)
    );
    assert_eq!(state.view().right(&member.id(), &DIARY, at(NOW)), None);
}

#[test]
fn a_member_let_in_again_writes_under_the_new_grant_only() {
    let (mut root, mut member, id, mut frames) = pair(Right::Append);
    let before = one(&mut member, id, DIARY, add(), &mut frames);
    one(
        &mut root,
        R,
        CONTROL,
        revoke(id, member.frontier()),
        &mut frames,
    );
    let lost = one(&mut member, id, DIARY, add(), &mut frames);
    let draft = grant(R, member.card, 0, None, &[(DIARY, Right::Append)]);
    let new = one(&mut root, R, CONTROL, draft, &mut frames).grant();
    let after = one(&mut member, new, DIARY, add(), &mut frames);
    let elsewhere = one(&mut member, new, HEALTH, add(), &mut frames);
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, before), Status::Valid);
    assert_eq!(why(&mut state, lost), Some(Void::Revoked));
    assert_eq!(status(&mut state, after), Status::Valid);
    assert_eq!(
        why(&mut state, elsewhere),
        Some(Void::NeedsRight {
            needs: Right::Append,
            has: None
        })
    );
    // Sealed anew under the grant it has now, the lost operation counts: it could write it again anyway.
    let old = frames
        .iter()
        .find(|frame| frame.operations[0].id == lost)
        .expect("written")
        .clone();
    let again = seal(
        &mut member,
        new,
        DIARY,
        old.seal.first,
        old.seal.before,
        old.operations,
    );
    insert(&mut state, &again);
    assert_eq!(state.view().explain(&lost), Some(Ok(new)));
    assert_eq!(state.view().row(&lost).expect("here").grant, new);
}

#[test]
fn an_expired_member_that_lies_about_its_clock_writes_until_somebody_above_closes_its_grant() {
    let (mut root, mut agent) = (root(), Pen::new(card(MemberKind::Agent, 1)));
    let mut frames = Vec::new();
    let end = NOW + 30 * DAY;
    let draft = grant(R, agent.card, 0, Some(end), &[(DIARY, Right::Append)]);
    let id = one(&mut root, R, CONTROL, draft, &mut frames).grant();
    let honest = one(&mut agent, id, DIARY, add(), &mut frames);
    agent.clock = end - 1;
    let last = one(&mut agent, id, DIARY, add(), &mut frames);
    let mut beyond = agent.clone();
    let late = one(&mut beyond, id, DIARY, add(), &mut frames);
    let mut state = fold(&frames);
    assert_eq!(
        status(&mut state, last),
        Status::Valid,
        "the end itself is inside"
    );
    assert_eq!(
        why(&mut state, late),
        Some(Void::Expired { ended: at(end) })
    );
    assert_eq!(state.view().ended_and_open(at(end)), []);
    assert_eq!(state.view().ended_and_open(at(end + 1)), [id]);
    assert_eq!(state.view().right(&agent.id(), &DIARY, at(end + 1)), None);

    // The lie: an operation written a year later, dated before the end, on another branch.
    let mut liar = Pen::new(agent.card);
    liar.clock = NOW + DAY;
    let mut lies = Vec::new();
    let lie = one(&mut liar, id, DIARY, add(), &mut lies);
    let closing = one(
        &mut root,
        R,
        CONTROL,
        revoke(id, agent.frontier()),
        &mut frames,
    );
    insert(&mut state, frames.last().expect("written"));
    insert(&mut state, &lies[0]);
    assert_eq!(why(&mut state, lie), Some(Void::Revoked));
    assert_eq!(status(&mut state, honest), Status::Valid);
    assert_eq!(status(&mut state, closing), Status::Valid);
    assert_eq!(state.view().ended_and_open(at(end + 1)), []);
}

#[test]
fn only_those_above_and_the_subject_itself_can_revoke() {
    let (mut root, mut parent, id, mut frames) = pair(Right::Admin);
    let mut child = device(2);
    let below = one(
        &mut parent,
        id,
        CONTROL,
        grant(id, child.card, 1, None, &[(ALL, Right::Admin)]),
        &mut frames,
    )
    .grant();
    let mut sibling = device(3);
    let other = one(
        &mut root,
        R,
        CONTROL,
        grant(R, sibling.card, 1, None, &[(ALL, Right::Admin)]),
        &mut frames,
    )
    .grant();
    let nothing = || Revocation { frontier: vec![] };
    let upward = one(
        &mut child,
        below,
        CONTROL,
        revoke(id, nothing()),
        &mut frames,
    );
    let sideward = one(
        &mut sibling,
        other,
        CONTROL,
        revoke(id, nothing()),
        &mut frames,
    );
    let root_itself = one(&mut root, R, CONTROL, revoke(R, nothing()), &mut frames);
    let unknown = one(
        &mut root,
        R,
        CONTROL,
        revoke(GrantId([9; 32]), nothing()),
        &mut frames,
    );
    let mut state = fold(&frames);
    assert_eq!(why(&mut state, upward), Some(Void::NotAbove));
    assert_eq!(why(&mut state, sideward), Some(Void::NotAbove));
    assert_eq!(why(&mut state, root_itself), Some(Void::TargetUnknown));
    assert_eq!(why(&mut state, unknown), Some(Void::TargetUnknown));

    // Parent and child revoke at once, each before it hears of the other: the one above is heard.
    let (mut a, mut b) = (parent.clone(), child.clone());
    let down = one(&mut a, id, CONTROL, revoke(below, nothing()), &mut frames);
    let up = one(&mut b, below, CONTROL, revoke(id, nothing()), &mut frames);
    for frame in &frames {
        insert(&mut state, frame);
    }
    assert_eq!(status(&mut state, down), Status::Valid);
    assert_eq!(status(&mut state, up), Status::Void);
    assert_eq!(why(&mut state, upward), Some(Void::Revoked));
}

#[test]
fn one_who_gives_up_its_grant_is_out_and_can_be_heard_no_more() {
    let (mut root, mut member, id, mut frames) = pair(Right::Admin);
    let kept = one(&mut member, id, DIARY, add(), &mut frames);
    let before = member.clone();
    let seen = member.frontier();
    let leaving = one(&mut member, id, CONTROL, revoke(id, seen), &mut frames);
    let late = one(&mut member, id, DIARY, add(), &mut frames);
    let control = one(&mut member, id, CONTROL, checkpoint(vec![]), &mut frames);
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, kept), Status::Valid);
    assert_eq!(status(&mut state, leaving), Status::Valid);
    assert_eq!(why(&mut state, late), Some(Void::GivenUp));
    assert_eq!(why(&mut state, control), Some(Void::GivenUp));

    // A thief of the key gives it up once more on another branch, from an empty frontier: what was written under the grant is
    // void. Who stands above revokes with what it saw, and it counts again.
    let mut thief = before;
    let stolen = one(
        &mut thief,
        id,
        CONTROL,
        revoke(id, Revocation { frontier: vec![] }),
        &mut frames,
    );
    insert(&mut state, frames.last().expect("written"));
    assert_eq!(status(&mut state, stolen), Status::Valid);
    assert_eq!(why(&mut state, kept), Some(Void::GivenUp));
    let seen = Revocation {
        frontier: vec![member.tip(CONTROL), member.tip(DIARY)],
    };
    one(&mut root, R, CONTROL, revoke(id, seen), &mut frames);
    insert(&mut state, frames.last().expect("written"));
    assert_eq!(why(&mut state, stolen), Some(Void::Revoked));
    assert_eq!(status(&mut state, kept), Status::Valid);
    assert_eq!(why(&mut state, late), Some(Void::GivenUp));
}

#[test]
fn a_lying_frontier_takes_nothing_that_its_author_could_not_take_and_is_undone_with_it() {
    let (mut root, mut admin, id, mut frames) = pair(Right::Admin);
    let mut agent = device(2);
    let below = one(
        &mut admin,
        id,
        CONTROL,
        grant(id, agent.card, 0, None, &[(DIARY, Right::Append)]),
        &mut frames,
    )
    .grant();
    let honest = admin.clone();
    let first = one(&mut agent, below, DIARY, add(), &mut frames);
    let second = one(&mut agent, below, DIARY, add(), &mut frames);
    let mut state = fold(&frames);

    // It names an operation that does not exist.
    let invented = LogPosition {
        namespace: DIARY,
        sequence: 2,
        operation: OpId([5; 32]),
    };
    let lie = one(
        &mut admin,
        id,
        CONTROL,
        revoke(
            below,
            Revocation {
                frontier: vec![invented],
            },
        ),
        &mut frames,
    );
    insert(&mut state, frames.last().expect("written"));
    assert_eq!(why(&mut state, first), Some(Void::Revoked));
    let missing = Finding::FrontierMissing {
        revocation: lie,
        namespace: DIARY,
        sequence: 2,
        operation: OpId([5; 32]),
    };
    assert!(state.view().findings().contains(&missing));

    // The right operation at the wrong place, or of another log, is none either.
    for wrong in [
        LogPosition {
            namespace: DIARY,
            sequence: 1,
            operation: second,
        },
        LogPosition {
            namespace: DIARY,
            sequence: 1,
            operation: below.operation(),
        },
    ] {
        let mut other = honest.clone();
        let frame = write(
            &mut other,
            id,
            CONTROL,
            vec![revoke(
                below,
                Revocation {
                    frontier: vec![wrong],
                },
            )],
        );
        let mut state = fold(frames[..frames.len() - 1].iter().chain([&frame]));
        assert_eq!(why(&mut state, first), Some(Void::Revoked));
    }

    // A second revocation can only narrow.
    one(
        &mut root,
        R,
        CONTROL,
        revoke(below, agent.frontier()),
        &mut frames,
    );
    insert(&mut state, frames.last().expect("written"));
    assert_eq!(why(&mut state, first), Some(Void::Revoked));

    // The root cuts the liar off before the lie: the lie is void and what it hid is back.
    one(
        &mut root,
        R,
        CONTROL,
        revoke(id, honest.frontier()),
        &mut frames,
    );
    insert(&mut state, frames.last().expect("written"));
    assert_eq!(why(&mut state, lie), Some(Void::Revoked));
    assert_eq!(status(&mut state, first), Status::Valid);
    assert_eq!(status(&mut state, second), Status::Valid);
}

#[test]
fn a_frontier_counts_as_far_as_the_chain_is_here() {
    let (mut root, mut member, id, mut frames) = pair(Right::Append);
    let ops: Vec<OpId> = (0..5)
        .map(|_| one(&mut member, id, DIARY, add(), &mut frames))
        .collect();
    one(
        &mut root,
        R,
        CONTROL,
        revoke(id, member.frontier()),
        &mut frames,
    );
    let hole = frames
        .iter()
        .position(|frame| frame.operations[0].id == ops[2])
        .expect("written");
    let mut state = fold(
        frames
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != hole)
            .map(|(_, frame)| frame),
    );
    let void: Vec<bool> = ops[..2]
        .iter()
        .chain(&ops[3..])
        .map(|op| why(&mut state, *op).is_some())
        .collect();
    assert_eq!(void, [true, true, false, false]);
    insert(&mut state, &frames[hole]);
    assert!(
        ops.iter()
            .all(|op| status(&mut state, *op) == Status::Valid)
    );
}

#[test]
fn no_grant_gives_more_than_its_parent() {
    let end = NOW + 30 * DAY;
    let mut root = root();
    let mut parent = device(1);
    let mut frames = Vec::new();
    let rights = [(DIARY, Right::Curate), (HEALTH, Right::Read)];
    let id = one(
        &mut root,
        R,
        CONTROL,
        grant(R, parent.card, 2, Some(end), &rights),
        &mut frames,
    )
    .grant();
    let child = device(2).card;
    let mut attempt = |draft: Draft| {
        let op = one(&mut parent, id, CONTROL, draft, &mut frames);
        why(&mut fold(&frames), op)
    };
    let widened = |namespace, asked, has| {
        Some(Void::RightWidened {
            namespace,
            asked,
            has,
        })
    };
    let (curate, admin, append) = (Right::Curate, Right::Admin, Right::Append);
    assert_eq!(attempt(grant(id, child, 1, Some(end), &rights)), None);
    assert_eq!(
        attempt(grant(id, child, 1, Some(end), &[(DIARY, admin)])),
        widened(DIARY, admin, Some(curate))
    );
    assert_eq!(
        attempt(grant(id, child, 1, Some(end), &[(HEALTH, append)])),
        widened(HEALTH, append, Some(Right::Read))
    );
    let third = NamespaceId([3; 16]);
    assert_eq!(
        attempt(grant(id, child, 1, Some(end), &[(third, Right::Relay)])),
        widened(third, Right::Relay, None)
    );
    // All namespaces is more than each that there is.
    assert_eq!(
        attempt(grant(id, child, 1, Some(end), &[(ALL, Right::Relay)])),
        widened(ALL, Right::Relay, None)
    );
    assert_eq!(
        attempt(grant(id, child, 2, Some(end), &rights)),
        Some(Void::DepthWidened { asked: 2, has: 2 })
    );
    assert_eq!(
        attempt(grant(id, child, 1, Some(end + 1), &rights)),
        Some(Void::OutlivesParent { parent: at(end) })
    );
    assert_eq!(
        attempt(grant(id, child, 1, None, &rights)),
        Some(Void::OutlivesParent { parent: at(end) })
    );
    assert_eq!(
        attempt(grant(R, child, 1, Some(end), &rights)),
        Some(Void::WrongParent)
    );
    let agent = card(MemberKind::Agent, 3);
    let op = one(
        &mut root,
        R,
        CONTROL,
        grant(R, agent, 0, None, &rights),
        &mut frames,
    );
    assert_eq!(why(&mut fold(&frames), op), Some(Void::AgentWithoutEnd));
    let op = one(
        &mut root,
        R,
        CONTROL,
        grant(R, child, 255, None, &rights),
        &mut frames,
    );
    assert_eq!(
        why(&mut fold(&frames), op),
        Some(Void::DepthWidened {
            asked: 255,
            has: 255
        })
    );
}

#[test]
fn a_chain_of_grants_ends_with_its_depth_and_with_any_link() {
    let mut frames = Vec::new();
    let mut above = root();
    let mut grants = vec![R];
    for number in 1..=255_u8 {
        let next = device(number);
        let depth = 255 - number;
        let id = one(
            &mut above,
            *grants.last().expect("root"),
            CONTROL,
            grant(
                *grants.last().expect("root"),
                next.card,
                depth,
                None,
                &[(DIARY, Right::Append)],
            ),
            &mut frames,
        );
        grants.push(id.grant());
        above = next;
    }
    let leaf = one(&mut above, grants[255], DIARY, add(), &mut frames);
    let further = one(
        &mut above,
        grants[255],
        CONTROL,
        grant(
            grants[255],
            device(1).card,
            0,
            None,
            &[(DIARY, Right::Read)],
        ),
        &mut frames,
    );
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, leaf), Status::Valid);
    assert_eq!(why(&mut state, further), Some(Void::DepthSpent));
    assert_eq!(state.view().grants_below(&grants[1]).len(), 254);
    // Without one link nothing below counts; it is there again when the link comes.
    let mut state = fold(
        frames
            .iter()
            .filter(|frame| frame.operations[0].id != grants[100].operation()),
    );
    assert_eq!(
        why(&mut state, grants[101].operation()),
        Some(Void::GrantUnknown)
    );
    assert_eq!(why(&mut state, leaf), Some(Void::GrantVoid));
    frames.iter().for_each(|frame| insert(&mut state, frame));
    assert_eq!(status(&mut state, leaf), Status::Valid);
}

#[test]
fn a_grant_is_no_use_to_anybody_but_its_subject() {
    let (_, mut member, id, mut frames) = pair(Right::Append);
    let mut stranger = device(9);
    let borrowed = one(&mut stranger, id, DIARY, add(), &mut frames);
    let invented = one(&mut stranger, GrantId([8; 32]), DIARY, add(), &mut frames);
    let own_card = stranger.card;
    let as_root = one(
        &mut stranger,
        R,
        CONTROL,
        grant(R, own_card, 3, None, &[(ALL, Right::Admin)]),
        &mut frames,
    );
    let as_self = one(&mut stranger, as_root.grant(), DIARY, add(), &mut frames);
    let own = one(&mut member, id, DIARY, add(), &mut frames);
    let mut state = fold(&frames);
    assert_eq!(why(&mut state, borrowed), Some(Void::NotTheSubject));
    assert_eq!(why(&mut state, invented), Some(Void::GrantUnknown));
    assert_eq!(why(&mut state, as_root), Some(Void::NotTheSubject));
    assert_eq!(why(&mut state, as_self), Some(Void::GrantVoid));
    assert_eq!(status(&mut state, own), Status::Valid);
}

#[test]
fn without_the_right_nobody_changes_what_others_wrote() {
    for (kind, draft) in [supersede, retract, redact].into_iter().enumerate() {
        let (mut root, mut appender, id, mut frames) = pair(Right::Append);
        let mut curator = device(2);
        let strong = one(
            &mut root,
            R,
            CONTROL,
            grant(R, curator.card, 0, None, &[(DIARY, Right::Curate)]),
            &mut frames,
        )
        .grant();
        let theirs = write(&mut root, R, DIARY, vec![add()]);
        let target = theirs.operations[0].id;
        let own = one(&mut appender, id, DIARY, add(), &mut frames);
        let attempt = one(&mut appender, id, DIARY, draft(&[target]), &mut frames);
        let mixed = one(&mut appender, id, DIARY, draft(&[own, target]), &mut frames);
        // While the target is not here it changes nothing; when it comes, the attempt is void.
        let mut state = fold(&frames);
        assert_eq!(status(&mut state, attempt), Status::Valid);
        assert_ne!(status(&mut state, own), Status::Valid);
        insert(&mut state, &theirs);
        let needs = Some(Void::NeedsRight {
            needs: Right::Curate,
            has: Some(Right::Append),
        });
        assert_eq!(why(&mut state, attempt), needs);
        assert_eq!(why(&mut state, mixed), needs);
        assert_eq!(status(&mut state, target), Status::Valid);
        assert_eq!(status(&mut state, own), Status::Valid);
        assert!(!state.view().is_redacted(&target));
        let alone = state.view().record(&target).expect("a version");
        assert_eq!((alone.versions, alone.conflicts), (vec![target], vec![]));

        one(&mut appender, id, DIARY, draft(&[own]), &mut frames);
        one(&mut curator, strong, DIARY, draft(&[target]), &mut frames);
        frames[frames.len() - 2..]
            .iter()
            .for_each(|frame| insert(&mut state, frame));
        let expected = [Status::Superseded, Status::Retracted, Status::Redacted][kind];
        assert_eq!(status(&mut state, own), expected);
        assert_eq!(status(&mut state, target), expected);
    }
}

#[test]
fn targets_in_other_namespaces_are_out_of_reach() {
    let mut root = root();
    let mut frames = Vec::new();
    let target = one(&mut root, R, HEALTH, add(), &mut frames);
    for draft in [supersede, retract, redact] {
        let op = one(&mut root, R, DIARY, draft(&[target]), &mut frames);
        assert_eq!(status(&mut fold(&frames), op), Status::Valid);
    }
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, target), Status::Valid);
    assert!(!state.view().is_redacted(&target));
    assert_eq!(
        state.view().record(&target).expect("a version").versions,
        [target]
    );
    // Nor does naming control change anything there.
    let op = frames[0].operations[0].id;
    let id = one(
        &mut root,
        R,
        CONTROL,
        grant(R, device(1).card, 0, None, &[(ALL, Right::Read)]),
        &mut frames,
    );
    one(&mut root, R, DIARY, redact(&[id, op]), &mut frames);
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, id), Status::Valid);
}

#[test]
fn concurrent_versions_are_conflicts_and_a_redacted_retraction_still_retracts() {
    let mut root = root();
    let mut frames = Vec::new();
    let first = one(&mut root, R, DIARY, add(), &mut frames);
    let mut other = root.clone();
    other.clock += 10 * YEAR;
    let older = one(&mut root, R, DIARY, supersede(&[first]), &mut frames);
    let newer = one(&mut other, R, DIARY, supersede(&[first]), &mut frames);
    let mut state = fold(&frames);
    let record = state.view().record(&first).expect("a version");
    assert_eq!(record.id, first.min(older).min(newer));
    assert_eq!((record.shown, record.conflicts), (Some(newer), vec![older]));
    // However far its clock is ahead: whoever has seen both decides.
    let merged = one(&mut root, R, DIARY, supersede(&[older, newer]), &mut frames);
    let record = fold(&frames).view().record(&first).expect("a version");
    assert_eq!(
        (record.shown, record.conflicts.len(), record.versions.len()),
        (Some(merged), 0, 4)
    );
    let gone = one(&mut root, R, DIARY, retract(&[merged]), &mut frames);
    one(&mut root, R, DIARY, redact(&[gone]), &mut frames);
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, gone), Status::Redacted);
    assert_eq!(status(&mut state, merged), Status::Retracted);
    assert_eq!(state.view().record(&first).expect("a version").shown, None);
    assert!(state.view().current().is_empty());
}

#[test]
fn a_fork_keeps_both_branches_and_names_both_seals() {
    let (_, mut member, id, mut frames) = pair(Right::Append);
    let common = one(&mut member, id, DIARY, add(), &mut frames);
    let mut copy = member.clone();
    copy.clock += 1_000;
    let left = one(&mut member, id, DIARY, add(), &mut frames);
    let right = one(&mut copy, id, DIARY, add(), &mut frames);
    let further = one(&mut copy, id, DIARY, add(), &mut frames);
    one(&mut member, id, DIARY, add(), &mut frames);
    let mut state = fold(&frames);
    for op in [common, left, right, further] {
        assert_eq!(status(&mut state, op), Status::Valid);
    }
    let seal_of = |op| {
        frames
            .iter()
            .find(|frame| frame.operations[0].id == op)
            .expect("written")
            .id
    };
    let mut seals = vec![seal_of(left), seal_of(right)];
    seals.sort_unstable();
    let mut operations = vec![left, right];
    operations.sort_unstable();
    let author = member.id();
    assert_eq!(
        state.view().findings(),
        [
            Finding::SealFork {
                author,
                counter: 2,
                seals: seals.clone()
            },
            Finding::OperationFork {
                author,
                namespace: DIARY,
                sequence: 2,
                operations,
                seals
            },
        ],
        "once, where the branches part"
    );
}

#[test]
fn holes_forks_and_withheld_seals_are_named() {
    let (mut root, mut member, id, mut frames) = pair(Right::Append);
    let start = frames.len();
    for _ in 0..6 {
        one(&mut member, id, DIARY, add(), &mut frames);
    }
    let author = member.id();
    let head = |at: usize| Head {
        author,
        counter: frames[at].seal.counter,
        seal: frames[at].id,
    };
    let newest = head(start + 5);
    // The root has seen all six, and another third than is here.
    let checkpoint_op = write(&mut root, R, CONTROL, vec![checkpoint(vec![newest])]);
    let other = Head {
        author,
        counter: 3,
        seal: SealId([3; 32]),
    };
    let other_op = write(&mut root, R, CONTROL, vec![checkpoint(vec![other])]);
    let mut stranger = device(9);
    let wild = Head {
        author,
        counter: u64::MAX,
        seal: SealId([4; 32]),
    };
    let noise = write(&mut stranger, id, CONTROL, vec![checkpoint(vec![wild])]);
    let here = [0, start, start + 2, start + 3].map(|at| &frames[at]);
    let mut state = fold(here.into_iter().chain([&checkpoint_op, &other_op, &noise]));
    let findings = state.view().findings();
    let witness = root.id();
    let checkpoint = checkpoint_op.operations[0].id;
    assert_eq!(
        findings,
        [
            Finding::SealGap {
                author,
                first: 2,
                last: 2
            },
            Finding::Withheld {
                author,
                have: 4,
                seen: 6,
                seal: newest.seal,
                witness,
                checkpoint
            },
            Finding::SeenOtherwise {
                author,
                counter: 3,
                seal: other.seal,
                witness,
                checkpoint: other_op.operations[0].id
            },
        ]
    );
    frames.iter().for_each(|frame| insert(&mut state, frame));
    assert_eq!(
        state.view().findings().len(),
        1,
        "only what the root has seen otherwise is left"
    );
    // A member that counts may cry wolf, by name.
    let mut liar = member.clone();
    insert(
        &mut state,
        &write(
            &mut liar,
            id,
            CONTROL,
            vec![common::checkpoint(vec![Head {
                author: witness,
                ..wild
            }])],
        ),
    );
    let claimed = state.view().findings().into_iter().any(|finding| {
        matches!(finding, Finding::Withheld { seen: u64::MAX, witness, .. } if witness == member.id())
    });
    assert!(claimed);
}

#[test]
fn counters_and_sequences_at_the_end_of_their_range_do_no_harm() {
    let (_, mut member, id, mut frames) = pair(Right::Append);
    member.counter = u64::MAX - 1;
    member.last_seal = SealId([1; 32]);
    member.tips.insert(DIARY, (u64::MAX - 2, OpId([2; 32])));
    let far = one(&mut member, id, DIARY, add(), &mut frames);
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, far), Status::Valid);
    let gap = Finding::SealGap {
        author: member.id(),
        first: 1,
        last: u64::MAX - 1,
    };
    assert_eq!(state.view().findings(), [gap]);
    let mut beyond = frames.last().expect("written").clone();
    beyond.seal.first = u64::MAX;
    assert_eq!(
        state.insert(SealId([6; 32]), &beyond.seal, Some(&beyond.operations)),
        Err(Refused::Seal)
    );
}

#[test]
fn what_is_no_frame_of_this_vault_is_refused_and_changes_nothing() {
    let (_, mut member, id, mut frames) = pair(Right::Append);
    one(&mut member, id, DIARY, add(), &mut frames);
    let good = frames[1].clone();
    let mut state = fold(&frames[..1]);
    let before = picture(&state.view());
    let mut refuse = |seal: Seal, operations: &[Operation], error| {
        assert_eq!(
            state.insert(SealId([6; 32]), &seal, Some(operations)),
            Err(error)
        );
        assert_same(&picture(&state.view()), &before);
    };
    let foreign = Seal {
        vault: VaultId([8; 32]),
        ..good.seal
    };
    refuse(
        foreign,
        &good.operations,
        Refused::ForeignVault(VaultId([8; 32])),
    );
    refuse(good.seal, &[], Refused::Operations);
    refuse(
        Seal {
            head: OpId([1; 32]),
            ..good.seal
        },
        &good.operations,
        Refused::Operations,
    );
    refuse(
        Seal {
            count: 2,
            ..good.seal
        },
        &good.operations,
        Refused::Operations,
    );
    refuse(
        Seal {
            namespace: ALL,
            ..good.seal
        },
        &good.operations,
        Refused::Seal,
    );
    refuse(
        Seal {
            first: 0,
            ..good.seal
        },
        &good.operations,
        Refused::Seal,
    );
    refuse(
        Seal {
            namespace: CONTROL,
            ..good.seal
        },
        &good.operations,
        Refused::Kind(good.seal.head),
    );
    let mut bare = good.operations.clone();
    (bare[0].kind, bare[0].fact) = (OpKind::Rotate, Fact::Redacted);
    refuse(
        Seal {
            namespace: CONTROL,
            ..good.seal
        },
        &bare,
        Refused::Kind(good.seal.head),
    );
}

/// Ids are hashes, so none of these can be made; the fold ends all the same.
#[test]
fn cycles_end() {
    let mut member = device(1);
    let mut root = root();
    let mut frames = Vec::new();
    // Two grants that are each other's parent, each made under the other.
    let (a, b) = (GrantId([0xa; 32]), GrantId([0xb; 32]));
    for (id, parent) in [(a, b), (b, a)] {
        let draft = grant(parent, member.card, 3, None, &[(ALL, Right::Admin)]);
        let mut frame = write(&mut member, parent, CONTROL, vec![draft]);
        frame.operations[0].id = id.operation();
        frame.seal.head = id.operation();
        frames.push(frame);
    }
    // Two versions that supersede each other, two operations that name each other as the one before.
    let (x, y) = (OpId([0xc; 32]), OpId([0xd; 32]));
    for (id, target) in [(x, y), (y, x)] {
        let mut frame = write(&mut root, R, DIARY, vec![supersede(&[target])]);
        frame.operations[0].id = id;
        (frame.seal.head, frame.seal.before, frame.seal.first) = (id, target, 5);
        frames.push(frame);
    }
    one(
        &mut root,
        R,
        CONTROL,
        revoke(a, Revocation { frontier: vec![] }),
        &mut frames,
    );
    let mut state = fold(&frames);
    assert_eq!(why(&mut state, a.operation()), Some(Void::GrantVoid));
    assert_eq!(status(&mut state, x), Status::Superseded);
    assert_eq!(state.view().record(&x).expect("a version").shown, None);
    assert!(
        state
            .view()
            .findings()
            .contains(&Finding::OperationUnlinked { operation: x })
    );
}

#[test]
fn a_removed_admin_holds_no_key_that_others_write_with() {
    let (mut root, mut admin, id, mut frames) = pair(Right::Admin);
    one(
        &mut root,
        R,
        CONTROL,
        rotate(DIARY, 1, 1, false),
        &mut frames,
    );
    // The greatest number there is: nobody could rotate after it.
    let spite = one(
        &mut admin,
        id,
        CONTROL,
        rotate(DIARY, u32::MAX, 9, true),
        &mut frames,
    );
    let mut state = fold(&frames);
    let keys = state.view().keys(&DIARY, |_| None);
    assert_eq!(
        (keys.write_with, keys.next_number, keys.dropped_below()),
        (Some(1), None, Some(u32::MAX))
    );
    // Seen and revoked, it is spoiled, and the numbers go on from the last good key.
    one(
        &mut root,
        R,
        CONTROL,
        revoke(id, admin.frontier()),
        &mut frames,
    );
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, spite), Status::Valid);
    let keys = state.view().keys(&DIARY, |_| None);
    assert_eq!(
        (keys.write_with, keys.next_number, keys.dropped_below()),
        (Some(0), Some(2), None)
    );
    assert!(keys.keys[1].spoiled && !keys.is_spoiled());
    // A keyring with a stranger among its recipients spoils its key too; then there is none left.
    let stranger = |keyring: &KeyringId| {
        let to_strangers = *keyring == KeyringId([1; 32]);
        Some(Delivery {
            to_strangers,
            older: vec![],
        })
    };
    let all = state.view().keys(&DIARY, stranger);
    assert!(all.is_spoiled());
    assert_eq!((all.write_with, all.next_number), (Some(1), Some(1)));
    one(
        &mut root,
        R,
        CONTROL,
        rotate(DIARY, 2, 2, true),
        &mut frames,
    );
    let keys = fold(&frames).view().keys(&DIARY, |_| None);
    assert_eq!((keys.write_with, keys.dropped_below()), (Some(1), Some(2)));
    assert_eq!(keys.keys[1].key, KeyCommitment([2; 32]));
}

#[test]
fn who_may_rotate_and_create() {
    let mut root = root();
    let (mut narrow, mut wide) = (device(1), device(2));
    let mut frames = Vec::new();
    let few = one(
        &mut root,
        R,
        CONTROL,
        grant(
            R,
            narrow.card,
            0,
            None,
            &[(DIARY, Right::Admin), (HEALTH, Right::Curate)],
        ),
        &mut frames,
    )
    .grant();
    let many = one(
        &mut root,
        R,
        CONTROL,
        grant(R, wide.card, 0, None, &[(ALL, Right::Admin)]),
        &mut frames,
    )
    .grant();
    let mut attempt = |pen: &mut Pen, under, namespace, number| {
        let op = one(
            pen,
            under,
            CONTROL,
            rotate(namespace, number, 1, false),
            &mut frames,
        );
        why(&mut fold(&frames), op)
    };
    let needs = |has| {
        Some(Void::NeedsRight {
            needs: Right::Admin,
            has,
        })
    };
    assert_eq!(attempt(&mut narrow, few, DIARY, 2), None);
    assert_eq!(
        attempt(&mut narrow, few, HEALTH, 2),
        needs(Some(Right::Curate))
    );
    assert_eq!(attempt(&mut narrow, few, DIARY, 1), needs(None));
    assert_eq!(attempt(&mut wide, many, HEALTH, 1), None);
    let readers = fold(&frames).view().readers(&HEALTH);
    assert_eq!(readers.len(), 3);
}

#[test]
fn the_log_names_run_and_receipt_until_they_are_redacted() {
    let mut root = root();
    let (run, receipt) = (Some(RunId([4; 32])), Some(ReceiptDigest([5; 32])));
    let mut frames = Vec::new();
    let op = one(
        &mut root,
        R,
        DIARY,
        Draft {
            fact: Fact::Data { run, receipt },
            ..add()
        },
        &mut frames,
    );
    let mut bare = frames[0].clone();
    bare.operations[0].fact = Fact::Redacted;
    // The copy without the body came first.
    let mut state = fold([&bare]);
    assert_eq!(
        state.view().findings(),
        [Finding::BodyMissing { operation: op }]
    );
    insert(&mut state, &frames[0]);
    let row = state.view().row(&op).expect("here");
    assert_eq!(
        (row.run, row.receipt, row.status, row.why),
        (run, receipt, Status::Valid, None)
    );
    assert_same(&picture(&state.view()), &picture(&fold(&frames).view()));
    one(&mut root, R, DIARY, redact(&[op]), &mut frames);
    let mut state = fold(&frames);
    let row = state.view().row(&op).expect("here");
    assert_eq!(
        (row.run, row.receipt, row.status),
        (None, None, Status::Redacted)
    );
    assert!(fold([&bare, &frames[1]]).view().findings().is_empty());
}

#[test]
fn the_state_hash_is_the_one_of_the_page() {
    let (mut root, mut member, id, mut frames) = pair(Right::Append);
    let first = one(&mut member, id, DIARY, add(), &mut frames);
    let second = one(&mut member, id, DIARY, supersede(&[first]), &mut frames);
    let third = one(&mut root, R, DIARY, add(), &mut frames);
    let gone = one(&mut root, R, DIARY, retract(&[third]), &mut frames);
    let void = one(&mut device(9), id, DIARY, add(), &mut frames);
    let mut rows = [
        (id.operation(), 1),
        (first, 2),
        (second, 1),
        (third, 3),
        (gone, 1),
    ];
    rows.sort_unstable();
    let mut bytes = VAULT.0.to_vec();
    for (op, status) in rows {
        bytes.extend_from_slice(&op.0);
        bytes.push(status);
    }
    let mut state = fold(&frames);
    assert_eq!(status(&mut state, void), Status::Void);
    assert_eq!(state.view().state_hash(), *blake3::hash(&bytes).as_bytes());
}

#[test]
fn a_hundred_thousand_revocations_forks_and_waiting_targets_are_taken_in_stride() {
    const MANY: usize = 100_000;
    let (mut root, mut member, id, mut frames) = pair(Right::Admin);
    let kept = one(&mut member, id, DIARY, add(), &mut frames);
    let seen = member.frontier();
    let base = member.clone();
    // Each of so many forks hangs on the one before; each grant is the member's own, and given up at once.
    let later = one(&mut member, id, DIARY, add(), &mut frames);
    for number in 0..MANY {
        if number % 2 == 0 {
            let mut branch = member.clone();
            branch.clock += 5;
            frames.push(write(&mut branch, id, DIARY, vec![add()]));
        }
        frames.push(write(
            &mut member,
            id,
            DIARY,
            vec![retract(&[OpId([0xee; 32])])],
        ));
    }
    let mut own = base.clone();
    for number in 0..MANY / 10 {
        let draft = grant(id, own.card, 2, None, &[(ALL, Right::Append)]);
        let sub = one(&mut own, id, CONTROL, draft, &mut frames).grant();
        let mut namespace = [7; 16];
        namespace[..8].copy_from_slice(&(number as u64).to_be_bytes());
        one(&mut own, sub, NamespaceId(namespace), add(), &mut frames);
        one(
            &mut own,
            id,
            CONTROL,
            revoke(sub, Revocation { frontier: vec![] }),
            &mut frames,
        );
    }
    for number in 0..MANY {
        let mut frontier = seen.clone();
        if number == MANY / 2 {
            frontier.frontier.clear();
        }
        if number % 2 == 0 {
            frontier.frontier.push(LogPosition {
                namespace: HEALTH,
                sequence: 1,
                operation: later,
            });
        }
        frames.push(write(&mut root, R, CONTROL, vec![revoke(id, frontier)]));
    }
    let narrowest = frames.len() - MANY / 2;
    let mut state = fold(
        frames
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != narrowest)
            .map(|(_, frame)| frame),
    );
    assert_eq!(status(&mut state, kept), Status::Valid);
    assert_eq!(why(&mut state, later), Some(Void::Revoked));
    insert(&mut state, &frames[narrowest]);
    assert_eq!(why(&mut state, kept), Some(Void::Revoked));
    assert!(state.view().findings().len() > MANY / 2);
    let rows = state.view().log().len();
    assert_eq!(rows, state.len());
}

/// A figure that is the same each time: what an operation costs in memory, in frames of a hundred and of one.
#[test]
fn an_operation_costs_few_bytes() {
    for (size, most) in [(100, 100), (1, 200)] {
        let (_, mut member, id, mut frames) = pair(Right::Append);
        for _ in 0..200_000 / size {
            frames.push(write(&mut member, id, DIARY, vec![add(); size]));
        }
        let mut state = fold(&frames);
        let _ = state.view();
        let bytes = state.memory() / state.len();
        assert!(
            bytes <= most,
            "{bytes} bytes for each operation in frames of {size}"
        );
    }
}
