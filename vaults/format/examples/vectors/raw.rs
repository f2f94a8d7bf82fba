//! The format written a second time, from `docs/vault.md`, with the primitives alone: what is false on purpose cannot be
//! made with the crate, which refuses to write it.

use chacha20poly1305::{ChaCha20Poly1305, KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};
use ed25519_dalek::Signer as _;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};

/// `X(purpose, parts…, n)`.
pub(crate) fn x(purpose: &str, parts: &[&[u8]], n: usize) -> Vec<u8> {
    let mut hasher =
        blake3::Hasher::new_derive_key(&format!("tally vault v1 2026-11-21 {purpose}"));
    for part in parts {
        hasher.update(part);
    }
    let mut out = vec![0; n];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// `H(purpose, parts…)`.
pub(crate) fn h(purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
    x(purpose, parts, 32).try_into().unwrap()
}

/// Randomness that depends on the vector's name only, so a new vector changes no other.
pub(crate) fn rng(name: &str) -> ChaCha20Rng {
    ChaCha20Rng::from_seed(
        *blake3::hash(format!("tally vault vector {name}").as_bytes()).as_bytes(),
    )
}

pub(crate) fn sign(seed: &[u8; 32], purpose: &str, message: &[u8]) -> [u8; 64] {
    let key = ed25519_dalek::SigningKey::from_bytes(&h("sign seed", &[seed]));
    let signed = [
        b"tally vault v1 ",
        purpose.as_bytes(),
        &[0],
        &h(purpose, &[message]),
    ]
    .concat();
    key.sign(&signed).to_bytes()
}

/// Signs everything but the last 64 bytes anew.
pub(crate) fn sign_again(seed: &[u8; 32], purpose: &str, bytes: &mut [u8]) {
    let (message, signature) = bytes.split_last_chunk_mut::<64>().unwrap();
    *signature = sign(seed, purpose, message);
}

/// A card with any kind and receive key, truly signed.
pub(crate) fn card(seed: &[u8; 32], kind: u8, receive: &[u8; 32]) -> Vec<u8> {
    let key = ed25519_dalek::SigningKey::from_bytes(&h("sign seed", &[seed]));
    let message = [&[kind], &key.verifying_key().to_bytes()[..], receive].concat();
    let cross = sign(seed, "card", &message);
    [message, cross.to_vec()].concat()
}

pub(crate) fn receive_key(seed: &[u8; 32]) -> [u8; 32] {
    let secret = x25519_dalek::StaticSecret::from(h("receive seed", &[seed]));
    x25519_dalek::PublicKey::from(&secret).to_bytes()
}

pub(crate) fn padded(len: usize) -> usize {
    if len <= 256 {
        return 256;
    }
    let e = len.ilog2();
    let step = 1 << (e - (e.ilog2() + 1));
    len.div_ceil(step) * step
}

/// Chunks of a plaintext that is padded already.
pub(crate) fn chunks(okm: &[u8], plaintext: &[u8]) -> Vec<Vec<u8>> {
    let count = plaintext.len().div_ceil(65_536);
    let seal = |(number, chunk): (usize, &[u8])| {
        let mut nonce = [0; 24];
        nonce[..16].copy_from_slice(&okm[32..48]);
        nonce[22] = number as u8;
        nonce[23] = u8::from(number + 1 == count);
        xchacha(&okm[..32], &nonce, chunk, &[])
    };
    plaintext.chunks(65_536).enumerate().map(seal).collect()
}

/// Chunks of a blob's content that is padded already: ChaCha20 without a tag.
pub(crate) fn blob_chunks(okm: &[u8], plaintext: &[u8]) -> Vec<Vec<u8>> {
    let seal = |(number, chunk): (usize, &[u8])| {
        let mut nonce = [0; 12];
        nonce[11] = number as u8;
        let mut out = chunk.to_vec();
        ChaCha20Poly1305::new_from_slice(&okm[..32])
            .unwrap()
            .encrypt_inout_detached(&nonce.into(), &[], out.as_mut_slice().into())
            .unwrap();
        out
    };
    plaintext.chunks(65_536).enumerate().map(seal).collect()
}

/// What stands in front of the chunks of a blob.
pub(crate) fn blob_header(commitment: &[u8], chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = commitment.to_vec();
    for chunk in chunks {
        out.extend_from_slice(blake3::hash(chunk).as_bytes());
    }
    out
}

pub(crate) fn xchacha(key: &[u8], nonce: &[u8; 24], text: &[u8], aad: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    let cipher = XChaCha20Poly1305::new_from_slice(key).unwrap();
    let tag = cipher
        .encrypt_inout_detached(nonce.into(), aad, out.as_mut_slice().into())
        .unwrap();
    out.extend_from_slice(&tag);
    out
}

/// An operation with its body present.
pub(crate) fn op(kind: u8, time: u64, targets: &[[u8; 32]], body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&time.to_be_bytes());
    out.extend_from_slice(&(targets.len() as u16).to_be_bytes());
    out.extend_from_slice(targets.as_flattened());
    out.push(1);
    out.extend_from_slice(&[0x5a; 32]);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// Where a run of operations stands.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) vault: [u8; 32],
    pub(crate) namespace: [u8; 16],
    pub(crate) author: [u8; 32],
    pub(crate) grant: [u8; 32],
    pub(crate) key: Option<[u8; 32]>,
}

