//! Single objects, each with one fault.

use rand_chacha::rand_core::Rng as _;
use tally_vault_format::{Genesis, Identity, MemberKind, Seed, Slot, SlotCost, Time, VaultId};

use crate::{
    manifest::{Manifest, Object},
    raw::{self, Place},
};

const ROOT: [u8; 32] = [1; 32];
const DEVICE: [u8; 32] = [2; 32];
const OTHER: [u8; 32] = [3; 32];
const EPOCH_KEY: [u8; 32] = [0x42; 32];
const NAMESPACE: [u8; 16] = [0x0a; 16];
const PASSPHRASE: &str = "correct horse battery staple";

/// Everything that the objects share.
struct World {
    genesis: Vec<u8>,
    vault: VaultId,
    data: Place,
    control: Place,
}

pub(crate) fn write(manifest: &mut Manifest) {
    let root = Identity::new(MemberKind::Root, Seed::from_bytes(ROOT));
    let genesis = Genesis::new(
        &root,
        Time::from_millis(1_795_000_000_000),
        &mut raw::rng("genesis"),
    );
    let vault = genesis.vault_id();
    let device = Identity::new(MemberKind::Device, Seed::from_bytes(DEVICE));
    let control = Place {
        vault: vault.0,
        namespace: [0; 16],
        author: device.member().0,
        grant: [0x99; 32],
        key: None,
    };
    let data = Place {
        namespace: NAMESPACE,
        key: Some(EPOCH_KEY),
        ..control.clone()
    };
    let world = World {
        genesis: genesis.encode().to_vec(),
        vault,
        data,
        control,
    };
    genesis_objects(manifest, &world);
    slot_objects(manifest, &world);
    keyring_objects(manifest, &world);
    frame_objects(manifest, &world);
    data_objects(manifest, &world);
    control_objects(manifest, &world);
    rebox_objects(manifest, &world);
    segment_objects(manifest, &world);
    portable_objects(manifest, &world);
    blob_objects(manifest, &world);
    text_objects(manifest, &world);
}

fn flipped(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1;
    bytes
}

fn genesis_objects(manifest: &mut Manifest, world: &World) {
    let valid = &world.genesis;
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        manifest.object(
            Object::new("genesis", name, class, code, error, what).vault(&world.vault),
            bytes,
        );
    };
    put("valid", "success", "", "", "a genesis", valid);
    put(
        "cut",
        "header",
        "genesis.damaged",
        "Length { found: 244 }",
        "without its last byte",
        &valid[..244],
    );
    put(
        "empty",
        "header",
        "genesis.damaged",
        "Length { found: 0 }",
        "no bytes",
        &[],
    );
    put(
        "trailing",
        "header",
        "genesis.damaged",
        "Length { found: 246 }",
        "one byte more",
        &[valid, &[0][..]].concat(),
    );
    put(
        "magic",
        "header",
        "genesis.damaged",
        "Magic",
        "another first byte",
        &flipped(valid, 0),
    );
    let again = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = valid.clone();
        edit(&mut bytes);
        raw::sign_again(&ROOT, "genesis", &mut bytes);
        bytes
    };
    put(
        "version",
        "header",
        "genesis.version",
        "Version(2)",
        "version 2, truly signed",
        &again(&|b| b[9] = 2),
    );
    put(
        "suite",
        "header",
        "genesis.version",
        "Suite(3)",
        "suite 3, truly signed",
        &again(&|b| b[11] = 3),
    );
    put(
        "suite-former",
        "header",
        "genesis.version",
        "Suite(1)",
        "suite 1, of before the first release: another layout of blobs",
        &again(&|b| b[11] = 1),
    );
    let card = |kind, receive: &[u8; 32]| {
        let card = raw::card(&ROOT, kind, receive);
        again(&|b| b[52..181].copy_from_slice(&card))
    };
    let receive = raw::receive_key(&ROOT);
    put(
        "not-root",
        "header",
        "genesis.damaged",
        "NotRoot(Device)",
        "a device's card",
        &card(2, &receive),
    );
    put(
        "kind",
        "header",
        "genesis.damaged",
        "Card(UnknownKind(5))",
        "a card of kind 5",
        &card(5, &receive),
    );
    let mut order_8 = [0; 32];
    order_8.copy_from_slice(
        &hex::decode("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800").unwrap(),
    );
    put(
        "receive-zero",
        "header",
        "genesis.damaged",
        "Card(ReceiveKey)",
        "receive key 0, truly signed",
        &card(0, &[0; 32]),
    );
    put(
        "receive-order-8",
        "header",
        "genesis.damaged",
        "Card(ReceiveKey)",
        "receive key of order 8, truly signed",
        &card(0, &order_8),
    );
    let mut high_bit = receive;
    high_bit[31] |= 0x80;
    put(
        "receive-not-canonical",
        "header",
        "genesis.damaged",
        "Card(ReceiveKey)",
        "receive key with its highest bit set",
        &card(0, &high_bit),
    );
    let mut weak = raw::card(&ROOT, 0, &receive);
    weak[1..33].copy_from_slice(&[[1].as_slice(), &[0; 31]].concat());
    put(
        "sign-small-order",
        "header",
        "genesis.damaged",
        "Card(SigningKey)",
        "signing key of order 1",
        &again(&|b| b[52..181].copy_from_slice(&weak)),
    );
    let foreign = raw::card(&ROOT, 0, &raw::receive_key(&OTHER));
    put(
        "cross-flipped",
        "header",
        "genesis.damaged",
        "Card(CrossSignature)",
        "cross signature with one bit changed",
        &again(&|b| b[117] ^= 1),
    );
    put(
        "receive-foreign",
        "header",
        "genesis.damaged",
        "Card(CrossSignature)",
        "somebody else's receive key under the root's cross signature",
        &again(&|b| b[85..117].copy_from_slice(&foreign[33..65])),
    );
    put(
        "random-flipped",
        "mac",
        "genesis.damaged",
        "Signature",
        "random with one bit changed",
        &flipped(valid, 12),
    );
    put(
        "created-flipped",
        "mac",
        "genesis.damaged",
        "Signature",
        "time with one bit changed",
        &flipped(valid, 44),
    );
    put(
        "signature-flipped",
        "mac",
        "genesis.damaged",
        "Signature",
        "signature with one bit changed",
        &flipped(valid, 181),
    );
    let mut malleable = valid.clone();
    add_group_order(malleable[213..].as_mut_array().unwrap());
    put(
        "signature-malleable",
        "mac",
        "genesis.damaged",
        "Signature",
        "s of the signature plus the group's order",
        &malleable,
    );
}

/// s + L, little-endian.
fn add_group_order(s: &mut [u8; 32]) {
    const L: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0;
    for (s, l) in s.iter_mut().zip(hex::decode(L).unwrap()) {
        let sum = u16::from(*s) + u16::from(l) + carry;
        *s = sum as u8;
        carry = sum >> 8;
    }
}

