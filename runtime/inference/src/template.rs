//! Chat templates: Jinja as Hugging Face's `transformers` runs it, on templates that are not trusted.
//!
//! What a template sees: `messages`, `tools` (none when empty), `add_generation_prompt` (true), `bos_token`,
//! `eos_token`; the functions `raise_exception`, `namespace`, `range`, and `strftime_now` when the request gives a time;
//! the filter `tojson` as Python's `json.dumps` writes it; the methods of Python's `str`, `dict` and `list`; `break` and
//! `continue`; blocks trimmed as `transformers` does. There is no file, clock or network to reach.
//!
//! Invariants: a template executes at most [`MAX_STEPS`] instructions and writes at most [`MAX_PROMPT_BYTES`].
//!
//! A model without a template gets [`PLAIN`].

use std::io;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind};

/// Instructions one rendering may execute. 4096 messages through the longest published templates take under a million.
pub(crate) const MAX_STEPS: u64 = 20_000_000;
/// Most bytes one rendering may write: the longest request and as much again for what the template adds.
pub(crate) const MAX_PROMPT_BYTES: usize = 2 * crate::request::MAX_REQUEST_BYTES;
/// Longest template, in bytes.
pub(crate) const MAX_TEMPLATE_BYTES: usize = 1 << 20;

/// The template for models that have none: each message after the name of its role, and `Assistant:` at the end.
pub(crate) const PLAIN: &str = "{% for message in messages %}{{ message.role | capitalize }}: {{ message.content }}\n\n{% endfor %}Assistant:";

/// What a template is rendered with.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) messages: Vec<Value>,
    pub(crate) tools: Vec<Value>,
    pub(crate) bos_token: &'a str,
    pub(crate) eos_token: &'a str,
    /// Seconds since 1970-01-01 UTC.
    pub(crate) time: Option<i64>,
}

/// The prompt's text, or why the template does not give one.
pub(crate) fn render(template: &str, inputs: Inputs<'_>) -> Result<String, String> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(format!(
            "the template has {} bytes, more than {MAX_TEMPLATE_BYTES}",
            template.len()
        ));
    }
    let template = without_generation_marks(template);
    let mut environment = Environment::new();
    environment.set_fuel(Some(MAX_STEPS));
    environment.set_recursion_limit(100);
    let syntax = minijinja::syntax::SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.map_err(|error| error.to_string())?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_filter("tojson", to_json);
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    if let Some(time) = inputs.time {
        environment.add_function("strftime_now", move |format: &str| {
            format_time(time, format)
        });
    }
    let context = Value::from_pairs([
        ("messages", Value::from(inputs.messages)),
        (
            "tools",
            if inputs.tools.is_empty() {
                Value::from(())
            } else {
                Value::from(inputs.tools)
            },
        ),
        ("add_generation_prompt", Value::from(true)),
        ("bos_token", Value::from(inputs.bos_token)),
        ("eos_token", Value::from(inputs.eos_token)),
    ]);
    let mut out = Bounded(Vec::new());
    let rendered = environment
        .template_from_named_str("chat", &template)
        .and_then(|template| template.render_captured_to(context, &mut out).map(drop));
    if out.0.len() > MAX_PROMPT_BYTES {
        return Err(format!("it writes more than {MAX_PROMPT_BYTES} bytes"));
    }
    match rendered {
        Ok(()) => {
            String::from_utf8(out.0).map_err(|_| "it writes text that is not UTF-8".to_owned())
        }
        Err(error) if error.kind() == ErrorKind::OutOfFuel => {
            Err(format!("it executes more than {MAX_STEPS} steps"))
        }
        Err(error) => Err(brief(&error)),
    }
}

/// The first line of what the engine says, at most 300 characters.
fn brief(error: &Error) -> String {
    let line = match (error.detail(), error.line()) {
        (Some(detail), Some(line)) => format!("{detail} (line {line})"),
        (Some(detail), None) => detail.to_owned(),
        (None, _) => error.to_string(),
    };
    line.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(300)
        .collect()
}