/// The id of an operation, from its bytes.
pub(crate) fn op_id(place: &Place, sequence: u64, previous: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    let targets = 11 + 32 * usize::from(u16::from_be_bytes([bytes[9], bytes[10]]));
    let commitment = if bytes[targets] == 1 {
        let salt: &[u8; 32] = bytes[targets + 1..].first_chunk().unwrap();
        *blake3::keyed_hash(salt, &bytes[targets + 37..]).as_bytes()
    } else {
        *bytes.last_chunk().unwrap()
    };
    h(
        "operation",
        &[
            &place.vault,
            &place.namespace,
            &place.author,
            &sequence.to_be_bytes(),
            previous,
            &bytes[..targets],
            &commitment,
        ],
    )
}

/// A box: blob list, form, and the operations behind `length`, which is written as given.
pub(crate) fn data_box(place: &Place, count: u32, blobs: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let key = place.key.unwrap();
    let salt = [0x77; 24];
    let okm = x(
        "box",
        &[
            &key,
            &salt,
            &place.vault,
            &place.namespace,
            &place.author,
            &1u64.to_be_bytes(),
            &count.to_be_bytes(),
        ],
        80,
    );
    let blob_count = (blobs.len() / 40) as u16;
    [
        &blob_count.to_be_bytes()[..],
        blobs,
        &[1],
        &salt,
        &okm[48..],
        &chunks(&okm, plaintext).concat(),
    ]
    .concat()
}

/// `length ‖ operations ‖ zeros`.
pub(crate) fn plaintext(operations: &[u8]) -> Vec<u8> {
    let mut out = [&(operations.len() as u32).to_be_bytes()[..], operations].concat();
    out.resize(padded(out.len()), 0);
    out
}

pub(crate) fn control_box(operations: &[u8]) -> Vec<u8> {
    [
        &[0, 0, 0][..],
        &(operations.len() as u32).to_be_bytes(),
        operations,
    ]
    .concat()
}

/// A seal of the first run of a log, and the first of its author.
pub(crate) fn seal(
    seed: &[u8; 32],
    place: &Place,
    count: u32,
    head: &[u8; 32],
    time: u64,
    boxed: &[u8],
) -> Vec<u8> {
    let key_id = place.key.map_or([0; 16], |key| {
        *h("key commitment", &[&key, &place.vault, &place.namespace])
            .first_chunk()
            .unwrap()
    });
    let mut out = [
        &place.vault[..],
        &place.author,
        &1u64.to_be_bytes(),
        &[0; 32],
        &place.namespace,
        &place.grant,
        &key_id,
        &1u64.to_be_bytes(),
        &count.to_be_bytes(),
        &[0; 32],
        head,
        &time.to_be_bytes(),
        &(boxed.len() as u32).to_be_bytes(),
        blake3::hash(boxed).as_bytes(),
        &[0; 64],
    ]
    .concat();
    sign_again(seed, "seal", &mut out);
    out
}

pub(crate) fn frame(flags: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [
        &[0xf1, flags][..],
        &(body.len() as u32).to_be_bytes(),
        &body,
    ]
    .concat()
}

/// A keyring whose stanzas hold `text`, 96 bytes.
pub(crate) fn keyring(
    place: &Place,
    number: u32,
    commitment: &[u8; 32],
    older: &[u8],
    recipients: &[[u8; 32]],
    text: &[u8],
    rng: &mut ChaCha20Rng,
) -> Vec<u8> {
    use hpke::{Deserializable as _, Serializable as _};
    type Kem = hpke::kem::X25519HkdfSha256;
    let info = [
        b"tally vault v1 wrap\0".as_slice(),
        &place.vault,
        &place.namespace,
        &number.to_be_bytes(),
        commitment,
    ]
    .concat();
    let mut stanzas: Vec<Vec<u8>> = recipients
        .iter()
        .map(|recipient| {
            let id = h("recipient", &[&place.vault, &place.namespace, recipient]);
            let public = <Kem as hpke::Kem>::PublicKey::from_bytes(recipient).unwrap();
            let (encapsulated, sealed) =
                hpke::single_shot_seal_with_rng::<
                    hpke::aead::ChaCha20Poly1305,
                    hpke::kdf::HkdfSha256,
                    Kem,
                >(&hpke::OpModeS::Base, &public, &info, text, recipient, rng)
                .unwrap();
            [&id[..16], &encapsulated.to_bytes(), &sealed].concat()
        })
        .collect();
    stanzas.sort();
    [
        b"TALLYKEY\0\x01".as_slice(),
        &place.vault,
        &place.namespace,
        &number.to_be_bytes(),
        commitment,
        &[(older.len() / 104) as u8],
        older,
        &(stanzas.len() as u16).to_be_bytes(),
        &stanzas.concat(),
    ]
    .concat()
}
