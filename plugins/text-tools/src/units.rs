//! Quantities in other units, exactly: every factor is the fraction by which the unit is defined.
//!
//! Source of the factors: the SI brochure, 9th edition, and the international yard and pound agreement of 1959. Cups,
//! spoons, pints, gallons and fluid ounces are those of the United States; a calorie is the thermochemical one.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Deserialize;
use tally_agent::{Error, Result};

use crate::number::Number;

/// The arguments of `convert_unit`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    value: Value,
    from: String,
    to: String,
}

/// A number, or a number in a string: models write both.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Number(serde_json::Number),
    Text(String),
}

/// One unit: `(value + shift) * numerator / denominator` is the value in the base unit of its kind.
struct Unit {
    kind: Kind,
    names: &'static [&'static str],
    numerator: i128,
    denominator: i128,
    /// Hundredths of a degree; zero but for temperatures.
    shift: i128,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Length,
    Area,
    Volume,
    Mass,
    Time,
    Speed,
    Temperature,
    Energy,
    Data,
}

const fn unit(
    kind: Kind,
    names: &'static [&'static str],
    numerator: i128,
    denominator: i128,
) -> Unit {
    Unit {
        kind,
        names,
        numerator,
        denominator,
        shift: 0,
    }
}

const fn degree(
    names: &'static [&'static str],
    numerator: i128,
    denominator: i128,
    shift: i128,
) -> Unit {
    Unit {
        kind: Kind::Temperature,
        names,
        numerator,
        denominator,
        shift,
    }
}