fn slot_objects(manifest: &mut Manifest, world: &World) {
    let seed = DEVICE;
    let device = Identity::new(MemberKind::Slot, Seed::from_bytes(seed));
    let valid = Slot::seal(
        world.vault,
        &device,
        PASSPHRASE,
        SlotCost::LEAST,
        &mut raw::rng("slot"),
    )
    .unwrap();
    let valid = valid.encode().to_vec();
    let mut put = |name: &str,
                   class: &str,
                   code: &str,
                   error: &str,
                   what: &str,
                   bytes: &[u8],
                   passphrase: &str| {
        manifest.object(
            Object::new("slot", name, class, code, error, what)
                .vault(&world.vault)
                .with("passphrase", passphrase)
                .with(
                    "seed",
                    &if class == "success" {
                        hex::encode(seed)
                    } else {
                        String::new()
                    },
                ),
            bytes,
        );
    };
    put(
        "valid",
        "success",
        "",
        "",
        "the least cost",
        &valid,
        PASSPHRASE,
    );
    put(
        "wrong-passphrase",
        "no match",
        "passphrase",
        "Passphrase",
        "another passphrase",
        &valid,
        "correct horse battery stable",
    );
    let composed = Slot::seal(
        world.vault,
        &device,
        "caf\u{e9} \u{212b} \u{fb01}",
        SlotCost::LEAST,
        &mut raw::rng("slot-nfkc"),
    )
    .unwrap();
    put(
        "nfkc",
        "success",
        "",
        "",
        "a passphrase that is typed in another Unicode form than it was set in",
        composed.encode(),
        "cafe\u{301} \u{c5} fi",
    );
    put(
        "cut",
        "header",
        "slot.damaged",
        "Length { found: 334 }",
        "without its last byte",
        &valid[..334],
        PASSPHRASE,
    );
    put(
        "trailing",
        "header",
        "slot.damaged",
        "Length { found: 336 }",
        "one byte more",
        &[&valid, &[0][..]].concat(),
        PASSPHRASE,
    );
    put(
        "magic",
        "header",
        "slot.damaged",
        "Magic",
        "another first byte",
        &flipped(&valid, 0),
        PASSPHRASE,
    );
    let again = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = valid.clone();
        edit(&mut bytes);
        raw::sign_again(&seed, "slot", &mut bytes);
        bytes
    };
    put(
        "version",
        "header",
        "slot.damaged",
        "Version(2)",
        "version 2, truly signed",
        &again(&|b| b[9] = 2),
        PASSPHRASE,
    );
    put(
        "foreign",
        "header",
        "slot.damaged",
        &format!("ForeignVault(VaultId({}))", "07".repeat(32)),
        "of another vault, truly signed",
        &again(&|b| b[10..42].fill(7)),
        PASSPHRASE,
    );
    let cost = |memory: u32, passes: u32, lanes: u32| {
        again(&|b| {
            b[171..175].copy_from_slice(&memory.to_be_bytes());
            b[175..179].copy_from_slice(&passes.to_be_bytes());
            b[179..183].copy_from_slice(&lanes.to_be_bytes());
        })
    };
    for (name, memory, passes, lanes) in [
        ("memory-below", 65_535, 2, 1),
        ("memory-above", 2_097_153, 2, 1),
        ("passes-below", 65_536, 1, 1),
        ("passes-above", 65_536, 17, 1),
        ("lanes-below", 65_536, 2, 0),
        ("lanes-above", 65_536, 2, 9),
        ("work-above", 2_097_152, 4, 1),
        ("bomb", u32::MAX, u32::MAX, u32::MAX),
    ] {
        let error = format!("Cost {{ memory_kib: {memory}, passes: {passes}, lanes: {lanes} }}");
        put(
            name,
            "header",
            "slot.damaged",
            &error,
            "a cost out of bounds, truly signed",
            &cost(memory, passes, lanes),
            PASSPHRASE,
        );
    }
    for (name, place, what) in [
        ("memory-changed", 174, "memory changed within its bounds"),
        ("passes-changed", 178, "passes changed within their bounds"),
        ("salt-flipped", 183, "salt with one bit changed"),
        ("nonce-flipped", 199, "nonce with one bit changed"),
        ("sealed-flipped", 223, "sealed seed with one bit changed"),
        ("signature-flipped", 271, "signature with one bit changed"),
    ] {
        put(
            name,
            "mac",
            "slot.damaged",
            "Signature",
            what,
            &flipped(&valid, place),
            PASSPHRASE,
        );
    }
    put(
        "kind-changed",
        "header",
        "slot.damaged",
        "Card(CrossSignature)",
        "the card's kind changed",
        &flipped(&valid, 42),
        PASSPHRASE,
    );
    put(
        "sealed-flipped-signed",
        "no match",
        "passphrase",
        "Passphrase",
        "sealed seed with one bit changed, truly signed",
        &again(&|b| b[223] ^= 1),
        PASSPHRASE,
    );
    let other = Identity::new(MemberKind::Slot, Seed::from_bytes(OTHER));
    let mut swapped = Slot::seal(
        world.vault,
        &device,
        PASSPHRASE,
        SlotCost::LEAST,
        &mut raw::rng("slot-swapped"),
    )
    .unwrap()
    .encode()
    .to_vec();
    swapped[42..171].copy_from_slice(&other.card().encode());
    reseal_seed(&mut swapped, &seed);
    raw::sign_again(&OTHER, "slot", &mut swapped);
    put(
        "other-seed",
        "no match",
        "passphrase",
        "Passphrase",
        "opens, but to another seed than the card's",
        &swapped,
        PASSPHRASE,
    );
}

/// Seals `seed` again under the header as it is now.
fn reseal_seed(slot: &mut [u8], seed: &[u8; 32]) {
    let mut kek = [0; 32];
    let params = argon2::Params::new(65_536, 2, 1, Some(32)).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(PASSPHRASE.as_bytes(), &slot[183..199], &mut kek)
        .unwrap();
    let okm = raw::x("slot key", &[&kek, &slot[..199]], 64);
    let nonce: [u8; 24] = slot[199..223].try_into().unwrap();
    slot[223..271].copy_from_slice(&raw::xchacha(&okm[..32], &nonce, seed, &okm[32..]));
}

fn keyring_objects(manifest: &mut Manifest, world: &World) {
    let place = &world.data;
    let commitment = raw::h(
        "key commitment",
        &[&EPOCH_KEY, &place.vault, &place.namespace],
    );
    let mut text = [EPOCH_KEY.to_vec(), vec![6], b"health".to_vec()].concat();
    text.resize(96, 0);
    let device = raw::receive_key(&DEVICE);
    let recipients = [raw::receive_key(&ROOT), device];
    let make = |name: &str, older: &[u8], text: &[u8]| {
        raw::keyring(
            place,
            2,
            &commitment,
            older,
            &recipients,
            text,
            &mut raw::rng(name),
        )
    };
    let old_key = [0x41; 32];
    let older_entry = |key: &[u8; 32], sealed: &[u8; 32], nonce: u8| {
        let commitment = raw::h("key commitment", &[key, &place.vault, &place.namespace]);
        let aad = [&place.vault[..], &place.namespace, &commitment].concat();
        let sealed = raw::xchacha(
            &raw::x("older", &[&EPOCH_KEY], 32),
            &[nonce; 24],
            sealed,
            &aad,
        );
        [&commitment[..], &[nonce; 24], &sealed].concat()
    };
    let older = older_entry(&old_key, &old_key, 1);
    let valid = make("keyring", &older, &text);
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        let seed = if name == "no-match" { OTHER } else { DEVICE };
        let mut object = Object::new("keyring", name, class, code, error, what)
            .vault(&world.vault)
            .with("member_seed", &hex::encode(seed));
        if class == "success" {
            object = object
                .with("key", &hex::encode(EPOCH_KEY))
                .with("name", "health")
                .with("older", &hex::encode(old_key));
        }
        manifest.object(object, bytes);
    };
    put(
        "valid",
        "success",
        "",
        "",
        "two recipients, one older key",
        &valid,
    );
    put(
        "no-match",
        "no match",
        "",
        "NoMatch",
        "opened by a member that it is not for",
        &valid,
    );
    put(
        "cut",
        "header",
        "keyring.damaged",
        "Truncated",
        "without its last byte",
        &valid[..valid.len() - 1],
    );
    put(
        "trailing",
        "header",
        "keyring.damaged",
        "Trailing",
        "one byte more",
        &[&valid, &[0][..]].concat(),
    );
    put(
        "magic",
        "header",
        "keyring.damaged",
        "Magic",
        "another first byte",
        &flipped(&valid, 0),
    );
    put(
        "version",
        "header",
        "keyring.damaged",
        "Version(0)",
        "version 0",
        &flipped(&valid, 9),
    );
    put(
        "foreign",
        "header",
        "keyring.damaged",
        &format!("ForeignVault(VaultId({}))", "07".repeat(32)),
        "of another vault",
        &{
            let mut bytes = valid.clone();
            bytes[10..42].fill(7);
            bytes
        },
    );
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = valid.clone();
        edit(&mut bytes);
        bytes
    };
    put(
        "number-0",
        "header",
        "keyring.damaged",
        "Place",
        "number 0",
        &edited(&|b| b[58..62].fill(0)),
    );
    put(
        "of-control",
        "header",
        "keyring.damaged",
        "Place",
        "for control",
        &edited(&|b| b[42..58].fill(0)),
    );
    put(
        "no-stanzas",
        "header",
        "keyring.damaged",
        "StanzaCount(0)",
        "no stanzas",
        &edited(&|b| {
            b.truncate(201);
            b[199..201].fill(0);
        }),
    );
    put(
        "stanzas-above",
        "header",
        "keyring.damaged",
        "StanzaCount(4097)",
        "says 4,097 stanzas and has two",
        &edited(&|b| b[199..201].copy_from_slice(&4_097u16.to_be_bytes())),
    );
    put(
        "stanzas-unsorted",
        "header",
        "keyring.damaged",
        "StanzaOrder",
        "stanzas in descending order",
        &edited(&|b| b[201..].rotate_left(160)),
    );
    put(
        "stanzas-doubled",
        "header",
        "keyring.damaged",
        "StanzaOrder",
        "one stanza twice",
        &edited(&|b| b.copy_within(201..361, 361)),
    );
    let second = older_entry(&[0x40; 32], &[0x40; 32], 2);
    let mut entries = [older.clone(), second];
    entries.sort();
    entries.reverse();
    put(
        "older-unsorted",
        "header",
        "keyring.damaged",
        "OlderOrder",
        "older keys in descending order",
        &make("older-unsorted", &entries.concat(), &text),
    );
    let place_of = |bytes: &[u8]| {
        let id = raw::h("recipient", &[&place.vault, &place.namespace, &device]);
        201 + 160 * usize::from(bytes[201..217] != id[..16])
    };
    put(
        "stanza-flipped",
        "mac",
        "keyring.damaged",
        "Stanza",
        "sealed key with one bit changed",
        &flipped(&valid, place_of(&valid) + 48),
    );
    put(
        "encapsulated-flipped",
        "mac",
        "keyring.damaged",
        "Stanza",
        "encapsulated key with one bit changed",
        &flipped(&valid, place_of(&valid) + 16),
    );
    put(
        "encapsulated-zero",
        "mac",
        "keyring.damaged",
        "Stanza",
        "encapsulated key 0, of small order",
        &edited(&|b| {
            let start = place_of(b) + 16;
            b[start..start + 32].fill(0);
        }),
    );
    put(
        "number-changed",
        "mac",
        "keyring.damaged",
        "Stanza",
        "another number than was sealed",
        &edited(&|b| b[61] = 3),
    );
    put(
        "commitment-changed",
        "mac",
        "keyring.damaged",
        "Stanza",
        "another commitment than was sealed",
        &flipped(&valid, 62),
    );
    put(
        "other-key",
        "commitment",
        "keyring.damaged",
        "Commitment",
        "the stanza truly holds another key than the keyring commits to: two recipients would read different things",
        &make("other-key", &older, &{
            let mut text = text.clone();
            text[0] ^= 1;
            text
        }),
    );
    put(
        "name-padding",
        "payload",
        "keyring.damaged",
        "StanzaContent",
        "a byte behind the name that is not zero",
        &make("name-padding", &older, &{
            let mut text = text.clone();
            text[95] = 1;
            text
        }),
    );
    put(
        "name-length",
        "payload",
        "keyring.damaged",
        "StanzaContent",
        "a name of 64 bytes where 63 have room",
        &make("name-length", &older, &{
            let mut text = text.clone();
            text[32] = 64;
            text
        }),
    );
    let id = raw::h(
        "key commitment",
        &[&old_key, &place.vault, &place.namespace],
    );
    let altered = format!("Older(KeyId({}))", hex::encode(&id[..16]));
    put(
        "older-flipped",
        "mac",
        "keyring.damaged",
        &altered,
        "an older key with one bit changed",
        &flipped(&valid, 95 + 56),
    );
    put(
        "older-other-key",
        "commitment",
        "keyring.damaged",
        &altered,
        "an older key that is not the one its entry commits to",
        &make(
            "older-other-key",
            &older_entry(&old_key, &[0x43; 32], 1),
            &text,
        ),
    );
}

