//! Tools for what models are bad at and code is good at: exact arithmetic, dates, counting, units.
//!
//! | tool | does | module |
//! |---|---|---|
//! | `calculate` | works out an expression, exactly | [`calculate`] |
//! | `add_to_date` | the date some years, months, weeks and days away, and its weekday | [`dates`] |
//! | `days_between` | the days from one date to another | [`dates`] |
//! | `text_statistics` | counts of a text, and the dates in it with what is wrong with them, as JSON | [`statistics`] |
//! | `convert_unit` | a quantity in another unit, exactly | [`units`] |
//!
//! Each is a pure function of its arguments: the component imports nothing. Arguments are hostile: they are parsed
//! into types, lengths and nesting are bounded, and arithmetic that does not fit is an answer, never a trap.
#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

pub mod calculate;
pub mod dates;
pub mod number;
pub mod statistics;
pub mod units;

use tally_agent::plugin::Tool;
use tally_agent::tool;

/// The tools of this plugin.
pub const TOOLS: &[Tool] = &[
    tool!(
        "calculate",
        "Works out an arithmetic expression exactly. Knows + - * / % ^, parentheses, percentages such as 15%, and \
         round(x, digits), floor, ceil, abs, min, max, sum.",
        include_str!("../schemas/calculate.json"),
        calculate::run
    ),
    tool!(
        "add_to_date",
        "Gives the date some years, months, weeks and days after (or, with negative numbers, before) a date, and its \
         day of the week. With only a date, tells its day of the week.",
        include_str!("../schemas/add_to_date.json"),
        dates::add
    ),
    tool!(
        "days_between",
        "Counts the days from one date to another; negative when the second is earlier.",
        include_str!("../schemas/days_between.json"),
        dates::between
    ),
    tool!(
        "text_statistics",
        "Counts characters, words, sentences and paragraphs of a text, finds its longest sentence, and lists the \
         dates in it, saying which do not exist or fall on another weekday than the text says. Answers in JSON.",
        include_str!("../schemas/text_statistics.json"),
        statistics::run
    ),
    tool!(
        "convert_unit",
        "Converts a quantity between units of length, area, volume, mass, time, speed, temperature, energy or data.",
        include_str!("../schemas/convert_unit.json"),
        units::run
    ),
];

tally_agent::plugin!(TOOLS);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_schema_describes_an_object_whose_required_properties_exist() {
        for tool in TOOLS {
            let schema: Value =
                serde_json::from_str(tool.parameters_schema).expect("a schema is JSON");
            assert_eq!(schema["type"], "object", "{}", tool.name);
            assert_eq!(schema["additionalProperties"], false, "{}", tool.name);
            for name in schema["required"].as_array().expect("a list") {
                let name = name.as_str().expect("a name");
                assert!(
                    schema["properties"].get(name).is_some(),
                    "{} {name}",
                    tool.name
                );
            }
        }
    }

    #[test]
    fn hostile_arguments_are_refused_by_every_tool_without_a_panic() {
        let deep = "(".repeat(200_000);
        let long = "9".repeat(200_000);
        let values = [
            "",
            "null",
            "-",
            "1/0",
            "9999-99-99",
            "0000-00-00",
            "\u{0}",
            "💥",
            "1e999999999",
            "-170141183460469231731687303715884105728",
            "2^2^2^2^2^2",
            "e\u{301}",
            deep.as_str(),
            long.as_str(),
        ];
        for tool in TOOLS {
            let schema: Value =
                serde_json::from_str(tool.parameters_schema).expect("a schema is JSON");
            let names: Vec<&String> = schema["properties"]
                .as_object()
                .expect("an object")
                .keys()
                .collect();
            for value in values {
                let arguments: serde_json::Map<String, Value> = names
                    .iter()
                    .map(|name| ((*name).clone(), Value::from(value)))
                    .collect();
                let _ = (tool.run)(&Value::from(arguments).to_string());
                let _ = (tool.run)(value);
            }
            for number in [i64::MIN, -1, 0, i64::MAX] {
                let arguments: serde_json::Map<String, Value> = names
                    .iter()
                    .map(|name| {
                        let is_date = ["date", "from", "to"].contains(&name.as_str());
                        let value = if is_date {
                            Value::from("2026-01-31")
                        } else {
                            Value::from(number)
                        };
                        ((*name).clone(), value)
                    })
                    .collect();
                let _ = (tool.run)(&Value::from(arguments).to_string());
            }
        }
    }
}
