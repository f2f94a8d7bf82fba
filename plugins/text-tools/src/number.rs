//! Exact numbers: fractions of 128-bit integers in lowest terms.
//!
//! Every operation answers `None` where the exact result does not fit, so nothing is ever rounded unasked or wrapped.

use core::cmp::Ordering;
use core::fmt;

/// A fraction in lowest terms; the denominator is positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    numerator: i128,
    denominator: i128,
}

/// Digits after the point of a number that has no finite decimal form.
const APPROXIMATE_DIGITS: u32 = 12;

impl Number {
    /// Zero.
    pub const ZERO: Self = Self::whole(0);

    /// A whole number.
    pub const fn whole(value: i128) -> Self {
        Self {
            numerator: value,
            denominator: 1,
        }
    }

    /// `numerator / denominator`; none when the denominator is zero or the result does not fit.
    pub fn fraction(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator == 0 {
            return None;
        }
        let divisor = gcd(numerator.unsigned_abs(), denominator.unsigned_abs());
        let divisor = i128::try_from(divisor).ok()?;
        let sign = if denominator < 0 { -1 } else { 1 };
        Some(Self {
            numerator: (numerator / divisor).checked_mul(sign)?,
            denominator: (denominator / divisor).checked_mul(sign)?,
        })
    }

    /// A decimal such as `12`, `-0.5`, `1_000`, `2.5e3`; none when it is not one or does not fit.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, digits) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa),
        };
        let (mut value, mut places, mut seen_point, mut seen_digit) = (0_i128, 0_i32, false, false);
        for character in digits.chars() {
            match character {
                '0'..='9' => {
                    let digit = i128::from(character.to_digit(10)?);
                    value = value.checked_mul(10)?.checked_add(digit)?;
                    places += i32::from(seen_point);
                    seen_digit = true;
                }
                '.' if !seen_point => seen_point = true,
                '_' if seen_digit => {}
                _ => return None,
            }
        }
        if !seen_digit {
            return None;
        }
        let value = if negative { -value } else { value };
        let power = exponent.checked_sub(places)?;
        let ten = 10_i128.checked_pow(power.unsigned_abs())?;
        if power < 0 {
            Self::fraction(value, ten)
        } else {
            value.checked_mul(ten).map(Self::whole)
        }
    }

    /// The sum, if it fits.
    pub fn plus(self, other: Self) -> Option<Self> {
        let divisor = i128::try_from(gcd(
            self.denominator.unsigned_abs(),
            other.denominator.unsigned_abs(),
        ))
        .ok()?;
        let left = self.numerator.checked_mul(other.denominator / divisor)?;
        let right = other.numerator.checked_mul(self.denominator / divisor)?;
        Self::fraction(
            left.checked_add(right)?,
            (self.denominator / divisor).checked_mul(other.denominator)?,
        )
    }

    /// The difference, if it fits.
    pub fn minus(self, other: Self) -> Option<Self> {
        self.plus(other.negate()?)
    }

    /// The product, if it fits.
    pub fn times(self, other: Self) -> Option<Self> {
        // Crosswise reduction first, so that a product that fits is not lost on the way.
        let left = Self::fraction(self.numerator, other.denominator)?;
        let right = Self::fraction(other.numerator, self.denominator)?;
        Self::fraction(
            left.numerator.checked_mul(right.numerator)?,
            left.denominator.checked_mul(right.denominator)?,
        )
    }

    /// The quotient; none when `other` is zero or it does not fit.
    pub fn over(self, other: Self) -> Option<Self> {
        self.times(Self::fraction(other.denominator, other.numerator)?)
    }

    /// What is left after dividing by `other` a whole number of times; its sign is that of `other`.
    pub fn remainder(self, other: Self) -> Option<Self> {
        let whole = self.over(other)?.floor();
        self.minus(other.times(whole)?)
    }

    /// With the other sign.
    pub fn negate(self) -> Option<Self> {
        Some(Self {
            numerator: self.numerator.checked_neg()?,
            denominator: self.denominator,
        })
    }

    /// To the power of a whole number; none when that does not fit, or is a negative power of zero.
    pub fn power(self, exponent: i128) -> Option<Self> {
        let times = u32::try_from(exponent.unsigned_abs()).ok()?;
        let power = Self {
            numerator: self.numerator.checked_pow(times)?,
            denominator: self.denominator.checked_pow(times)?,
        };
        if exponent < 0 {
            Self::fraction(power.denominator, power.numerator)
        } else {
            Some(power)
        }
    }

    /// The greatest whole number that is not greater.
    pub fn floor(self) -> Self {
        Self::whole(self.numerator.div_euclid(self.denominator))
    }

    /// Rounded to this many digits after the point, halves away from zero.
    pub fn round(self, digits: u32) -> Option<Self> {
        let scale = Self::whole(10_i128.checked_pow(digits)?);
        let half = Self {
            numerator: 1,
            denominator: 2,
        };
        let scaled = self.times(scale)?;
        let rounded = if scaled.numerator < 0 {
            scaled.negate()?.plus(half)?.floor().negate()?
        } else {
            scaled.plus(half)?.floor()
        };
        rounded.over(scale)
    }

    /// The whole number it is, if it is one.
    pub fn to_whole(self) -> Option<i128> {
        (self.denominator == 1).then_some(self.numerator)
    }

    /// Which is greater; none when comparing does not fit.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        Some(self.minus(other)?.numerator.cmp(&0))
    }

    /// The digits after the point of its decimal form, if that is finite and short enough to write.
    fn decimal_places(self) -> Option<u32> {
        let (mut rest, mut twos, mut fives) = (self.denominator, 0, 0);
        while rest % 2 == 0 {
            (rest, twos) = (rest / 2, twos + 1);
        }
        while rest % 5 == 0 {
            (rest, fives) = (rest / 5, fives + 1);
        }
        let places = twos.max(fives);
        (rest == 1 && places <= 30).then_some(places)
    }

    fn write_decimal(self, f: &mut fmt::Formatter<'_>, places: u32) -> fmt::Result {
        let sign = if self.numerator < 0 { "-" } else { "" };
        let (numerator, denominator) = (
            self.numerator.unsigned_abs(),
            self.denominator.unsigned_abs(),
        );
        write!(f, "{sign}{}", numerator / denominator)?;
        if places > 0 {
            f.write_str(".")?;
        }
        let mut rest = numerator % denominator;
        for _ in 0..places {
            // Ten times a remainder may not fit; the digit is then found by subtraction of tenths.
            let (digit, after) = match rest.checked_mul(10) {
                Some(tenfold) => (tenfold / denominator, tenfold % denominator),
                None => long_digit(rest, denominator),
            };
            write!(f, "{digit}")?;
            rest = after;
        }
        Ok(())
    }
}