/// Operations as they stand in a box, sealed truly.
fn sealed(place: &Place, operations: &[Vec<u8>], blobs: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let joined = operations.concat();
    let boxed = if place.key.is_some() {
        raw::data_box(
            place,
            operations.len() as u32,
            blobs,
            &raw::plaintext(&joined),
        )
    } else {
        raw::control_box(&joined)
    };
    (seal_over(place, operations, &boxed), boxed)
}

/// A seal that truly tells the ids of these operations, over any box.
fn seal_over(place: &Place, operations: &[Vec<u8>], boxed: &[u8]) -> Vec<u8> {
    let mut previous = [0; 32];
    let mut time = 0;
    for (number, op) in operations.iter().enumerate() {
        previous = raw::op_id(place, number as u64 + 1, &previous, op);
        time = u64::from_be_bytes(op[1..9].try_into().unwrap());
    }
    raw::seal(
        &DEVICE,
        place,
        operations.len() as u32,
        &previous,
        time,
        boxed,
    )
}

fn whole(place: &Place, operations: &[Vec<u8>]) -> Vec<u8> {
    let (seal, boxed) = sealed(place, operations, &[]);
    raw::frame(0, &[&seal, &boxed])
}

const RECORD: &[u8] = b"\0\x09fact/name\"Ada\"";

fn records() -> Vec<Vec<u8>> {
    vec![
        raw::op(1, 10, &[], RECORD),
        raw::op(1, 11, &[], b"\0\x04note"),
    ]
}

/// Puts a frame of the data namespace with its key.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a column of the manifest"
)]
fn put_frame(
    manifest: &mut Manifest,
    world: &World,
    name: &str,
    class: &str,
    code: &str,
    error: &str,
    what: &str,
    bytes: &[u8],
) {
    manifest.object(
        Object::new("frame", name, class, code, error, what)
            .vault(&world.vault)
            .with("epoch_key", &hex::encode(EPOCH_KEY)),
        bytes,
    );
}

fn frame_objects(manifest: &mut Manifest, world: &World) {
    let operations = records();
    let (seal, boxed) = sealed(&world.data, &operations, &[]);
    let valid = raw::frame(0, &[&seal, &boxed]);
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        put_frame(manifest, world, name, class, code, error, what, bytes);
    };
    put("valid", "success", "", "", "two records", &valid);
    put(
        "without-box",
        "success",
        "",
        "",
        "a seal alone, for one who may not have the box",
        &raw::frame(2, &[&seal]),
    );
    put(
        "cut",
        "header",
        "frame.damaged",
        "Truncated",
        "without its last byte",
        &valid[..valid.len() - 1],
    );
    put(
        "trailing",
        "header",
        "frame.damaged",
        "Trailing",
        "one byte more",
        &[&valid, &[0][..]].concat(),
    );
    put(
        "magic",
        "header",
        "frame.damaged",
        "Magic",
        "another first byte",
        &flipped(&valid, 0),
    );
    put(
        "flag-unknown",
        "header",
        "frame.damaged",
        "Flags(4)",
        "a flag that nobody knows",
        &raw::frame(4, &[&seal, &boxed]),
    );
    put(
        "flags-both",
        "header",
        "frame.damaged",
        "Flags(3)",
        "rebox and no box",
        &raw::frame(3, &[&seal]),
    );
    put(
        "length-short",
        "header",
        "frame.damaged",
        "Length(351)",
        "shorter than a seal",
        &raw::frame(0, &[&seal[..351]]),
    );
    put(
        "length-bomb",
        "header",
        "frame.damaged",
        "Length(4294967295)",
        "says four gigabytes",
        &[&[0xf1, 0, 0xff, 0xff, 0xff, 0xff], &seal[..]].concat(),
    );
    put(
        "without-box-but-bytes",
        "header",
        "frame.damaged",
        "Length(353)",
        "bytes where no box is said to be",
        &raw::frame(2, &[&seal, &[0]]),
    );
    put(
        "box-short",
        "header",
        "frame.damaged",
        &format!(
            "BoxLength {{ found: {}, signed: {} }}",
            boxed.len() - 1,
            boxed.len()
        ),
        "the box is shorter than was signed",
        &raw::frame(0, &[&seal, &boxed[..boxed.len() - 1]]),
    );
    put(
        "box-flipped",
        "payload",
        "box.altered",
        "Box(Hash)",
        "the last byte of the box changed",
        &flipped(&valid, valid.len() - 1),
    );
    for (name, place) in [
        ("author-flipped", 32),
        ("grant-flipped", 120),
        ("key-flipped", 152),
        ("head-flipped", 212),
        ("time-flipped", 244),
        ("box-hash-flipped", 256),
        ("signature-flipped", 288),
    ] {
        put(
            &format!("seal-{name}"),
            "mac",
            "seal.forged",
            "Seal(Signature)",
            "one bit of the seal changed",
            &flipped(&valid, 6 + place),
        );
    }
    let again = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut seal = seal.clone();
        edit(&mut seal);
        raw::sign_again(&DEVICE, "seal", &mut seal);
        raw::frame(0, &[&seal, &boxed])
    };
    put(
        "seal-foreign",
        "header",
        "frame.foreign",
        &format!("Seal(ForeignVault(VaultId({})))", "07".repeat(32)),
        "of another vault, truly signed",
        &again(&|s| s[..32].fill(7)),
    );
    put(
        "seal-counter-0",
        "header",
        "frame.damaged",
        "Seal(Chain)",
        "counter 0, truly signed",
        &again(&|s| s[64..72].fill(0)),
    );
    put(
        "seal-counter-1-with-previous",
        "header",
        "frame.damaged",
        "Seal(Chain)",
        "the first seal names one before",
        &again(&|s| s[72..104].fill(9)),
    );
    put(
        "seal-counter-2-without-previous",
        "header",
        "frame.damaged",
        "Seal(Chain)",
        "the second seal names none before",
        &again(&|s| s[71] = 2),
    );
    put(
        "seal-count-0",
        "header",
        "frame.damaged",
        "Seal(Count(0))",
        "no operations",
        &again(&|s| s[176..180].fill(0)),
    );
    put(
        "seal-count-above",
        "header",
        "frame.damaged",
        "Seal(Count(65537))",
        "more operations than fit",
        &again(&|s| s[176..180].copy_from_slice(&65_537u32.to_be_bytes())),
    );
    put(
        "seal-first-0",
        "header",
        "frame.damaged",
        "Seal(Log)",
        "sequence number 0",
        &again(&|s| s[168..176].fill(0)),
    );
    put(
        "seal-first-last",
        "header",
        "frame.damaged",
        "Seal(Log)",
        "sequence numbers beyond 64 bits",
        &again(&|s| {
            s[168..176].fill(0xff);
            s[180..212].fill(9);
        }),
    );
    put(
        "seal-before-contradicts",
        "header",
        "frame.damaged",
        "Seal(Log)",
        "an operation before the first",
        &again(&|s| s[180..212].fill(9)),
    );
    put(
        "seal-namespace-all",
        "header",
        "frame.damaged",
        "Seal(Namespace)",
        "in the namespace that stands for all",
        &again(&|s| s[104..120].fill(0xff)),
    );
    put(
        "seal-data-without-key",
        "header",
        "frame.damaged",
        "Seal(Key)",
        "data without a key",
        &again(&|s| s[152..168].fill(0)),
    );
    put(
        "seal-box-length-above",
        "header",
        "frame.damaged",
        "Seal(BoxLength(6816788))",
        "a box over the limit",
        &again(&|s| s[252..256].copy_from_slice(&6_816_788u32.to_be_bytes())),
    );
    put(
        "count-mismatch",
        "payload",
        "box.unreadable",
        "Box(Commitment)",
        "the seal says three operations: the box has another key then",
        &again(&|s| s[179] = 3),
    );
    put(
        "head-mismatch",
        "payload",
        "box.unreadable",
        "Box(Head)",
        "the seal names another head, truly signed: the chain of operations is broken",
        &again(&|s| s[212] ^= 1),
    );
    put(
        "time-mismatch",
        "payload",
        "box.unreadable",
        "Box(Time { sequence: 2 })",
        "the seal has another time than the last operation",
        &again(&|s| s[251] ^= 1),
    );
}

