//! Padmé: lengths that tell little. An observer learns O(log log L) bits of a length L, for at most 12 % of overhead.
//!
//! Source: Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019,
//! section 4.3. Deviation: nothing is shorter than [`limits::PADDED_LEN_MIN`].

use crate::limits;

/// The padded length of `len` bytes.
#[must_use]
pub(crate) const fn padded_len(len: u64) -> u64 {
    if len <= limits::PADDED_LEN_MIN {
        return limits::PADDED_LEN_MIN;
    }
    let e = len.ilog2();
    let s = e.ilog2() + 1;
    let mask = (1 << (e - s)) - 1;
    (len + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_the_paper() {
        for (len, padded) in [
            (0, 256),
            (256, 256),
            (257, 272),
            (1_000, 1_024),
            (1_025, 1_088),
            (65_537, 67_584),
            (1_000_000, 1_015_808),
            (4 << 20, 4 << 20),
            (4 << 30, 4 << 30),
        ] {
            assert_eq!(padded_len(len), padded, "{len}");
        }
    }

    #[test]
    fn overhead_is_at_most_an_eighth() {
        for len in (257..200_000).chain((1 << 31)..(1 << 31) + 1_000) {
            let padded = padded_len(len);
            assert!(padded >= len && padded_len(padded) == padded);
            assert!((padded - len) * 8 <= len, "{len} becomes {padded}");
        }
    }
}
