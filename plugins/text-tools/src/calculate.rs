//! Arithmetic, exactly.
//!
//! ```text
//! sum     := product (("+" | "-") product)*
//! product := sign (("*" | "/" | "%") sign)*        a "%" with a value on both sides is a remainder
//! sign    := ("-" | "+") sign | power
//! power   := percent ("^" sign)?                   to the right, so 2^3^2 is 2^9
//! percent := value "%"?                            with nothing to divide by, hundredths
//! value   := number | "(" sum ")" | name "(" sum ("," sum)* ")"
//! ```
//!
//! As on a pocket calculator and unlike in speech, `200 + 10%` is 200.1: a percentage is a number.
//! The signs ×, ÷, − and · are read as `*`, `/`, `-` and `*`. A comma is a separator, never part of a number.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Ordering;

use serde::Deserialize;
use tally_agent::{Error, Result};

use crate::number::Number;

/// Longer than anything a person would type; keeps the work of one call small.
const MAX_EXPRESSION_BYTES: usize = 4096;
/// Deeper than anything a person would nest; each level is a few stack frames of a 64 KiB stack.
const MAX_DEPTH: u32 = 40;

/// The arguments of `calculate`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    expression: String,
}

/// Runs the tool.
///
/// # Errors
///
/// [`Invalid`](Error::Invalid) when the expression is malformed, divides by zero, or leaves 128-bit fractions.
pub fn run(arguments: Arguments) -> Result<String> {
    Ok(evaluate(&arguments.expression)?.to_string())
}

/// The value of an expression.
///
/// # Errors
///
/// As [`run`].
pub fn evaluate(expression: &str) -> Result<Number> {
    if expression.len() > MAX_EXPRESSION_BYTES {
        return Err(Error::invalid(format!(
            "the expression is longer than {MAX_EXPRESSION_BYTES} bytes"
        )));
    }
    let mut parser = Parser {
        rest: expression,
        depth: 0,
    };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(value),
        Some(found) => Err(Error::invalid(format!(
            "did not expect {found:?} in the expression"
        ))),
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: u32,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<Number> {
        let mut value = self.product()?;
        loop {
            value = match self.peek() {
                Some('+') => fits(value.plus(self.after_sign(Self::product)?))?,
                Some('-') => fits(value.minus(self.after_sign(Self::product)?))?,
                _ => return Ok(value),
            };
        }
    }

    fn product(&mut self) -> Result<Number> {
        let mut value = self.sign()?;
        loop {
            value = match self.peek() {
                Some('*') => fits(value.times(self.after_sign(Self::sign)?))?,
                Some('/') => {
                    let divisor = not_zero(self.after_sign(Self::sign)?)?;
                    fits(value.over(divisor))?
                }
                Some('%') => {
                    let divisor = not_zero(self.after_sign(Self::sign)?)?;
                    fits(value.remainder(divisor))?
                }
                _ => return Ok(value),
            };
        }
    }

    fn sign(&mut self) -> Result<Number> {
        match self.peek() {
            Some('-') => {
                let value = self.deeper(|parser| parser.after_sign(Self::sign))?;
                fits(value.negate())
            }
            Some('+') => self.deeper(|parser| parser.after_sign(Self::sign)),
            _ => self.power(),
        }
    }

    fn power(&mut self) -> Result<Number> {
        let base = self.percent()?;
        if self.peek() != Some('^') {
            return Ok(base);
        }
        let exponent = self.deeper(|parser| parser.after_sign(Self::sign))?;
        let exponent = exponent
            .to_whole()
            .ok_or_else(|| Error::invalid("only whole powers are exact"))?;
        if exponent < 0 {
            not_zero(base)?;
        }
        fits(base.power(exponent))
    }

    fn percent(&mut self) -> Result<Number> {
        let value = self.value()?;
        if self.peek() != Some('%') {
            return Ok(value);
        }
        let after = self.rest.trim_start()[1..].trim_start().chars().next();
        if after.is_some_and(|next| next.is_alphanumeric() || next == '(' || next == '.') {
            return Ok(value);
        }
        self.take();
        fits(value.over(Number::whole(100)))
    }

    fn value(&mut self) -> Result<Number> {
        match self.peek() {
            Some('(') => {
                self.take();
                let value = self.deeper(Self::sum)?;
                self.expect(')')?;
                Ok(value)
            }
            Some(first) if first.is_ascii_digit() || first == '.' => {
                let text = self.take_while(|c| c.is_ascii_digit() || c == '.' || c == '_');
                Number::parse(text)
                    .ok_or_else(|| Error::invalid(format!("{text} is not a number that fits")))
            }
            Some(first) if first.is_ascii_alphabetic() => {
                let name = self.take_while(|c| c.is_ascii_alphanumeric());
                self.expect('(')?;
                let mut arguments = Vec::from([self.deeper(Self::sum)?]);
                while self.peek() == Some(',') {
                    self.take();
                    arguments.push(self.deeper(Self::sum)?);
                }
                self.expect(')')?;
                apply(name, &arguments)
            }
            Some(found) => Err(Error::invalid(format!(
                "expected a number, found {found:?}"
            ))),
            None => Err(Error::invalid(
                "the expression ends where a number should be",
            )),
        }
    }

    /// The next sign, after spaces.
    fn peek(&self) -> Option<char> {
        match self.rest.trim_start().chars().next() {
            Some('×' | '·') => Some('*'),
            Some('÷') => Some('/'),
            Some('−') => Some('-'),
            other => other,
        }
    }

    fn take(&mut self) {
        let mut rest = self.rest.trim_start().chars();
        rest.next();
        self.rest = rest.as_str();
    }

    fn after_sign(&mut self, parse: impl FnOnce(&mut Self) -> Result<Number>) -> Result<Number> {
        self.take();
        parse(self)
    }

    fn deeper(&mut self, parse: impl FnOnce(&mut Self) -> Result<Number>) -> Result<Number> {
        if self.depth == MAX_DEPTH {
            return Err(Error::invalid(format!(
                "the expression nests deeper than {MAX_DEPTH}"
            )));
        }
        self.depth += 1;
        let value = parse(self);
        self.depth -= 1;
        value
    }

    fn expect(&mut self, sign: char) -> Result<()> {
        match self.peek() {
            Some(found) if found == sign => {
                self.take();
                Ok(())
            }
            Some(found) => Err(Error::invalid(format!(
                "expected {sign:?}, found {found:?}"
            ))),
            None => Err(Error::invalid(format!("expected {sign:?} at the end"))),
        }
    }
}