fn data_objects(manifest: &mut Manifest, world: &World) {
    let place = &world.data;
    let operations = records();
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        put_frame(manifest, world, name, class, code, error, what, bytes);
    };
    // The box itself.
    let joined = operations.concat();
    let boxed = |plaintext: &[u8]| {
        let boxed = raw::data_box(place, 2, &[], plaintext);
        raw::frame(0, &[&seal_over(place, &operations, &boxed), &boxed])
    };
    let plain = raw::plaintext(&joined);
    let mut other = plain.clone();
    *other.last_mut().unwrap() = 1;
    put(
        "box-padding-not-zero",
        "payload",
        "box.unreadable",
        "Box(PaddingNotZero)",
        "the last byte of the padding is 1",
        &boxed(&other),
    );
    let mut other = plain.clone();
    other.resize(plain.len() + 16, 0);
    put(
        "box-padding-long",
        "payload",
        "box.unreadable",
        "Box(Padding)",
        "more padding than Padmé gives",
        &boxed(&other),
    );
    put(
        "box-padding-none",
        "payload",
        "box.unreadable",
        "Box(Padding)",
        "no padding",
        &boxed(&plain[..4 + joined.len()]),
    );
    let mut other = plain.clone();
    other[..4].copy_from_slice(&u32::MAX.to_be_bytes());
    put(
        "box-length-inside",
        "payload",
        "box.unreadable",
        "Box(Padding)",
        "a length inside that the box does not have",
        &boxed(&other),
    );
    put(
        "box-operations-cut",
        "payload",
        "box.unreadable",
        "Box(Operation { sequence: 2, error: Truncated })",
        "the last operation without its last byte",
        &boxed(&raw::plaintext(&joined[..joined.len() - 1])),
    );
    put(
        "box-operation-missing",
        "payload",
        "box.unreadable",
        "Box(Count { expected: 2 })",
        "one operation of two",
        &boxed(&raw::plaintext(&operations[0])),
    );
    put(
        "box-operation-extra",
        "payload",
        "box.unreadable",
        "Box(Count { expected: 2 })",
        "three operations of two",
        &boxed(&raw::plaintext(&[&joined, &operations[1][..]].concat())),
    );
    put(
        "box-operations-swapped",
        "payload",
        "box.unreadable",
        "Box(Time { sequence: 2 })",
        "the operations in another order",
        &boxed(&raw::plaintext(
            &[&operations[1][..], &operations[0]].concat(),
        )),
    );
    let sealed_box = raw::data_box(place, 2, &[], &plain);
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut boxed = sealed_box.clone();
        edit(&mut boxed);
        raw::frame(0, &[&seal_over(place, &operations, &boxed), &boxed])
    };
    put(
        "box-commitment-flipped",
        "commitment",
        "box.unreadable",
        "Box(Commitment)",
        "the commitment with one bit changed, truly sealed",
        &edited(&|b| b[27] ^= 1),
    );
    put(
        "box-salt-flipped",
        "commitment",
        "box.unreadable",
        "Box(Commitment)",
        "the salt with one bit changed, truly sealed",
        &edited(&|b| b[3] ^= 1),
    );
    put(
        "box-tag-flipped",
        "payload",
        "box.unreadable",
        "Box(Chunk { number: 0 })",
        "the tag with one bit changed, truly sealed",
        &edited(&|b| *b.last_mut().unwrap() ^= 1),
    );
    put(
        "box-no-chunks",
        "payload",
        "box.unreadable",
        "Box(Truncated)",
        "no chunks",
        &edited(&|b| b.truncate(59)),
    );
    put(
        "box-empty-chunk",
        "payload",
        "box.unreadable",
        "Box(Truncated)",
        "a tag and nothing in front of it",
        &edited(&|b| b.truncate(75)),
    );
    put(
        "box-form-unknown",
        "header",
        "frame.damaged",
        "Box(UnknownForm(2))",
        "form 2",
        &edited(&|b| b[2] = 2),
    );
    put(
        "box-form-clear",
        "header",
        "frame.damaged",
        "Box(WrongForm(0))",
        "data in clear",
        &edited(&|b| {
            b.truncate(3);
            b[2] = 0;
            b.extend_from_slice(&(joined.len() as u32).to_be_bytes());
            b.extend_from_slice(&joined);
        }),
    );
    let elsewhere = Place {
        key: Some([0x43; 32]),
        ..place.clone()
    };
    let foreign = raw::data_box(&elsewhere, 2, &[], &plain);
    put(
        "box-other-key",
        "commitment",
        "box.unreadable",
        "Box(Commitment)",
        "made with another key than the seal names: two members with different keys would read different things",
        &raw::frame(0, &[&seal_over(place, &operations, &foreign), &foreign]),
    );
    let elsewhere = Place {
        author: [0x55; 32],
        ..place.clone()
    };
    let moved = raw::data_box(&elsewhere, 2, &[], &plain);
    put(
        "box-of-another-author",
        "commitment",
        "box.unreadable",
        "Box(Commitment)",
        "another author's box under this author's seal",
        &raw::frame(0, &[&seal_over(place, &operations, &moved), &moved]),
    );
    // A plaintext of two chunks.
    let big: Vec<Vec<u8>> = (0..2)
        .map(|n| {
            raw::op(
                1,
                10 + n,
                &[],
                &[b"\0\x04note", vec![b'x'; 33_000].as_slice()].concat(),
            )
        })
        .collect();
    let big_box = raw::data_box(place, 2, &[], &raw::plaintext(&big.concat()));
    let big_frame = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut boxed = big_box.clone();
        edit(&mut boxed);
        raw::frame(0, &[&seal_over(place, &big, &boxed), &boxed])
    };
    put(
        "chunks-valid",
        "success",
        "",
        "",
        "two chunks",
        &big_frame(&|_| {}),
    );
    put(
        "chunks-last-missing",
        "payload",
        "box.unreadable",
        "Box(Chunk { number: 0 })",
        "the last chunk left out, truly sealed",
        &big_frame(&|b| b.truncate(59 + 65_552)),
    );
    put(
        "chunks-swapped",
        "payload",
        "box.unreadable",
        "Box(Chunk { number: 0 })",
        "the last chunk first, truly sealed",
        &big_frame(&|b| b[59..].rotate_left(65_552)),
    );
    put(
        "chunks-doubled",
        "payload",
        "box.unreadable",
        "Box(Chunk { number: 1 })",
        "the first chunk twice, truly sealed",
        &big_frame(&|b| {
            let first = b[59..59 + 65_552].to_vec();
            b.splice(59..59, first);
        }),
    );
    // Operations.
    let mut one = |name: &str, error: &str, what: &str, op: Vec<u8>| {
        let error = format!("Box(Operation {{ sequence: 1, error: {error} }})");
        put(
            &format!("op-{name}"),
            "payload",
            "box.unreadable",
            &error,
            what,
            &whole(place, &[op]),
        );
    };
    let target = [0x21; 32];
    let other = [0x22; 32];
    one(
        "kind-unknown",
        "UnknownKind(5)",
        "kind 5",
        raw::op(5, 10, &[], RECORD),
    );
    one(
        "control-in-data",
        "WrongNamespace(Checkpoint)",
        "a checkpoint among data",
        raw::op(19, 10, &[], &[0, 0]),
    );
    one(
        "add-with-target",
        "TargetCount { kind: Add, found: 1 }",
        "an add with a target",
        raw::op(1, 10, &[target], RECORD),
    );
    one(
        "retract-without-target",
        "TargetCount { kind: Retract, found: 0 }",
        "a retract without a target",
        raw::op(3, 10, &[], b""),
    );
    one(
        "targets-above",
        "TargetCount { kind: Retract, found: 65 }",
        "65 targets",
        raw::op(
            3,
            10,
            &std::array::from_fn::<_, 65, _>(|n| [n as u8; 32]),
            b"",
        ),
    );
    one(
        "targets-unsorted",
        "TargetOrder",
        "targets in descending order",
        raw::op(2, 10, &[other, target], RECORD),
    );
    one(
        "targets-doubled",
        "TargetOrder",
        "one target twice",
        raw::op(2, 10, &[target, target], RECORD),
    );
    let mut state = raw::op(1, 10, &[], RECORD);
    state[11] = 2;
    one(
        "state-unknown",
        "UnknownState(2)",
        "a body that is neither present nor redacted",
        state,
    );
    one(
        "body-above",
        "BodyLength { found: 65537 }",
        "a body over the limit",
        raw::op(1, 10, &[], &vec![0; 65_537]),
    );
    one(
        "record-empty",
        "Content(Truncated)",
        "a record of no bytes",
        raw::op(1, 10, &[], b""),
    );
    one(
        "record-flags",
        "Content(RecordFlags(8))",
        "a flag that nobody knows",
        raw::op(1, 10, &[], b"\x08\x04note"),
    );
    one(
        "record-type-empty",
        "Content(RecordType)",
        "no type",
        raw::op(1, 10, &[], b"\0\0x"),
    );
    one(
        "record-type-upper",
        "Content(RecordType)",
        "a type with a capital",
        raw::op(1, 10, &[], b"\0\x04Note"),
    );
    one(
        "record-type-long",
        "Content(RecordType)",
        "a type of 65 letters",
        raw::op(1, 10, &[], &[b"\0\x41".as_slice(), &[b'a'; 65]].concat()),
    );
    one(
        "record-run-cut",
        "Content(Truncated)",
        "a run that is cut off",
        raw::op(1, 10, &[], &[b"\x01\x04note".as_slice(), &[7; 31]].concat()),
    );
    one(
        "record-inline-above",
        "Content(InlineLength { found: 49153 })",
        "content that belongs in a blob",
        raw::op(
            1,
            10,
            &[],
            &[b"\0\x04note".as_slice(), &[7; 49_153]].concat(),
        ),
    );
    one(
        "record-blob-trailing",
        "Content(Trailing)",
        "a byte behind a blob",
        raw::op(
            1,
            10,
            &[],
            &[
                b"\x04\x04note".as_slice(),
                &[7; 64],
                &0u64.to_be_bytes(),
                &[0],
            ]
            .concat(),
        ),
    );
    one(
        "record-blob-above",
        "Content(BlobLength { found: 4294967297 })",
        "a blob over 4 GiB",
        raw::op(
            1,
            10,
            &[],
            &[
                b"\x04\x04note".as_slice(),
                &[7; 64],
                &4_294_967_297u64.to_be_bytes(),
            ]
            .concat(),
        ),
    );
    one(
        "reason-above",
        "Content(ReasonLength { found: 1025 })",
        "a reason of 1,025 bytes",
        raw::op(3, 10, &[target], &[b'x'; 1_025]),
    );
    one(
        "reason-not-utf-8",
        "Content(ReasonText)",
        "a reason that is not UTF-8",
        raw::op(4, 10, &[target], b"\xff"),
    );
    let redacted = [&[1][..], &10u64.to_be_bytes(), &[0, 0, 0], &[0x33; 32]].concat();
    put(
        "op-redacted-by-author",
        "payload",
        "box.unreadable",
        "Box(RedactedBody { sequence: 1 })",
        "a body that is missing in the author's own box",
        &whole(place, &[redacted]),
    );
    put(
        "op-time-equal",
        "payload",
        "box.unreadable",
        "Box(Time { sequence: 2 })",
        "two operations with one time",
        &whole(
            place,
            &[
                raw::op(1, 10, &[], RECORD),
                raw::op(1, 10, &[], b"\0\x04note"),
            ],
        ),
    );
    put(
        "op-time-back",
        "payload",
        "box.unreadable",
        "Box(Time { sequence: 2 })",
        "time that goes back",
        &whole(
            place,
            &[
                raw::op(1, 10, &[], RECORD),
                raw::op(1, 9, &[], b"\0\x04note"),
            ],
        ),
    );
    put(
        "op-limits",
        "success",
        "",
        "",
        "64 targets, a type of 64 letters, 49,152 bytes inline",
        &whole(
            place,
            &[raw::op(
                2,
                10,
                &std::array::from_fn::<_, 64, _>(|n| [n as u8; 32]),
                &[
                    b"\x03\x40".as_slice(),
                    &[b'a'; 64],
                    &[1; 32],
                    &[2; 32],
                    &[7; 49_152],
                ]
                .concat(),
            )],
        ),
    );
    // The blob list.
    let blob = |id: u8, len: u64| {
        raw::op(
            1,
            10 + u64::from(id),
            &[],
            &[
                b"\x04\x04note".as_slice(),
                &[0x44; 32],
                &[id; 32],
                &len.to_be_bytes(),
            ]
            .concat(),
        )
    };
    let entry = |id: u8, size: u64| [&[id; 32][..], &size.to_be_bytes()].concat();
    let mut list = |name: &str,
                    class: &str,
                    code: &str,
                    error: &str,
                    what: &str,
                    operations: &[Vec<u8>],
                    blobs: &[u8]| {
        let (seal, boxed) = sealed(place, operations, blobs);
        put(
            &format!("blobs-{name}"),
            class,
            code,
            error,
            what,
            &raw::frame(0, &[&seal, &boxed]),
        );
    };
    let two = [blob(1, 100), blob(2, 70_000)];
    let size = |len: usize| (32 + raw::padded(len) + raw::padded(len).div_ceil(65_536) * 32) as u64;
    list(
        "valid",
        "success",
        "",
        "",
        "two blobs",
        &two,
        &[entry(1, size(100)), entry(2, size(70_000))].concat(),
    );
    list(
        "unsorted",
        "header",
        "frame.damaged",
        "Box(BlobOrder)",
        "blobs in descending order",
        &two,
        &[entry(2, size(70_000)), entry(1, size(100))].concat(),
    );
    list(
        "doubled",
        "header",
        "frame.damaged",
        "Box(BlobOrder)",
        "one blob twice",
        &two[..1],
        &[entry(1, size(100)), entry(1, size(100))].concat(),
    );
    list(
        "size-impossible",
        "header",
        "frame.damaged",
        "Box(BlobOrder)",
        "a size that no blob file has, and that tells the content's length",
        &two[..1],
        &entry(1, 32 + 100 + 32),
    );
    list(
        "size-differs",
        "payload",
        "box.unreadable",
        "Box(BlobList)",
        "the size of a longer blob",
        &two[..1],
        &entry(1, size(300)),
    );
    list(
        "missing",
        "payload",
        "box.unreadable",
        "Box(BlobList)",
        "one blob of two",
        &two,
        &entry(1, size(100)),
    );
    list(
        "extra",
        "payload",
        "box.unreadable",
        "Box(BlobList)",
        "a blob that no operation refers to",
        &two[..1],
        &[entry(1, size(100)), entry(3, size(100))].concat(),
    );
}

