//! Vectors to documents.
//!
//! [`ExactVectors`] compares with every vector it holds. Vectors are kept in 8 bits, since a scan costs what it reads: at
//! 384 dimensions 100,000 of them are 37 MiB. An entry is off by at most half a step of 1/127 of the vector's largest.

/// Nearest vectors by cosine. Slots are the caller's small integers.
pub trait VectorIndex {
    /// Adds or replaces the vector of a slot. A vector without direction, or of another dimension than the first, is not
    /// held, and that slot is never found.
    fn insert(&mut self, slot: u32, vector: &[f32]);

    /// Removes the vector of a slot, if it has one.
    fn remove(&mut self, slot: u32);

    /// The slots most similar to `query` among those that `keep` passes, with their cosines: best first, at equal cosine the
    /// lower slot, at most `count`.
    fn nearest(&self, query: &[f32], count: usize, keep: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)>;

    /// The cosine of `query` with the vector of a slot; `None` when it has none.
    fn similarity(&self, query: &[f32], slot: u32) -> Option<f32>;

    /// The cosines of `query` with the vectors of these slots, in order.
    fn similarities(&self, query: &[f32], slots: &[u32]) -> Vec<Option<f32>> {
        let one = |slot: &u32| self.similarity(query, *slot);
        slots.iter().map(one).collect()
    }
}

/// Exact search in memory.
#[derive(Debug, Default)]
pub struct ExactVectors {
    dimensions: usize,
    /// *Shape* `[slots, dimensions]`, row by row.
    rows: Vec<i8>,
    /// By slot: what a row is multiplied with to be of length 1; 0 where no vector is held.
    scales: Vec<f32>,
}

impl ExactVectors {
    /// An index of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a slot has a vector.
    #[must_use]
    pub fn holds(&self, slot: u32) -> bool {
        self.scales
            .get(slot as usize)
            .is_some_and(|scale| *scale > 0.0)
    }

    fn row(&self, slot: usize) -> &[i8] {
        &self.rows[slot * self.dimensions..][..self.dimensions]
    }
}

impl VectorIndex for ExactVectors {
    fn insert(&mut self, slot: u32, vector: &[f32]) {
        let slot = slot as usize;
        let Some((row, scale)) = quantise(vector) else {
            return;
        };
        if self.dimensions == 0 {
            self.dimensions = vector.len();
        }
        if vector.len() != self.dimensions {
            return;
        }
        if self.scales.len() <= slot {
            self.scales.resize(slot + 1, 0.0);
            self.rows.resize((slot + 1) * self.dimensions, 0);
        }
        self.rows[slot * self.dimensions..][..self.dimensions].copy_from_slice(&row);
        self.scales[slot] = scale;
    }

    fn remove(&mut self, slot: u32) {
        let slot = slot as usize;
        if self.scales.get(slot).is_some_and(|scale| *scale > 0.0) {
            self.scales[slot] = 0.0;
            self.rows[slot * self.dimensions..][..self.dimensions].fill(0);
        }
    }

    fn nearest(&self, query: &[f32], count: usize, keep: &dyn Fn(u32) -> bool) -> Vec<(u32, f32)> {
        let Some((query, scale)) = quantise(query).filter(|(row, _)| row.len() == self.dimensions)
        else {
            return Vec::new();
        };
        let mut found: Vec<(u32, f32)> = self
            .rows
            .chunks_exact(self.dimensions)
            .zip(&self.scales)
            .zip(0u32..)
            .filter(|((_, row_scale), slot)| **row_scale > 0.0 && keep(*slot))
            .map(|((row, row_scale), slot)| (slot, dot(&query, row) as f32 * scale * row_scale))
            .collect();
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if found.len() > count && count > 0 {
            found.select_nth_unstable_by(count - 1, order);
        }
        found.truncate(count);
        found.sort_unstable_by(order);
        found
    }

    fn similarity(&self, query: &[f32], slot: u32) -> Option<f32> {
        self.similarities(query, &[slot]).pop().flatten()
    }