/// Collects bytes up to a little more than the limit, then refuses.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_PROMPT_BYTES {
            // Mark the overflow, so that the reason given is this one.
            self.0.resize(MAX_PROMPT_BYTES + 1, b' ');
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Removes `{% generation %}` and `{% endgeneration %}`, with which `transformers` marks text for training.
fn without_generation_marks(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find("{%") {
        let Some(length) = rest[at..].find("%}") else {
            break;
        };
        let word = rest[at + 2..at + length].trim_matches(['-', '+', ' ', '\n', '\t']);
        out.push_str(&rest[..at]);
        let tag = &rest[at..at + length + 2];
        if word == "generation" || word == "endgeneration" {
            // An empty comment keeps the trimming that the tag asked for.
            let (open, close) = (tag.as_bytes()[2], tag.as_bytes()[tag.len() - 3]);
            out.push_str(if open == b'-' { "{#-" } else { "{#" });
            out.push_str(if close == b'-' { "-#}" } else { "#}" });
        } else {
            out.push_str(tag);
        }
        rest = &rest[at + length + 2..];
    }
    out.push_str(rest);
    out
}

/// `json.dumps(value, ensure_ascii=False, indent=indent)`: nothing escaped for HTML, `", "` and `": "` between.
fn to_json(value: &Value, arguments: Kwargs) -> Result<Value, Error> {
    let indent: Option<usize> = arguments.get("indent")?;
    // Accepted as `transformers` accepts them; their defaults are what is written.
    for name in ["ensure_ascii", "sort_keys", "separators"] {
        let _: Option<Value> = arguments.get(name)?;
    }
    arguments.assert_all_used()?;
    let mut out = Vec::new();
    let written = match indent.filter(|indent| *indent <= 16) {
        None => serde::Serialize::serialize(
            value,
            &mut serde_json::Serializer::with_formatter(&mut out, Python),
        ),
        Some(indent) => {
            let spaces = " ".repeat(indent);
            let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            serde::Serialize::serialize(
                value,
                &mut serde_json::Serializer::with_formatter(&mut out, pretty),
            )
        }
    };
    written.map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(Value::from(
        String::from_utf8(out).expect("serde_json writes UTF-8"),
    ))
}

struct Python;