impl<'a> Parser<'a> {
    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest.trim_start();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        let (taken, after) = rest.split_at(end);
        self.rest = after;
        taken
    }
}

fn apply(name: &str, arguments: &[Number]) -> Result<Number> {
    match (name, arguments) {
        ("round", [x]) => fits(x.round(0)),
        ("round", [x, digits]) => {
            let digits = digits
                .to_whole()
                .and_then(|digits| u32::try_from(digits).ok());
            let digits = digits.filter(|digits| *digits <= 20);
            let digits = digits.ok_or_else(|| Error::invalid("round takes 0 to 20 digits"))?;
            fits(x.round(digits))
        }
        ("floor", [x]) => Ok(x.floor()),
        ("ceil", [x]) => fits(x.negate().and_then(|x| x.floor().negate())),
        ("abs", [x]) => match x.compare(Number::ZERO) {
            Some(Ordering::Less) => fits(x.negate()),
            _ => Ok(*x),
        },
        ("min", _) => extreme(arguments, Ordering::Less),
        ("max", _) => extreme(arguments, Ordering::Greater),
        ("sum", _) => arguments
            .iter()
            .try_fold(Number::ZERO, |sum, x| fits(sum.plus(*x))),
        ("round" | "floor" | "ceil" | "abs", _) => Err(Error::invalid(format!(
            "{name} does not take {} arguments",
            arguments.len()
        ))),
        _ => Err(Error::invalid(format!(
            "there is no function {name}; there are round, floor, ceil, abs, min, max, sum"
        ))),
    }
}

fn extreme(arguments: &[Number], which: Ordering) -> Result<Number> {
    let mut best = arguments[0];
    for candidate in &arguments[1..] {
        if fits(candidate.compare(best))? == which {
            best = *candidate;
        }
    }
    Ok(best)
}

fn fits<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid("the exact result is too large"))
}

fn not_zero(value: Number) -> Result<Number> {
    if value == Number::ZERO {
        return Err(Error::invalid("division by zero"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_their_usual_value() {
        for (expression, expected) in [
            ("1 + 2 * 3", "7"),
            ("(1 + 2) * 3", "9"),
            ("10 - 4 - 3", "3"),
            ("2^3^2", "512"),
            ("-2^2", "-4"),
            ("2^-2", "0.25"),
            ("7 % 3", "1"),
            ("-7 % 3", "2"),
            ("50% * 80", "40"),
            ("200 + 10%", "200.1"),
            ("3 × 4 ÷ 2 − 1", "5"),
            ("0.1 + 0.2", "0.3"),
            ("10/4", "2.5"),
            ("1/3", "1/3 (about 0.333333333333)"),
            ("round(2/3, 2)", "0.67"),
            ("max(1, 9, 4) - min(3, 2)", "7"),
            ("sum(1.5, 2.5, 3)", "7"),
            ("floor(-1.5) + ceil(-1.5) + abs(-3)", "0"),
            ("1_000 * 3", "3000"),
            ("12 % (5)", "2"),
        ] {
            let value = evaluate(expression).expect(expression);
            assert_eq!(value.to_string(), expected, "{expression}");
        }
    }

    #[test]
    fn malformed_expressions_say_what_is_wrong() {
        for (expression, says) in [
            ("", "ends where a number"),
            ("1 +", "ends where a number"),
            ("1 1", "did not expect '1'"),
            ("(1", "expected ')'"),
            ("sqrt(2)", "no function sqrt"),
            ("round(1, 2, 3)", "does not take 3"),
            ("round(1, 99)", "0 to 20"),
            ("1/0", "division by zero"),
            ("5 % 0", "division by zero"),
            ("0^-1", "division by zero"),
            ("2^0.5", "whole powers"),
            ("9^999", "too large"),
            ("1.2.3", "not a number"),
            ("a", "expected '('"),
        ] {
            let error = evaluate(expression).expect_err(expression).to_string();
            assert!(error.contains(says), "{expression}: {error}");
        }
    }

    #[test]
    fn nesting_is_bounded_in_every_direction() {
        for deep in ["(", "-", "2^", "abs("] {
            let expression = deep.repeat(1000);
            let error = evaluate(&expression).expect_err("too deep").to_string();
            assert!(error.contains("nests deeper"), "{deep}: {error}");
        }
        let long = "1+".repeat(5000);
        assert!(evaluate(&long).is_err());
    }
}