/// The next digit of `rest / denominator` and what remains, without forming `rest * 10`.
fn long_digit(rest: u128, denominator: u128) -> (u128, u128) {
    let (mut digit, mut sum) = (0, 0_u128);
    for _ in 0..10 {
        // Both are below `denominator`, which is below 2^127, so the sum fits.
        sum += rest;
        if sum >= denominator {
            (sum, digit) = (sum - denominator, digit + 1);
        }
    }
    (digit, sum)
}

impl fmt::Display for Number {
    /// A decimal where there is an exact one, else the fraction and its decimal beginning.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(places) = self.decimal_places() {
            return self.write_decimal(f, places);
        }
        write!(f, "{}/{} (about ", self.numerator, self.denominator)?;
        match self.round(APPROXIMATE_DIGITS) {
            Some(rounded) => rounded.write_decimal(f, rounded.decimal_places().unwrap_or(0))?,
            None => self.write_decimal(f, APPROXIMATE_DIGITS)?,
        }
        f.write_str(")")
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn number(text: &str) -> Number {
        Number::parse(text).expect("a number")
    }

    #[test]
    fn decimals_are_exact() {
        let sum = number("0.1").plus(number("0.2")).expect("fits");
        assert_eq!(sum.to_string(), "0.3");
        assert_eq!(number("2.50e3").to_string(), "2500");
        assert_eq!(number("-1_000.25").to_string(), "-1000.25");
        assert_eq!(number("1e-3").to_string(), "0.001");
    }

    #[test]
    fn a_fraction_without_a_finite_decimal_says_so() {
        let third = Number::fraction(-2, 6).expect("fits");
        assert_eq!(third.to_string(), "-1/3 (about -0.333333333333)");
        let two_thirds = Number::fraction(2, 3).expect("fits");
        assert_eq!(two_thirds.to_string(), "2/3 (about 0.666666666667)");
    }

    #[test]
    fn rounding_goes_away_from_zero_at_a_half() {
        for (text, digits, expected) in [("2.5", 0, "3"), ("-2.5", 0, "-3"), ("1.005", 2, "1.01")] {
            assert_eq!(
                number(text).round(digits).expect("fits").to_string(),
                expected
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_none_and_not_a_panic() {
        let huge = Number::whole(i128::MAX);
        let least = Number::whole(i128::MIN);
        assert_eq!(huge.plus(Number::whole(1)), None);
        assert_eq!(huge.times(huge), None);
        assert_eq!(least.negate(), None);
        assert_eq!(Number::whole(2).power(1000), None);
        assert_eq!(Number::ZERO.power(-1), None);
        assert_eq!(Number::whole(1).over(Number::ZERO), None);
        assert_eq!(Number::fraction(1, i128::MIN), None);
        assert_eq!(Number::parse("1e2147483648"), None);
        assert_eq!(Number::parse("1e-2147483648"), None);
        let _ = least.to_string();
        let _ = Number::fraction(1, i128::MAX).expect("fits").to_string();
    }

    #[test]
    fn long_division_by_subtraction_gives_the_same_digits() {
        for (rest, denominator) in [(1, 7), (3, 8), (699, 700), (0, 3)] {
            assert_eq!(
                long_digit(rest, denominator),
                (rest * 10 / denominator, rest * 10 % denominator)
            );
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused() {
        for text in ["", ".", "-", "1.2.3", "e5", "1e", "0x10", "1 2", "_1", "∞"] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }
}