fn control_objects(manifest: &mut Manifest, world: &World) {
    let place = &world.control;
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        put_frame(
            manifest,
            world,
            &format!("control-{name}"),
            class,
            code,
            error,
            what,
            bytes,
        );
    };
    let card = raw::card(&OTHER, 3, &raw::receive_key(&OTHER));
    let grant = |depth: u8, card: &[u8], rights: &[([u8; 16], u8)]| {
        let mut body = [
            &[0; 32][..],
            card,
            &[depth],
            &0u64.to_be_bytes(),
            &[rights.len() as u8],
        ]
        .concat();
        for (namespace, right) in rights {
            body.extend_from_slice(namespace);
            body.push(*right);
        }
        raw::op(16, 10, &[], &body)
    };
    let (a, b, all) = ([1; 16], [2; 16], [0xff; 16]);
    put(
        "valid",
        "success",
        "",
        "",
        "a grant, a revocation, a rotation and a checkpoint",
        &whole(
            place,
            &[
                grant(254, &card, &[(a, 2), (b, 5)]),
                raw::op(
                    17,
                    11,
                    &[[9; 32]],
                    &[&[0, 1][..], &a, &7u64.to_be_bytes(), &[8; 32]].concat(),
                ),
                raw::op(
                    18,
                    12,
                    &[],
                    &[&a[..], &1u32.to_be_bytes(), &[4; 64], &[1]].concat(),
                ),
                raw::op(
                    19,
                    13,
                    &[],
                    &[&[0, 1][..], &[6; 32], &3u64.to_be_bytes(), &[5; 32]].concat(),
                ),
            ],
        ),
    );
    let mut one = |name: &str, error: &str, what: &str, op: Vec<u8>| {
        let error = format!("Box(Operation {{ sequence: 1, error: {error} }})");
        put(
            name,
            "payload",
            "box.unreadable",
            &error,
            what,
            &whole(place, &[op]),
        );
    };
    one(
        "data-in-control",
        "WrongNamespace(Add)",
        "a record in control",
        raw::op(1, 10, &[], RECORD),
    );
    one(
        "grant-no-rights",
        "Content(RightCount(0))",
        "no rights",
        grant(0, &card, &[]),
    );
    one(
        "grant-rights-above",
        "Content(RightCount(65))",
        "65 rights",
        grant(
            0,
            &card,
            &std::array::from_fn::<_, 65, _>(|n| ([n as u8 + 1; 16], 2)),
        ),
    );
    one(
        "grant-rights-unsorted",
        "Content(RightNamespaces)",
        "rights in descending order",
        grant(0, &card, &[(b, 2), (a, 2)]),
    );
    one(
        "grant-rights-doubled",
        "Content(RightNamespaces)",
        "one namespace twice",
        grant(0, &card, &[(a, 2), (a, 3)]),
    );
    one(
        "grant-all-beside",
        "Content(RightNamespaces)",
        "every namespace beside one",
        grant(0, &card, &[(a, 2), (all, 2)]),
    );
    one(
        "grant-of-control",
        "Content(RightNamespaces)",
        "a right for control",
        grant(0, &card, &[([0; 16], 5)]),
    );
    one(
        "grant-right-unknown",
        "Content(UnknownRight(6))",
        "right 6",
        grant(0, &card, &[(a, 6)]),
    );
    one(
        "grant-depth-255",
        "Content(Depth)",
        "the root's depth",
        grant(255, &card, &[(a, 2)]),
    );
    one(
        "grant-to-root",
        "Content(GrantToRoot)",
        "a card of kind root",
        grant(
            0,
            &raw::card(&OTHER, 0, &raw::receive_key(&OTHER)),
            &[(a, 2)],
        ),
    );
    one(
        "grant-cross-flipped",
        "Content(Card(CrossSignature))",
        "a receive key that its owner did not sign: the storage's own",
        grant(0, &flipped(&card, 33), &[(a, 2)]),
    );
    one(
        "grant-receive-zero",
        "Content(Card(ReceiveKey))",
        "a receive key of small order",
        grant(0, &raw::card(&OTHER, 3, &[0; 32]), &[(a, 2)]),
    );
    let mut trailing = grant(0, &card, &[(a, 2)]);
    trailing.push(0);
    let length = (trailing.len() - 48) as u32;
    trailing[44..48].copy_from_slice(&length.to_be_bytes());
    one(
        "grant-trailing",
        "Content(Trailing)",
        "a byte behind the grant",
        trailing,
    );
    one(
        "revoke-root",
        "RevokesRoot",
        "the root's grant",
        raw::op(17, 10, &[[0; 32]], &[0, 0]),
    );
    one(
        "revoke-two",
        "TargetCount { kind: Revoke, found: 2 }",
        "two grants",
        raw::op(17, 10, &[[1; 32], [2; 32]], &[0, 0]),
    );
    let log = |namespace: [u8; 16], sequence: u64| {
        [&namespace[..], &sequence.to_be_bytes(), &[8; 32]].concat()
    };
    one(
        "frontier-unsorted",
        "Content(Frontier)",
        "logs in descending order",
        raw::op(
            17,
            10,
            &[[9; 32]],
            &[&[0, 2][..], &log(b, 1), &log(a, 1)].concat(),
        ),
    );
    one(
        "frontier-sequence-0",
        "Content(Frontier)",
        "sequence number 0",
        raw::op(17, 10, &[[9; 32]], &[&[0, 1][..], &log(a, 0)].concat()),
    );
    one(
        "frontier-bomb",
        "Content(Truncated)",
        "says 65,535 logs and has none",
        raw::op(17, 10, &[[9; 32]], &[0xff, 0xff]),
    );
    let rotation = |namespace: [u8; 16], number: u32, full: u8| {
        raw::op(
            18,
            10,
            &[],
            &[&namespace[..], &number.to_be_bytes(), &[4; 64], &[full]].concat(),
        )
    };
    one(
        "rotate-full-2",
        "Content(RotationFull(2))",
        "full 2",
        rotation(a, 1, 2),
    );
    one(
        "rotate-number-0",
        "Content(RotationPlace)",
        "number 0",
        rotation(a, 0, 0),
    );
    one(
        "rotate-control",
        "Content(RotationPlace)",
        "a key for control",
        rotation([0; 16], 1, 0),
    );
    let head =
        |author: u8, counter: u64| [&[author; 32][..], &counter.to_be_bytes(), &[5; 32]].concat();
    one(
        "checkpoint-unsorted",
        "Content(Heads)",
        "heads in descending order",
        raw::op(
            19,
            10,
            &[],
            &[&[0, 2][..], &head(2, 1), &head(1, 1)].concat(),
        ),
    );
    one(
        "checkpoint-counter-0",
        "Content(Heads)",
        "counter 0",
        raw::op(19, 10, &[], &[&[0, 1][..], &head(1, 0)].concat()),
    );
    let redacted = [&[19][..], &10u64.to_be_bytes(), &[0, 0, 0], &[0x33; 32]].concat();
    one(
        "redacted",
        "Redacted(Checkpoint)",
        "a control operation without its body",
        redacted,
    );
    let operations = [raw::op(19, 10, &[], &[0, 0])];
    let (seal, boxed) = sealed(place, &operations, &[]);
    put(
        "without-box",
        "header",
        "frame.damaged",
        "ControlWithoutBox",
        "control without its box",
        &raw::frame(2, &[&seal]),
    );
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut boxed = boxed.clone();
        edit(&mut boxed);
        raw::frame(0, &[&seal_over(place, &operations, &boxed), &boxed])
    };
    put(
        "box-trailing",
        "header",
        "frame.damaged",
        "Box(Trailing)",
        "a byte behind the operations",
        &edited(&|b| b.push(0)),
    );
    put(
        "box-cut",
        "header",
        "frame.damaged",
        "Box(Truncated)",
        "a length that the box does not have",
        &edited(&|b| b[6] += 1),
    );
    put(
        "box-blobs",
        "header",
        "frame.damaged",
        "Box(BlobList)",
        "blobs named in control",
        &edited(&|b| {
            b[1] = 1;
            let entry = [&[1; 32][..], &320u64.to_be_bytes()].concat();
            b.splice(2..2, entry);
        }),
    );
    let encrypted = raw::data_box(
        &Place {
            key: Some(EPOCH_KEY),
            ..place.clone()
        },
        1,
        &[],
        &raw::plaintext(&operations.concat()),
    );
    put(
        "box-encrypted",
        "header",
        "frame.damaged",
        "Box(WrongForm(1))",
        "control in an encrypted box",
        &raw::frame(0, &[&seal_over(place, &operations, &encrypted), &encrypted]),
    );
    let mut keyed = seal.clone();
    keyed[152..168].fill(1);
    raw::sign_again(&DEVICE, "seal", &mut keyed);
    put(
        "key",
        "header",
        "frame.damaged",
        "Seal(Key)",
        "control with a key",
        &raw::frame(0, &[&keyed, &boxed]),
    );
}

