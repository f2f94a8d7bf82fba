//! A counter-based generator (SplitMix64) and exact, platform-independent noise.

/// A stream of numbers determined by its seed.
///
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Roughly normal noise of mean 0 and variance 1: the sum of 12 uniform 10-bit numbers, scaled. Only integer
    /// sums and one multiplication, so the result is the same everywhere.
    pub fn normal(&mut self) -> f32 {
        let mut sum = 0i32;
        for _ in 0..2 {
            let bits = self.next_u64();
            for part in 0..6 {
                sum += ((bits >> (part * 10)) & 1023) as i32;
            }
        }
        // Twice the sum is centred on 12 * 1023; one uniform of 1024 values has variance (1024^2 - 1) / 12.
        (2 * sum - 12 * 1023) as f32 * (1.0 / 2048.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn noise_has_mean_zero_and_variance_one() {
        let mut random = Random::new(7);
        let samples: Vec<f64> = (0..100_000).map(|_| f64::from(random.normal())).collect();
        let mean = samples.iter().sum::<f64>() / 1e5;
        let variance = samples.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
    }
}
