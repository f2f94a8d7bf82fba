//! A key that somebody who was removed may have is passed over, whoever's rotation had the greater number.

mod common;

use common::*;
use tally_vault_format::*;
use tally_vault_state::Delivery;

struct World {
    frames: Vec<Sealed>,
    root: Pen,
    admins: [Pen; 2],
    grants: [GrantId; 2],
}

fn world() -> World {
    let mut frames = Vec::new();
    let mut root = root();
    let admins = [1, 2].map(|number| Pen::new(card(MemberKind::Device, number)));
    let grants = [0, 1].map(|at: usize| {
        let grant = grant(
            GrantId::ROOT,
            admins[at].card,
            1,
            None,
            &[(ALL, Right::Admin)],
        );
        GrantId(one(&mut root, GrantId::ROOT, CONTROL, grant, &mut frames).0)
    });
    World {
        frames,
        root,
        admins,
        grants,
    }
}

impl World {
    fn rotate(&mut self, admin: usize, number: u32, key: u8) {
        let draft = rotate(DIARY, number, key, false);
        one(
            &mut self.admins[admin],
            self.grants[admin],
            CONTROL,
            draft,
            &mut self.frames,
        );
    }

    /// The key to write with, and whether it is spoiled; `delivers` says what the keyrings of these keys do.
    fn write_with(&self, delivers: &[(u8, bool, &[u8])]) -> (u8, bool, Option<u32>) {
        let mut fold = fold(&self.frames);
        let keys = fold.view().keys(&DIARY, |ring| {
            let (_, to_strangers, older) = delivers
                .iter()
                .find(|(key, ..)| *ring == KeyringId([*key; 32]))?;
            let older = older.iter().map(|key| KeyCommitment([*key; 32])).collect();
            Some(Delivery {
                to_strangers: *to_strangers,
                older,
            })
        });
        let key = &keys.keys[keys.write_with.expect("there are keys")];
        (key.key.0[0], key.spoiled, keys.next_number)
    }
}

#[test]
fn of_two_rotations_at_once_the_one_that_leaves_the_removed_out_is_written_with() {
    let mut world = world();
    world.rotate(0, 1, 10);
    world.rotate(0, 2, 20);
    world.rotate(1, 3, 30);
    assert_eq!(world.write_with(&[(30, false, &[])]), (30, false, Some(4)));
    assert_eq!(world.write_with(&[(30, true, &[])]), (20, false, Some(3)));
}

#[test]
fn an_older_key_that_came_along_is_spoiled_too() {
    let mut world = world();
    world.rotate(0, 1, 10);
    world.rotate(0, 2, 20);
    assert_eq!(world.write_with(&[(20, true, &[])]), (10, false, Some(2)));
    assert_eq!(world.write_with(&[(20, true, &[10])]), (20, true, Some(1)));
}

#[test]
fn a_removed_admin_knows_the_keys_it_made_and_those_it_passed_on() {
    let mut world = world();
    world.rotate(0, 1, 10);
    world.rotate(1, 2, 20);
    let frontier = world.admins[1].frontier();
    let draft = revoke(world.grants[1], frontier);
    one(
        &mut world.root,
        GrantId::ROOT,
        CONTROL,
        draft,
        &mut world.frames,
    );
    assert_eq!(world.write_with(&[(20, false, &[])]), (10, false, Some(2)));
    assert_eq!(world.write_with(&[(20, false, &[10])]), (20, true, Some(1)));
}