/// Base units: metre, square metre, litre, gram, second, metre per second, kelvin, joule, byte. A unit's first name
/// is the one that is printed.
const UNITS: &[Unit] = &[
    unit(Kind::Length, &["mm", "millimetre", "millimeter"], 1, 1000),
    unit(Kind::Length, &["cm", "centimetre", "centimeter"], 1, 100),
    unit(Kind::Length, &["m", "metre", "meter"], 1, 1),
    unit(Kind::Length, &["km", "kilometre", "kilometer"], 1000, 1),
    unit(Kind::Length, &["in", "inch", "inches"], 254, 10_000),
    unit(Kind::Length, &["ft", "foot", "feet"], 3048, 10_000),
    unit(Kind::Length, &["yd", "yard"], 9144, 10_000),
    unit(Kind::Length, &["mi", "mile"], 1_609_344, 1000),
    unit(Kind::Length, &["nmi", "nautical mile"], 1852, 1),
    unit(Kind::Area, &["cm2", "cm²", "square centimetre"], 1, 10_000),
    unit(
        Kind::Area,
        &["m2", "m²", "square metre", "square meter"],
        1,
        1,
    ),
    unit(Kind::Area, &["ha", "hectare"], 10_000, 1),
    unit(
        Kind::Area,
        &["km2", "km²", "square kilometre"],
        1_000_000,
        1,
    ),
    unit(
        Kind::Area,
        &["ft2", "ft²", "square foot", "square feet"],
        9_290_304,
        100_000_000,
    ),
    unit(Kind::Area, &["ac", "acre"], 40_468_564_224, 10_000_000),
    unit(Kind::Volume, &["ml", "millilitre", "milliliter"], 1, 1000),
    unit(Kind::Volume, &["cl", "centilitre", "centiliter"], 1, 100),
    unit(Kind::Volume, &["dl", "decilitre", "deciliter"], 1, 10),
    unit(Kind::Volume, &["l", "litre", "liter"], 1, 1),
    unit(
        Kind::Volume,
        &["m3", "m³", "cubic metre", "cubic meter"],
        1000,
        1,
    ),
    unit(
        Kind::Volume,
        &["gal", "gallon"],
        3_785_411_784,
        1_000_000_000,
    ),
    unit(Kind::Volume, &["qt", "quart"], 946_352_946, 1_000_000_000),
    unit(Kind::Volume, &["pt", "pint"], 473_176_473, 1_000_000_000),
    unit(Kind::Volume, &["cup"], 2_365_882_365, 10_000_000_000),
    unit(
        Kind::Volume,
        &["floz", "fl oz", "fluid ounce"],
        295_735_295_625,
        10_000_000_000_000,
    ),
    unit(
        Kind::Volume,
        &["tbsp", "tablespoon"],
        1_478_676_478_125,
        100_000_000_000_000,
    ),
    unit(
        Kind::Volume,
        &["tsp", "teaspoon"],
        492_892_159_375,
        100_000_000_000_000,
    ),
    unit(Kind::Mass, &["mg", "milligram"], 1, 1000),
    unit(Kind::Mass, &["g", "gram"], 1, 1),
    unit(Kind::Mass, &["kg", "kilogram"], 1000, 1),
    unit(Kind::Mass, &["t", "tonne"], 1_000_000, 1),
    unit(Kind::Mass, &["oz", "ounce"], 28_349_523_125, 1_000_000_000),
    unit(Kind::Mass, &["lb", "pound"], 45_359_237, 100_000),
    unit(Kind::Mass, &["st", "stone"], 635_029_318, 100_000),
    unit(Kind::Time, &["ms", "millisecond"], 1, 1000),
    unit(Kind::Time, &["s", "second"], 1, 1),
    unit(Kind::Time, &["min", "minute"], 60, 1),
    unit(Kind::Time, &["h", "hour"], 3600, 1),
    unit(Kind::Time, &["d", "day"], 86_400, 1),
    unit(Kind::Time, &["wk", "week"], 604_800, 1),
    unit(
        Kind::Speed,
        &["m/s", "metre per second", "meter per second"],
        1,
        1,
    ),
    unit(Kind::Speed, &["km/h", "kmh", "kph"], 1000, 3600),
    unit(Kind::Speed, &["mph", "mi/h"], 1_609_344, 3_600_000),
    unit(Kind::Speed, &["kn", "knot"], 1852, 3600),
    degree(&["K", "kelvin"], 1, 1, 0),
    degree(&["degC", "C", "°C", "celsius"], 1, 1, 27_315),
    degree(&["degF", "F", "°F", "fahrenheit"], 5, 9, 45_967),
    unit(Kind::Energy, &["J", "joule"], 1, 1),
    unit(Kind::Energy, &["kJ", "kilojoule"], 1000, 1),
    unit(Kind::Energy, &["MJ", "megajoule"], 1_000_000, 1),
    unit(Kind::Energy, &["cal", "calorie"], 4184, 1000),
    unit(Kind::Energy, &["kcal", "kilocalorie"], 4184, 1),
    unit(Kind::Energy, &["Wh", "watt hour"], 3600, 1),
    unit(Kind::Energy, &["kWh", "kilowatt hour"], 3_600_000, 1),
    unit(Kind::Data, &["bit"], 1, 8),
    unit(Kind::Data, &["B", "byte"], 1, 1),
    unit(Kind::Data, &["kB", "kilobyte"], 1000, 1),
    unit(Kind::Data, &["MB", "megabyte"], 1_000_000, 1),
    unit(Kind::Data, &["GB", "gigabyte"], 1_000_000_000, 1),
    unit(Kind::Data, &["TB", "terabyte"], 1_000_000_000_000, 1),
    unit(Kind::Data, &["KiB", "kibibyte"], 1 << 10, 1),
    unit(Kind::Data, &["MiB", "mebibyte"], 1 << 20, 1),
    unit(Kind::Data, &["GiB", "gibibyte"], 1 << 30, 1),
    unit(Kind::Data, &["TiB", "tebibyte"], 1 << 40, 1),
];

/// Runs the tool.
///
/// # Errors
///
/// [`Invalid`](Error::Invalid) for an unknown unit, units of different kinds, or a number that does not fit.
pub fn run(arguments: Arguments) -> Result<String> {
    let text = match arguments.value {
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text,
    };
    let value = Number::parse(text.trim())
        .ok_or_else(|| Error::invalid("the value is not a number that fits"))?;
    let (from, to) = (find(&arguments.from)?, find(&arguments.to)?);
    if from.kind != to.kind {
        return Err(Error::invalid(format!(
            "{} is a {:?} and {} is a {:?}",
            from.names[0], from.kind, to.names[0], to.kind
        )));
    }
    let converted =
        convert(value, from, to).ok_or_else(|| Error::invalid("the exact result is too large"))?;
    Ok(format!(
        "{value} {} = {converted} {}",
        from.names[0], to.names[0]
    ))
}