fn rebox_objects(manifest: &mut Manifest, world: &World) {
    let place = &world.data;
    let operations = records();
    let (seal, _) = sealed(place, &operations, &[]);
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        put_frame(
            manifest,
            world,
            &format!("rebox-{name}"),
            class,
            code,
            error,
            what,
            bytes,
        );
    };
    // The first body redacted: kind, time, no targets, state 0, the commitment.
    let commitment = blake3::keyed_hash(&[0x5a; 32], RECORD);
    let redacted = [&operations[0][..11], &[0], commitment.as_bytes()].concat();
    let anew = raw::data_box(
        place,
        2,
        &[],
        &raw::plaintext(&[&redacted[..], &operations[1]].concat()),
    );
    let rebox = |seal: &[u8], boxed: &[u8]| {
        let key = raw::h(
            "key commitment",
            &[&EPOCH_KEY, &place.vault, &place.namespace],
        );
        let mut rebox = [
            &raw::h("seal", &[&seal[..288]])[..],
            &place.author,
            &place.grant,
            &key[..16],
            &20u64.to_be_bytes(),
            &(boxed.len() as u32).to_be_bytes(),
            blake3::hash(boxed).as_bytes(),
            &[0; 64],
        ]
        .concat();
        raw::sign_again(&DEVICE, "rebox", &mut rebox);
        rebox
    };
    let valid = rebox(&seal, &anew);
    put(
        "valid",
        "success",
        "",
        "",
        "the first body redacted; the ids are the same",
        &raw::frame(1, &[&seal, &valid, &anew]),
    );
    put(
        "signature-flipped",
        "mac",
        "rebox.refused",
        "Rebox(Signature)",
        "the packer's signature with one bit changed",
        &raw::frame(1, &[&seal, &flipped(&valid, 156), &anew]),
    );
    put(
        "time-flipped",
        "mac",
        "rebox.refused",
        "Rebox(Signature)",
        "its time with one bit changed",
        &raw::frame(1, &[&seal, &flipped(&valid, 119), &anew]),
    );
    put(
        "other-seal",
        "header",
        "frame.damaged",
        "Rebox(OtherSeal)",
        "of another seal, truly signed",
        &raw::frame(1, &[&seal, &rebox(&[7; 288], &anew), &anew]),
    );
    let mut clear = valid.clone();
    clear[96..112].fill(0);
    raw::sign_again(&DEVICE, "rebox", &mut clear);
    put(
        "without-key",
        "header",
        "frame.damaged",
        "Rebox(Key)",
        "no key",
        &raw::frame(1, &[&seal, &clear, &anew]),
    );
    let (control, boxed) = sealed(&world.control, &[raw::op(19, 10, &[], &[0, 0])], &[]);
    put(
        "of-control",
        "header",
        "frame.damaged",
        "ReboxOfControl",
        "of control",
        &raw::frame(1, &[&control, &rebox(&control, &boxed), &boxed]),
    );
    let mut changed = operations.clone();
    *changed[0].last_mut().unwrap() = b'!';
    let lie = raw::data_box(place, 2, &[], &raw::plaintext(&changed.concat()));
    put(
        "body-changed",
        "payload",
        "box.unreadable",
        "Box(Head)",
        "another body than the author sealed",
        &raw::frame(1, &[&seal, &rebox(&seal, &lie), &lie]),
    );
    let fewer = raw::data_box(place, 2, &[], &raw::plaintext(&operations[0]));
    put(
        "operation-dropped",
        "payload",
        "box.unreadable",
        "Box(Count { expected: 2 })",
        "one operation left out",
        &raw::frame(1, &[&seal, &rebox(&seal, &fewer), &fewer]),
    );
    put(
        "cut",
        "header",
        "frame.damaged",
        "Length(571)",
        "shorter than a seal and a rebox",
        &raw::frame(1, &[&seal, &valid[..219]]),
    );
}

