//! Checking signatures: one alone, or many of one key with a table of that key's multiples.
//!
//! Both accept exactly the same signatures, those of [`ed25519_dalek::VerifyingKey::verify_strict`]: recompute
//! `R = S·B − H(R‖A‖M)·A`, compare its encoding with the signature's first half, and refuse an `R` of small order.
//!
//! The usual batch equation, a random linear combination of all signatures at once (`ed25519-dalek`'s `batch`), is not
//! used: it adds points before it compares, so the holder of a key can make signatures that some batches accept and a
//! single check refuses, and an auditor and a court would see different verdicts. A table of a key's multiples gives
//! most of the speed with none of that, because each signature is still checked alone: 75 point additions instead of
//! the 256 doublings and some 60 additions of a single check. The group law is `curve25519-dalek`'s; only the order of
//! additions is ours, and the tests compare both ways on good, altered and adversarial signatures.
//!
//! Nothing here is secret, so nothing needs constant time. Source: RFC 8032 section 5.1.7.

use std::sync::OnceLock;

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use sha2::Digest as _;

use crate::key::{PublicKey, Signature, is_small_order};

/// From how many signatures of one key on a table is worth making: its 1376 additions cost what nine checks save.
pub(crate) const TABLE_PAYS_FROM: usize = 16;

/// Whether `signature` is `key`'s over `message`.
pub(crate) fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    ed25519_dalek::VerifyingKey::from_bytes(key.as_bytes()).is_ok_and(|key| {
        key.verify_strict(
            message,
            &ed25519_dalek::Signature::from_bytes(signature.as_bytes()),
        )
        .is_ok()
    })
}

/// Whether each signature is `key`'s over the message beside it.
pub(crate) fn verify_many(key: &PublicKey, signed: &[(&[u8], &Signature)]) -> Vec<bool> {
    if signed.len() < TABLE_PAYS_FROM {
        return signed
            .iter()
            .map(|(message, signature)| verify(key, message, signature))
            .collect();
    }
    let Some(point) = CompressedEdwardsY(*key.as_bytes()).decompress() else {
        return vec![false; signed.len()];
    };
    static BASE: OnceLock<Table<8>> = OnceLock::new();
    let base = BASE.get_or_init(|| Table::of(ED25519_BASEPOINT_POINT));
    let minus_key = Table::<6>::of(-point);

    // A signature whose S is too large has no R; its place is kept so that the results stay in order.
    let recomputed: Vec<Option<EdwardsPoint>> = signed
        .iter()
        .map(|(message, signature)| {
            let [r, s] = halves(signature);
            let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(s))?;
            let hash = sha2::Sha512::new()
                .chain_update(r)
                .chain_update(key.as_bytes())
                .chain_update(message)
                .finalize();
            let h = Scalar::from_bytes_mod_order_wide(&hash.into());
            Some(minus_key.add_multiple(&h, base.add_multiple(&s, EdwardsPoint::identity())))
        })
        .collect();
    // One inversion for all points instead of one for each.
    let points: Vec<EdwardsPoint> = recomputed
        .iter()
        .map(|point| point.unwrap_or_default())
        .collect();
    let encoded = EdwardsPoint::compress_batch_alloc(&points);
    signed
        .iter()
        .zip(recomputed)
        .zip(encoded)
        .map(|(((_, signature), point), encoded)| {
            let [r, _] = halves(signature);
            point.is_some() && encoded.0 == r && !is_small_order(&r)
        })
        .collect()
}

fn halves(signature: &Signature) -> [[u8; 32]; 2] {
    let (r, s) = signature.as_bytes().split_at(32);
    [r, s].map(|half| half.try_into().expect("half of 64 bytes is 32 bytes"))
}

