//! A secret rotation of vectors.
//!
//! Embeddings can be turned back into text by whoever has them and the model that made them. A rotation leaves every length and every
//! angle between two rotated vectors as it was, so that nearest neighbours stay nearest, and gives them no more to do with the
//! model's own axes. It hides no geometry: who sees all vectors sees which are alike; and who learns as many pairs of a vector and its image as
//! there are dimensions solves for the rotation. It is a fence, not encryption (`docs/qdrant.md`).

use zeroize::{Zeroize, ZeroizeOnDrop};

/// Secret that a rotation is made from.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RotationKey([u8; 32]);

impl RotationKey {
    /// From 32 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A secret for another purpose: BLAKE3 `derive_key` of this one.
    #[must_use]
    pub fn derive(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

/// A rotation (with or without a reflection) of one dimension, uniform among all of them (Stewart 1980): a product of Householder reflections
/// that take the first axis of the last 2, 3, … n coordinates to a uniform direction of these, and signs.
pub struct Rotation {
    dimensions: usize,
    /// The direction of each reflection, one after the other: that of `k` coordinates has `k` numbers, from 2 up.
    directions: Vec<f32>,
    signs: Vec<f32>,
}

impl Rotation {
    /// The rotation of a key.
    #[must_use]
    pub fn new(key: &RotationKey, dimensions: usize) -> Self {
        let secret = key.derive("tally vectors v1 rotation");
        let mut normals = Normals::new(&secret, dimensions);
        let mut directions = Vec::with_capacity(dimensions * (dimensions + 1) / 2);
        for length in 2..=dimensions {
            let mut direction: Vec<f64> = (0..length).map(|_| normals.next()).collect();
            // The reflection along `x + |x| e` takes the axis `e` to the line of `x`; the sign keeps the sum from vanishing.
            direction[0] += norm(&direction).copysign(direction[0]);
            let long = norm(&direction).max(f64::MIN_POSITIVE);
            // A reflection needs no more than single precision: an error in a unit vector is one of a ten-millionth.
            #[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
            directions.extend(direction.iter().map(|x| (x / long) as f32));
        }
        let signs = (0..dimensions)
            .map(|_| if normals.next() < 0.0 { -1.0 } else { 1.0 })
            .collect();
        Self {
            dimensions,
            directions,
            signs,
        }
    }

    /// The dimension that it turns.
    #[must_use]
    pub const fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The image of a vector.
    ///
    /// # Panics
    /// If the vector has another dimension.
    #[must_use]
    pub fn apply(&self, vector: &[f32]) -> Vec<f32> {
        assert_eq!(
            vector.len(),
            self.dimensions,
            "a rotation turns one dimension"
        );
        let mut image: Vec<f32> = vector
            .iter()
            .zip(&self.signs)
            .map(|(x, sign)| x * sign)
            .collect();
        let mut at = 0;
        for length in 2..=self.dimensions {
            let direction = &self.directions[at..at + length];
            at += length;
            let tail = &mut image[self.dimensions - length..];
            let along: f32 = tail.iter().zip(direction).map(|(x, d)| x * d).sum();
            for (x, d) in tail.iter_mut().zip(direction) {
                *x -= 2.0 * along * d;
            }
        }
        image
    }
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Normal numbers from a secret: BLAKE3 in extendable output, two by two (Box and Muller 1958).
struct Normals {
    reader: blake3::OutputReader,
    second: Option<f64>,
}

impl Normals {
    fn new(secret: &[u8; 32], dimensions: usize) -> Self {
        let mut hasher = blake3::Hasher::new_keyed(secret);
        hasher.update(&(dimensions as u64).to_le_bytes());
        Self {
            reader: hasher.finalize_xof(),
            second: None,
        }
    }

    /// A number above 0 and at most 1.
    fn uniform(&mut self) -> f64 {
        let mut bytes = [0; 8];
        self.reader.fill(&mut bytes);
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        let whole = ((u64::from_le_bytes(bytes) >> 11) + 1) as f64;
        whole / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        if let Some(second) = self.second.take() {
            return second;
        }
        let length = (-2.0 * self.uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * self.uniform();
        self.second = Some(length * angle.sin());
        length * angle.cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn vectors(count: usize, dimensions: usize) -> Vec<Vec<f32>> {
        let mut normals = Normals::new(&[9; 32], dimensions);
        (0..count)
            .map(|_| (0..dimensions).map(|_| normals.next() as f32).collect())
            .collect()
    }

    #[test]
    fn angles_and_lengths_stay() {
        let rotation = Rotation::new(&RotationKey::from_bytes([1; 32]), 384);
        let some = vectors(8, 384);
        let turned: Vec<_> = some.iter().map(|vector| rotation.apply(vector)).collect();
        for (a, b) in [(0, 0), (0, 1), (2, 5), (6, 7)] {
            let (before, after) = (dot(&some[a], &some[b]), dot(&turned[a], &turned[b]));
            assert!((before - after).abs() < 0.02, "{before} {after}");
        }
    }

    #[test]
    fn a_vector_has_nothing_to_do_with_its_image() {
        let rotation = Rotation::new(&RotationKey::from_bytes([1; 32]), 384);
        for vector in vectors(50, 384) {
            let image = rotation.apply(&vector);
            let cosine = dot(&vector, &image) / dot(&vector, &vector);
            // Five standard deviations of two independent directions.
            assert!(cosine.abs() < 5.0 / 384f32.sqrt(), "{cosine}");
        }
    }

    #[test]
    fn the_same_key_turns_the_same_way_and_another_another() {
        let turn =
            |key: u8, dimensions| Rotation::new(&RotationKey::from_bytes([key; 32]), dimensions);
        let vector = &vectors(1, 16)[0];
        assert_eq!(turn(1, 16).apply(vector), turn(1, 16).apply(vector));
        assert_ne!(turn(1, 16).apply(vector), turn(2, 16).apply(vector));
        assert_eq!(turn(1, 1).apply(&[2.0])[0].abs(), 2.0);
        assert!(turn(1, 0).apply(&[]).is_empty());
    }

    #[test]
    fn every_axis_goes_everywhere() {
        // The image of an axis is a column of the matrix: of length 1, and nowhere near another axis.
        let rotation = Rotation::new(&RotationKey::from_bytes([3; 32]), 128);
        for axis in 0..128 {
            let mut unit = vec![0.0; 128];
            unit[axis] = 1.0;
            let image = rotation.apply(&unit);
            assert!((dot(&image, &image) - 1.0).abs() < 1e-4);
            assert!(image.iter().all(|x| x.abs() < 0.6), "axis {axis}");
        }
    }
}