fn segment_objects(manifest: &mut Manifest, world: &World) {
    let first = whole(&world.data, &records());
    let second = whole(&world.control, &[raw::op(19, 10, &[], &[0, 0])]);
    let valid = [b"TALLYSEG\0\x01".as_slice(), &first, &second].concat();
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        manifest.object(
            Object::new("segment", name, class, code, error, what).vault(&world.vault),
            bytes,
        );
    };
    let second_at = 10 + first.len();
    put("valid", "success", "", "", "two frames", &valid);
    put("empty", "success", "", "", "no frames", &valid[..10]);
    put(
        "magic",
        "header",
        "file.header",
        "Magic",
        "another first byte",
        &flipped(&valid, 0),
    );
    put(
        "version",
        "header",
        "file.header",
        "Version(0)",
        "version 0",
        &flipped(&valid, 9),
    );
    put(
        "header-cut",
        "header",
        "file.header",
        "Truncated",
        "cut off in the header",
        &valid[..9],
    );
    put(
        "torn",
        "header",
        "frame.damaged",
        &format!("Frame {{ offset: {second_at}, error: Truncated }}"),
        "the last frame is cut off: in a tail a write that was never acknowledged",
        &valid[..valid.len() - 1],
    );
    put(
        "torn-header",
        "header",
        "frame.damaged",
        &format!("Frame {{ offset: {second_at}, error: Truncated }}"),
        "cut off inside a frame's length",
        &valid[..second_at + 3],
    );
    put(
        "zeros",
        "header",
        "frame.damaged",
        &format!("Frame {{ offset: {}, error: Magic }}", valid.len()),
        "zeros at the end",
        &[&valid, &[0; 64][..]].concat(),
    );
    put(
        "damaged",
        "header",
        "frame.damaged",
        "Frame { offset: 10, error: Magic }",
        "the first frame's first byte changed",
        &flipped(&valid, 10),
    );
}

fn portable_objects(manifest: &mut Manifest, world: &World) {
    let frame = whole(&world.data, &records());
    let section =
        |tag: u8, bytes: &[u8]| [&[tag][..], &(bytes.len() as u64).to_be_bytes(), bytes].concat();
    let file = |sections: &[Vec<u8>]| {
        let body = [b"TALLYVEX\0\x01".as_slice(), &sections.concat()].concat();
        let end = section(255, blake3::hash(&body).as_bytes());
        [body, end].concat()
    };
    let genesis = section(1, &world.genesis);
    let frame = section(4, &frame);
    let valid = file(&[genesis.clone(), frame.clone()]);
    let mut put = |name: &str, class: &str, code: &str, error: &str, what: &str, bytes: &[u8]| {
        manifest.object(
            Object::new("portable", name, class, code, error, what).vault(&world.vault),
            bytes,
        );
    };
    put("valid", "success", "", "", "a genesis and a frame", &valid);
    put(
        "magic",
        "header",
        "file.header",
        "Magic",
        "another first byte",
        &flipped(&valid, 0),
    );
    put(
        "version",
        "header",
        "file.header",
        "Version(0)",
        "version 0",
        &flipped(&valid, 9),
    );
    put(
        "without-end",
        "header",
        "file.incomplete",
        "Incomplete",
        "without its end: nothing of it is taken",
        &valid[..valid.len() - 41],
    );
    put(
        "cut",
        "header",
        "file.incomplete",
        "Incomplete",
        "without its last byte",
        &valid[..valid.len() - 1],
    );
    put(
        "cut-in-section",
        "header",
        "file.incomplete",
        "Incomplete",
        "cut off inside the frame",
        &valid[..400],
    );
    put(
        "hash",
        "mac",
        "file.incomplete",
        "Hash",
        "the hash at the end with one bit changed",
        &flipped(&valid, valid.len() - 1),
    );
    put(
        "altered",
        "mac",
        "file.incomplete",
        "Hash",
        "a byte of the frame changed",
        &flipped(&valid, 700),
    );
    put(
        "trailing",
        "header",
        "file.incomplete",
        "Trailing",
        "one byte more",
        &[&valid, &[0][..]].concat(),
    );
    put(
        "no-genesis",
        "header",
        "file.damaged",
        "Order(4)",
        "a frame first",
        &file(std::slice::from_ref(&frame)),
    );
    put(
        "two-geneses",
        "header",
        "file.damaged",
        "Order(1)",
        "a second genesis",
        &file(&[genesis.clone(), genesis.clone()]),
    );
    put(
        "order",
        "header",
        "file.damaged",
        "Order(3)",
        "a keyring behind a frame",
        &file(&[genesis.clone(), frame.clone(), section(3, &[0; 257])]),
    );
    put(
        "tag-unknown",
        "header",
        "file.damaged",
        "UnknownTag(6)",
        "a section of tag 6",
        &file(&[genesis.clone(), section(6, b"")]),
    );
    put(
        "nothing",
        "header",
        "file.incomplete",
        "Order(255)",
        "an end and nothing else",
        &file(&[]),
    );
    put(
        "genesis-length",
        "header",
        "genesis.damaged",
        "SectionLength { tag: 1, found: 246 }",
        "a genesis of 246 bytes",
        &file(&[section(1, &[&world.genesis[..], &[0]].concat())]),
    );
    put(
        "length-bomb",
        "header",
        "file.incomplete",
        "SectionLength { tag: 4, found: 18446744073709551615 }",
        "a frame that says it is 2^64 − 1 bytes long",
        &[b"TALLYVEX\0\x01".as_slice(), &genesis, &[4], &[0xff; 8]].concat(),
    );
}