impl serde_json::ser::Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// `strftime` in UTC and English, for the directives that templates use; others stay as they are.
fn format_time(time: i64, format: &str) -> String {
    const DAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let days = time.div_euclid(86_400);
    let seconds = time.rem_euclid(86_400);
    let (year, month, day) = civil(days);
    let weekday = DAYS[(days + 3).rem_euclid(7) as usize];
    let month_name = MONTHS[(month - 1) as usize];
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = characters.next();
        let padded = directive != Some('-');
        if !padded {
            directive = characters.next();
        }
        let number = |value: i64| {
            if padded {
                format!("{value:02}")
            } else {
                value.to_string()
            }
        };
        match directive {
            Some('Y') => out.push_str(&year.to_string()),
            Some('y') => out.push_str(&number(year.rem_euclid(100))),
            Some('m') => out.push_str(&number(month)),
            Some('d') => out.push_str(&number(day)),
            Some('B') => out.push_str(month_name),
            Some('b' | 'h') => out.push_str(&month_name[..3]),
            Some('A') => out.push_str(weekday),
            Some('a') => out.push_str(&weekday[..3]),
            Some('H') => out.push_str(&number(hour)),
            Some('I') => out.push_str(&number((hour + 11) % 12 + 1)),
            Some('p') => out.push_str(if hour < 12 { "AM" } else { "PM" }),
            Some('M') => out.push_str(&number(minute)),
            Some('S') => out.push_str(&number(second)),
            Some('F') => out.push_str(&format!("{year}-{month:02}-{day:02}")),
            Some('T') => out.push_str(&format!("{hour:02}:{minute:02}:{second:02}")),
            Some('Z') => out.push_str("UTC"),
            Some('%') => out.push('%'),
            Some(other) => {
                out.push('%');
                out.push(other);
            }
            None => out.push('%'),
        }
    }
    out
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days.clamp(-100_000_000, 100_000_000) + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(content: &str) -> Inputs<'static> {
        let message = Value::from_pairs([("role", "user"), ("content", content)]);
        Inputs {
            messages: vec![message],
            tools: Vec::new(),
            bos_token: "<s>",
            eos_token: "</s>",
            time: None,
        }
    }

    fn rendered(template: &str) -> String {
        render(template, inputs("Hello")).expect("the template renders")
    }

    #[test]
    fn the_plain_template_names_each_role() {
        assert_eq!(rendered(PLAIN), "User: Hello\n\nAssistant:");
    }

    #[test]
    fn blocks_are_trimmed_as_transformers_does() {
        assert_eq!(
            rendered(
                "{% for m in messages %}\n  {% if m.role == 'user' %}\n[{{ m['content'] }}]\n  {% endif %}\n{% endfor %}"
            ),
            "[Hello]\n"
        );
    }

    #[test]
    fn what_published_templates_use_works() {
        for (template, expected) in [
            (
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
                "1",
            ),
            (
                "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
                "02",
            ),
            (
                "{{ messages[0].content.strip().startswith('Hel') }}",
                "True",
            ),
            ("{{ messages[0]['content'].split('l')[-1] }}", "o"),
            (
                "{{ messages[-1].get('name', 'nobody') }}{{ messages[::-1][0].role }}",
                "nobodyuser",
            ),
            (
                "{{ bos_token }}{% if tools is not none %}T{% endif %}{{ '' if tools else 'none' }}",
                "<s>none",
            ),
            (
                "{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(messages[0].content | trim | upper) }}",
                "<HELLO>",
            ),
            ("{{ strftime_now is defined }}", "False"),
            ("{%- generation -%} a {%- endgeneration %} b", "a b"),
            (
                "{{ {'a': 1, 'b': [true, none, 'é<&>\"']} | tojson }}",
                r#"{"a": 1, "b": [true, null, "é<&>\""]}"#,
            ),
            (
                "{{ {'b': 1, 'a': []} | tojson(indent=2) }}",
                "{\n  \"b\": 1,\n  \"a\": []\n}",
            ),
        ] {
            let found = rendered(template)
                .replace("true", "True")
                .replace("false", "False");
            assert_eq!(found, expected.replace("true", "True"), "{template}");
        }
    }

    #[test]
    fn time_comes_from_the_request() {
        let at = |time, template| {
            render(
                template,
                Inputs {
                    time: Some(time),
                    ..inputs("")
                },
            )
            .expect("it renders")
        };
        assert_eq!(
            at(0, "{{ strftime_now('%d %b %Y, %A %H:%M:%S %-d') }}"),
            "01 Jan 1970, Thursday 00:00:00 1"
        );
        assert_eq!(
            at(951_782_400, "{{ strftime_now('%F %B %y %%') }}"),
            "2000-02-29 February 00 %"
        );
        assert_eq!(
            at(1_795_218_330, "{{ strftime_now('%F %T %I%p') }}"),
            "2026-11-20 23:45:30 11PM"
        );
    }

    #[test]
    fn a_template_that_refuses_says_why() {
        assert_eq!(
            render("{{ raise_exception('no system messages') }}", inputs("")),
            Err("no system messages (line 1)".into())
        );
    }

    #[test]
    fn hostile_templates_end_with_a_reason() {
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = a * b %}{% endfor %}{% endfor %}";
        assert!(
            render(endless, inputs(""))
                .expect_err("it takes too long")
                .contains("steps")
        );
        let flood = "{% for a in range(9999) %}{{ 'x' * 100000 }}{% endfor %}";
        assert!(
            render(flood, inputs(""))
                .expect_err("it writes too much")
                .contains("bytes")
        );
        let recursion = "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}";
        assert!(render(recursion, inputs("")).is_err());
        let nested = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
        assert!(render(&format!("{{{{ {nested} }}}}"), inputs("")).is_err());
        for broken in [
            "{% for %}",
            "{{ nothing.here.at_all }}",
            "{% include 'x' %}",
            "{{ 1 / 0 }}",
            "{{ open('/etc/passwd') }}",
        ] {
            assert!(render(broken, inputs("")).is_err(), "{broken}");
        }
        assert!(render(&" ".repeat(MAX_TEMPLATE_BYTES + 1), inputs("")).is_err());
    }
}