    fn similarities(&self, query: &[f32], slots: &[u32]) -> Vec<Option<f32>> {
        let Some((query, scale)) = quantise(query).filter(|(row, _)| row.len() == self.dimensions)
        else {
            return vec![None; slots.len()];
        };
        slots
            .iter()
            .map(|slot| {
                let row_scale = self.scales.get(*slot as usize).copied();
                let row_scale = row_scale.filter(|scale| *scale > 0.0)?;
                Some(dot(&query, self.row(*slot as usize)) as f32 * scale * row_scale)
            })
            .collect()
    }
}

/// A vector in 8 bits, and what makes that a vector of length 1; `None` without direction.
fn quantise(vector: &[f32]) -> Option<(Vec<i8>, f32)> {
    let largest = vector
        .iter()
        .fold(0.0f32, |largest, x| largest.max(x.abs()));
    // `max` passes over what is no number.
    if largest <= 0.0 || !vector.iter().all(|x| x.is_finite()) {
        return None;
    }
    // At most 127 in size, by the division.
    let row: Vec<i8> = vector
        .iter()
        .map(|x| (x / largest * 127.0).round() as i8)
        .collect();
    let length = (dot(&row, &row) as f32).sqrt();
    Some((row, 1.0 / length))
}

/// The dot product of two rows. Exact: up to 130,000 dimensions it fits. So every version gives the same number.
#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512bw+avx512vl",
    "x86_64+avx2",
    "aarch64+neon"
))]
pub(crate) fn dot(a: &[i8], b: &[i8]) -> i32 {
    // A product of two bytes fits 16 bits, which processors multiply more of at once. Wrapping, since the checks of overflow
    // would keep the compiler from using vectors of integers.
    a.iter().zip(b).fold(0, |sum: i32, (a, b)| {
        sum.wrapping_add(i32::from(i16::from(*a).wrapping_mul(i16::from(*b))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_ties_by_slot() {
        let mut index = ExactVectors::new();
        for (slot, vector) in [
            (3, [1.0, 0.0]),
            (1, [0.0, 2.0]),
            (0, [3.0, 0.0]),
            (2, [1.0, 1.0]),
        ] {
            index.insert(slot, &vector);
        }
        let slots =
            |found: Vec<(u32, f32)>| found.into_iter().map(|(slot, _)| slot).collect::<Vec<_>>();
        assert_eq!(slots(index.nearest(&[1.0, 0.0], 3, &|_| true)), [0, 3, 2]);
        assert_eq!(
            slots(index.nearest(&[1.0, 0.0], 9, &|slot| slot != 0)),
            [3, 2, 1]
        );
        assert_eq!(index.nearest(&[1.0, 0.0], 0, &|_| true), []);
    }

    #[test]
    fn a_cosine_is_close_to_the_exact_one() {
        let vector: Vec<f32> = (0..384)
            .map(|n| ((n * 37 % 101) as f32 - 50.0) / 50.0)
            .collect();
        let other: Vec<f32> = (0..384)
            .map(|n| ((n * 53 % 97) as f32 - 40.0) / 50.0)
            .collect();
        let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
        let exact = vector.iter().zip(&other).map(|(a, b)| a * b).sum::<f32>()
            / length(&vector)
            / length(&other);
        let mut index = ExactVectors::new();
        index.insert(0, &vector);
        let found = index.similarity(&other, 0).expect("it is held");
        assert!((found - exact).abs() < 0.003, "{found} {exact}");
    }

    #[test]
    fn vectors_without_direction_or_of_another_width_are_not_held() {
        let mut index = ExactVectors::new();
        index.insert(0, &[0.0, 0.0]);
        index.insert(1, &[f32::NAN, 1.0]);
        index.insert(2, &[1.0, 1.0]);
        index.insert(3, &[1.0]);
        assert_eq!(index.nearest(&[1.0, 1.0], 9, &|_| true).len(), 1);
        assert_eq!(index.nearest(&[1.0], 9, &|_| true), []);
        assert_eq!(
            (
                index.similarity(&[1.0, 1.0], 0),
                index.similarity(&[1.0], 2)
            ),
            (None, None)
        );
        index.remove(2);
        index.remove(9);
        assert_eq!(index.nearest(&[1.0, 1.0], 9, &|_| true), []);
    }
}