/// `j · 2^(WIDTH·i) · P` for each place `i` and digit `j` of a scalar in radix `2^WIDTH` with digits from
/// `-2^(WIDTH-1)` to `2^(WIDTH-1)`; negative ones are subtracted. `WIDTH` 8 takes 640 KiB, 6 takes 215 KiB.
struct Table<const WIDTH: usize>(Vec<EdwardsPoint>);

impl<const WIDTH: usize> Table<WIDTH> {
    /// Scalars are below 2^253, and the highest digit takes the last carry.
    const PLACES: usize = 254usize.div_ceil(WIDTH);
    const DIGITS: usize = 1 << (WIDTH - 1);

    fn of(point: EdwardsPoint) -> Self {
        let mut points = Vec::with_capacity(Self::PLACES * Self::DIGITS);
        let mut place = point;
        for _ in 0..Self::PLACES {
            let mut multiple = place;
            points.push(multiple);
            for _ in 1..Self::DIGITS {
                multiple += place;
                points.push(multiple);
            }
            // 2^(WIDTH-1) times the place, doubled, is the next place.
            place = multiple + multiple;
        }
        Self(points)
    }

    /// `sum + scalar · P`.
    fn add_multiple(&self, scalar: &Scalar, mut sum: EdwardsPoint) -> EdwardsPoint {
        let bytes = scalar.as_bytes();
        let mut carry = 0;
        for (place, multiples) in self.0.chunks_exact(Self::DIGITS).enumerate() {
            let (byte, shift) = (place * WIDTH / 8, place * WIDTH % 8);
            let low = bytes.get(byte).copied().unwrap_or(0);
            let high = bytes.get(byte + 1).copied().unwrap_or(0);
            let bits =
                usize::from(u16::from_le_bytes([low, high]) >> shift) & (2 * Self::DIGITS - 1);
            let digit = bits + carry;
            carry = usize::from(digit > Self::DIGITS);
            if carry == 1 {
                let below = 2 * Self::DIGITS - digit;
                if below != 0 {
                    sum -= multiples[below - 1];
                }
            } else if digit != 0 {
                sum += multiples[digit - 1];
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use proptest::prelude::*;

    use super::*;
    use crate::key::SigningKey;

    /// Checks in both ways, the second with enough companions to use the table.
    fn verdicts(key: &PublicKey, message: &[u8], signature: &Signature) -> (bool, bool) {
        let many = verify_many(key, &[(message, signature); TABLE_PAYS_FROM]);
        assert!(many.iter().all(|one| *one == many[0]));
        (verify(key, message, signature), many[0])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn alone_and_many_agree(seed: [u8; 32], message: Vec<u8>, flip in 0usize..64, mask: u8) {
            let key = SigningKey::from_seed(&seed);
            let mut bytes = *key.sign(&message).as_bytes();
            bytes[flip] ^= mask;
            let expected = mask == 0;
            prop_assert_eq!(verdicts(&key.public_key(), &message, &Signature::from_bytes(bytes)), (expected, expected));
        }
    }

    proptest! {
        #[test]
        fn a_table_multiplies(bytes: [u8; 32]) {
            let scalar = Scalar::from_bytes_mod_order(bytes);
            let expected = EdwardsPoint::mul_base(&scalar);
            prop_assert_eq!(Table::<6>::of(ED25519_BASEPOINT_POINT).add_multiple(&scalar, EdwardsPoint::identity()), expected);
            prop_assert_eq!(Table::<8>::of(ED25519_BASEPOINT_POINT).add_multiple(&scalar, EdwardsPoint::identity()), expected);
        }
    }

    #[test]
    fn a_table_multiplies_by_scalars_at_the_edges() {
        let table = Table::<6>::of(ED25519_BASEPOINT_POINT);
        let wide = Table::<8>::of(ED25519_BASEPOINT_POINT);
        let mut edges = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE];
        let mut power = Scalar::ONE;
        for _ in 0..252 {
            power += power;
            edges.extend([power, power - Scalar::ONE, -power]);
        }
        for scalar in edges {
            let expected = EdwardsPoint::mul_base(&scalar);
            assert_eq!(
                table.add_multiple(&scalar, EdwardsPoint::identity()),
                expected
            );
            assert_eq!(
                wide.add_multiple(&scalar, EdwardsPoint::identity()),
                expected
            );
        }
    }

    #[test]
    fn a_bad_signature_among_good_ones_is_the_only_one_refused() {
        let key = SigningKey::from_seed(&[3; 32]);
        let messages: Vec<Vec<u8>> = (0..40u8).map(|number| vec![number; 40]).collect();
        let signatures: Vec<Signature> = messages.iter().map(|message| key.sign(message)).collect();
        let mut signed: Vec<(&[u8], &Signature)> = messages
            .iter()
            .map(Vec::as_slice)
            .zip(&signatures)
            .collect();
        signed[7].1 = &signatures[8];
        let expected: Vec<bool> = (0..40).map(|index| index != 7).collect();
        assert_eq!(verify_many(&key.public_key(), &signed), expected);
    }

    /// The holder of a key adds a point of small order to `R` and computes `S` for it. The cofactored equation holds;
    /// the strict one does not. `ed25519-dalek`'s batch accepts some of these.
    #[test]
    fn a_signature_with_a_torsion_component_is_refused_both_ways() {
        let seed = [9; 32];
        let expanded = sha2::Sha512::digest(seed);
        let mut scalar: [u8; 32] = expanded[..32].try_into().unwrap();
        scalar[0] &= 248;
        scalar[31] = scalar[31] & 63 | 64;
        let secret = Scalar::from_bytes_mod_order(scalar);
        let public = SigningKey::from_seed(&seed).public_key();
        let message = b"one verdict, whoever checks";
        for torsion in EIGHT_TORSION {
            let nonce = Scalar::from_bytes_mod_order([5; 32]);
            let r = (EdwardsPoint::mul_base(&nonce) + torsion).compress();
            let hash = sha2::Sha512::new()
                .chain_update(r.0)
                .chain_update(public.as_bytes())
                .chain_update(message)
                .finalize();
            let s = nonce + Scalar::from_bytes_mod_order_wide(&hash.into()) * secret;
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&r.0);
            bytes[32..].copy_from_slice(s.as_bytes());
            let holds = torsion == EdwardsPoint::identity();
            assert_eq!(
                verdicts(&public, message, &Signature::from_bytes(bytes)),
                (holds, holds)
            );
        }
    }

    #[test]
    fn an_s_above_the_group_order_and_an_r_of_small_order_are_refused_both_ways() {
        let key = SigningKey::from_seed(&[4; 32]);
        // L, the order of the group, little-endian: adding it to S gives the same point.
        let order: [u8; 32] = [
            0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9,
            0xde, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
        ];
        let mut bytes = *key.sign(b"m").as_bytes();
        let mut carry = 0u16;
        for (byte, add) in bytes[32..].iter_mut().zip(order) {
            carry += u16::from(*byte) + u16::from(add);
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        assert_eq!(
            verdicts(&key.public_key(), b"m", &Signature::from_bytes(bytes)),
            (false, false)
        );
        for torsion in EIGHT_TORSION {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&torsion.compress().0);
            assert_eq!(
                verdicts(&key.public_key(), b"m", &Signature::from_bytes(bytes)),
                (false, false)
            );
        }
    }

    #[test]
    fn a_key_that_is_no_point_verifies_nothing() {
        let no_point = (2..=u8::MAX)
            .map(|low| {
                let mut bytes = [0; 32];
                bytes[0] = low;
                bytes
            })
            .find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none())
            .unwrap();
        let key = PublicKey::from_bytes(no_point).unwrap();
        let signature = SigningKey::from_seed(&[1; 32]).sign(b"m");
        assert_eq!(verdicts(&key, b"m", &signature), (false, false));
    }
}