fn convert(value: Number, from: &Unit, to: &Unit) -> Option<Number> {
    let base = value
        .plus(Number::fraction(from.shift, 100)?)?
        .times(Number::fraction(from.numerator, from.denominator)?)?;
    base.over(Number::fraction(to.numerator, to.denominator)?)?
        .minus(Number::fraction(to.shift, 100)?)
}

/// By exact name first, because `MB` and `mb` or `K` and `k` differ; then by name in any case, or its plural.
fn find(name: &str) -> Result<&'static Unit> {
    let name = name.trim();
    let exactly = |unit: &&Unit| unit.names.contains(&name);
    if let Some(unit) = UNITS.iter().find(exactly) {
        return Ok(unit);
    }
    let loosely = |unit: &&Unit| {
        unit.names.iter().any(|known| {
            let singular = name.strip_suffix('s').unwrap_or(name);
            known.len() > 1
                && (known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(singular))
        })
    };
    let mut found = UNITS.iter().filter(loosely);
    match (found.next(), found.next()) {
        (Some(unit), None) => Ok(unit),
        (Some(_), Some(_)) => Err(Error::invalid(
            "the unit's capitals matter: it could be one of several",
        )),
        _ => {
            let known: Vec<&str> = UNITS.iter().map(|unit| unit.names[0]).collect();
            Err(Error::invalid(format!(
                "there is no such unit; there are: {}",
                known.join(" ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(value: &str, from: &str, to: &str) -> Result<String> {
        run(Arguments {
            value: Value::Text(value.into()),
            from: from.into(),
            to: to.into(),
        })
    }

    #[test]
    fn quantities_convert_by_their_definitions() {
        for (value, from, to, expected) in [
            ("5", "mi", "km", "5 mi = 8.04672 km"),
            ("1", "inch", "cm", "1 in = 2.54 cm"),
            ("10", "Miles", "kilometres", "10 mi = 16.09344 km"),
            ("100", "C", "F", "100 degC = 212 degF"),
            ("-40", "°F", "celsius", "-40 degF = -40 degC"),
            ("0", "K", "degC", "0 K = -273.15 degC"),
            ("2.5", "lb", "g", "2.5 lb = 1133.980925 g"),
            (
                "100",
                "km/h",
                "m/s",
                "100 km/h = 250/9 (about 27.777777777778) m/s",
            ),
            ("1", "GiB", "MB", "1 GiB = 1073.741824 MB"),
            ("1", "cup", "tbsp", "1 cup = 16 tbsp"),
            ("1", "tbsp", "tsp", "1 tbsp = 3 tsp"),
            ("1", "gal", "floz", "1 gal = 128 floz"),
            ("3", "kWh", "MJ", "3 kWh = 10.8 MJ"),
            ("1", "acre", "ft2", "1 ac = 43560 ft2"),
            ("2", "weeks", "h", "2 wk = 336 h"),
        ] {
            assert_eq!(convert(value, from, to).expect(from), expected);
        }
    }

    #[test]
    fn a_number_in_json_is_read_without_losing_digits() {
        let arguments = serde_json::from_str(r#"{"value":0.1,"from":"m","to":"mm"}"#);
        let text = run(arguments.expect("arguments")).expect("converts");
        assert_eq!(text, "0.1 m = 100 mm");
    }

    #[test]
    fn different_kinds_and_unknown_units_are_refused() {
        assert!(convert("1", "kg", "m").is_err());
        assert!(convert("1", "parsec", "m").is_err());
        assert!(convert("one", "m", "km").is_err());
        assert!(convert("", "m", "km").is_err());
        assert!(convert("1", "", "km").is_err());
    }

    #[test]
    fn no_two_units_share_a_name() {
        let mut names: Vec<&str> = UNITS.iter().flat_map(|unit| unit.names).copied().collect();
        let before = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), before);
    }
}