fn blob_objects(manifest: &mut Manifest, world: &World) {
    let key = [0x66; 32];
    let okm = raw::x("blob chunks", &[&key, &world.vault.0], 64);
    let mut content = vec![0; 66_000];
    raw::rng("blob content").fill_bytes(&mut content);
    let plain = |len: usize| {
        let mut plain = content[..len].to_vec();
        plain.resize(raw::padded(len), 0);
        plain
    };
    let file = |okm: &[u8], plain: &[u8]| {
        let chunks = raw::blob_chunks(okm, plain);
        [raw::blob_header(&okm[32..], &chunks), chunks.concat()].concat()
    };
    // The bytes, and the file whose name the record holds.
    let mut put = |name: &str,
                   class: &str,
                   error: &str,
                   what: &str,
                   len: usize,
                   named: &[u8],
                   bytes: &[u8]| {
        let code = if class == "success" {
            ""
        } else {
            "blob.damaged"
        };
        let header = 32 * (1 + raw::padded(len).div_ceil(65_536));
        let mut object = Object::new("blob", name, class, code, error, what)
            .vault(&world.vault)
            .with("key", &hex::encode(key))
            .with("hash", blake3::hash(&named[..header]).to_hex().as_str())
            .with("length", &len.to_string());
        if class == "success" {
            object = object.with(
                "content_blake3",
                blake3::hash(&content[..len]).to_hex().as_str(),
            );
        }
        manifest.object(object, bytes);
    };
    let two = file(&okm, &plain(66_000));
    let small = file(&okm, &plain(300));
    let empty = file(&okm, &plain(0));
    put("valid", "success", "", "two chunks", 66_000, &two, &two);
    put("empty", "success", "", "no content", 0, &empty, &empty);
    put("one-chunk", "success", "", "300 bytes", 300, &small, &small);
    put(
        "cut",
        "payload",
        "Length",
        "without its last byte",
        66_000,
        &two,
        &two[..two.len() - 1],
    );
    put(
        "trailing",
        "payload",
        "Length",
        "one byte more",
        300,
        &small,
        &[&small, &[0][..]].concat(),
    );
    put(
        "length-differs",
        "payload",
        "Length",
        "the record says another length",
        301 + 16,
        &small,
        &small,
    );
    put(
        "tagged",
        "payload",
        "Length",
        "a tag behind each chunk and no hashes in front, as blobs were until 2026-11-30",
        300,
        &small,
        &[&okm[32..], &raw::chunks(&[7; 80], &plain(300)).concat()].concat(),
    );
    put(
        "commitment-flipped",
        "payload",
        "Hash",
        "the commitment with one bit changed",
        300,
        &small,
        &flipped(&small, 0),
    );
    put(
        "chunk-hash-flipped",
        "payload",
        "Hash",
        "the hash of the second chunk with one bit changed",
        66_000,
        &two,
        &flipped(&two, 70),
    );
    put(
        "chunk-flipped",
        "payload",
        "Chunk { number: 0 }",
        "one bit of the only chunk changed",
        300,
        &small,
        &flipped(&small, 70),
    );
    let last = two.len() - 1;
    put(
        "last-chunk-flipped",
        "payload",
        "Chunk { number: 1 }",
        "one bit of the second chunk changed",
        66_000,
        &two,
        &flipped(&two, last),
    );
    let halves: Vec<u8> = (0..131_072_u32).map(|at| (at / 251) as u8).collect();
    let whole = file(&okm, &halves);
    let (front, chunks) = whole.split_at(96);
    let (one, other) = chunks.split_at(65_536);
    put(
        "chunks-swapped",
        "payload",
        "Chunk { number: 0 }",
        "the chunks in another order",
        131_072,
        &whole,
        &[front, other, one].concat(),
    );
    put(
        "chunks-and-hashes-swapped",
        "payload",
        "Hash",
        "the chunks in another order, and their hashes with them",
        131_072,
        &whole,
        &[&front[..32], &front[64..], &front[32..64], other, one].concat(),
    );
    put(
        "chunks-doubled",
        "payload",
        "Chunk { number: 1 }",
        "the first chunk twice",
        131_072,
        &whole,
        &[front, one, one].concat(),
    );
    let padding = {
        let mut plain = plain(300);
        *plain.last_mut().unwrap() = 1;
        file(&okm, &plain)
    };
    put(
        "padding-not-zero",
        "payload",
        "PaddingNotZero",
        "the last byte of the padding is 1",
        300,
        &padding,
        &padding,
    );
    put(
        "hash-differs",
        "payload",
        "Hash",
        "a file that opens under the key but is not the one the record names: another reader made it",
        300,
        &padding,
        &small,
    );
    let committed = {
        let chunks = raw::blob_chunks(&okm, &plain(300));
        [raw::blob_header(&[7; 32], &chunks), chunks.concat()].concat()
    };
    put(
        "commitment-differs",
        "commitment",
        "Commitment",
        "a file that commits to another key, and the record names it",
        300,
        &committed,
        &committed,
    );
    let foreign = file(&raw::x("blob chunks", &[&key, &[7; 32]], 64), &plain(300));
    put(
        "foreign",
        "commitment",
        "Commitment",
        "made for another vault",
        300,
        &foreign,
        &foreign,
    );
}

fn text_objects(manifest: &mut Manifest, world: &World) {
    let mut put =
        |object: &'static str, name: &str, class: &str, error: &str, what: &str, text: &str| {
            let seed = if class == "success" {
                hex::encode(ROOT)
            } else {
                String::new()
            };
            manifest.object(
                Object::new(object, name, class, "", error, what)
                    .vault(&world.vault)
                    .with("seed", &seed),
                text.as_bytes(),
            );
        };
    let phrase = tally_vault_format::to_phrase(&Seed::from_bytes(ROOT));
    put("phrase", "valid", "success", "", "24 words", &phrase);
    put(
        "phrase",
        "spaces-and-capitals",
        "success",
        "",
        "as somebody types it",
        &format!("  {}\n", phrase.to_uppercase().replace(' ', "  ")),
    );
    let words: Vec<&str> = phrase.split(' ').collect();
    put(
        "phrase",
        "short",
        "no match",
        "WordCount { found: 23 }",
        "23 words",
        &words[1..].join(" "),
    );
    put(
        "phrase",
        "unknown-word",
        "no match",
        "UnknownWord { number: 2 }",
        "a word that is not in the list",
        &[words[0], "tally", &words[2..].join(" ")].join(" "),
    );
    put(
        "phrase",
        "checksum",
        "no match",
        "Checksum",
        "a wrong word",
        &["zoo", &words[1..].join(" ")].join(" "),
    );
    let mut swapped = words.clone();
    swapped.swap(0, 23);
    put(
        "phrase",
        "words-swapped",
        "no match",
        "Checksum",
        "two words changed places",
        &swapped.join(" "),
    );

    let shares = tally_vault_format::split_seed(
        &world.vault,
        &Seed::from_bytes(ROOT),
        3,
        5,
        &mut raw::rng("shares"),
    )
    .unwrap();
    let lines = |indices: &[usize]| {
        indices
            .iter()
            .map(|index| shares[index - 1].to_words().to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    put(
        "shares",
        "valid",
        "success",
        "",
        "three of five, three are needed",
        &lines(&[1, 3, 5]),
    );
    put(
        "shares",
        "all",
        "success",
        "",
        "all five",
        &lines(&[5, 4, 3, 2, 1]),
    );
    put(
        "shares",
        "doubled",
        "success",
        "",
        "one of them twice",
        &lines(&[2, 4, 2, 5]),
    );
    put(
        "shares",
        "too-few",
        "no match",
        "TooFew { found: 2, needed: 3 }",
        "two",
        &lines(&[1, 2]),
    );
    put(
        "shares",
        "too-few-doubled",
        "no match",
        "TooFew { found: 2, needed: 3 }",
        "two, one of them twice",
        &lines(&[1, 2, 2]),
    );
    let other = tally_vault_format::split_seed(
        &world.vault,
        &Seed::from_bytes(ROOT),
        3,
        5,
        &mut raw::rng("other split"),
    )
    .unwrap();
    put(
        "shares",
        "other-split",
        "no match",
        "OtherSplit { index: 2 }",
        "one of another split of the same seed",
        &format!("{}\n{}", lines(&[1, 3]), *other[1].to_words()),
    );
    let foreign = tally_vault_format::split_seed(
        &VaultId([7; 32]),
        &Seed::from_bytes(ROOT),
        3,
        5,
        &mut raw::rng("shares"),
    )
    .unwrap();
    put(
        "shares",
        "foreign",
        "no match",
        "ForeignVault { index: 2 }",
        "one of another vault",
        &format!("{}\n{}", lines(&[1, 3]), *foreign[1].to_words()),
    );
    let altered = |edit: &dyn Fn(&mut [u8])| {
        let mut bytes = from_words(&shares[1].to_words());
        edit(&mut bytes);
        let checksum = raw::x("share", &[&bytes[..41]], 3);
        bytes[41..].copy_from_slice(&checksum);
        to_words(&bytes)
    };
    put(
        "shares",
        "version",
        "no match",
        "Version(2)",
        "a share of version 2",
        &altered(&|b| b[0] = 2),
    );
    put(
        "shares",
        "index-0",
        "no match",
        "Bounds { threshold: 3, index: 0 }",
        "a share at 0, where the seed is",
        &altered(&|b| b[8] = 0),
    );
    put(
        "shares",
        "threshold-1",
        "no match",
        "Bounds { threshold: 1, index: 2 }",
        "a split that one share opens",
        &altered(&|b| b[7] = 1),
    );
    put(
        "shares",
        "contradiction",
        "no match",
        "Contradiction { index: 2 }",
        "two different shares with one index",
        &format!("{}\n{}", lines(&[1, 2, 3]), altered(&|b| b[9] ^= 1)),
    );
    put(
        "shares",
        "disagreement",
        "no match",
        "Disagreement { index: 4 }",
        "more than are needed, and one is altered",
        &format!("{}\n{}", altered(&|b| b[9] ^= 1), lines(&[1, 3, 4])),
    );
    let share = shares[0].to_words();
    let words: Vec<&str> = share.split(' ').collect();
    put(
        "shares",
        "word-count",
        "no match",
        "WordCount { found: 31 }",
        "31 words",
        &words[1..].join(" "),
    );
    put(
        "shares",
        "checksum",
        "no match",
        "Checksum",
        "a wrong word",
        &[
            if words[0] == "zoo" { "zone" } else { "zoo" },
            &words[1..].join(" "),
        ]
        .join(" "),
    );
    put(
        "shares",
        "unknown-word",
        "no match",
        "UnknownWord { number: 1 }",
        "a word that is not in the list",
        &["tally", &words[1..].join(" ")].join(" "),
    );
}

fn from_words(text: &str) -> Vec<u8> {
    let list = bip39::Language::English.word_list();
    let mut bits = text.split(' ').flat_map(|word| {
        let value = list.iter().position(|other| *other == word).unwrap();
        (0..11).rev().map(move |bit| value >> bit & 1)
    });
    (0..44)
        .map(|_| (0..8).fold(0, |byte, _| byte << 1 | bits.next().unwrap() as u8))
        .collect()
}

fn to_words(bytes: &[u8]) -> String {
    let list = bip39::Language::English.word_list();
    let bits: Vec<usize> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1)))
        .collect();
    bits.chunks(11)
        .map(|word| list[word.iter().fold(0, |value, bit| value << 1 | bit)])
        .collect::<Vec<_>>()
        .join(" ")
}
