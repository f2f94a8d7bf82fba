//! Tool calls: how models are told of tools, and how calls are found in what they write.
//!
//! Four ways of writing a call are read ([`CallFormat`]); which one applies is seen from the chat template. Calls to
//! tools that were not offered, and calls that are not JSON, stay text: a caller never runs what it did not offer.
//!
//! A model whose template ignores `tools` is told of them by [`generic_prompt`], in a system message.

use serde_json::{Value, json};

use crate::request::{ToolCall, ToolChoice, ToolSpec};

/// How a model writes tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallFormat {
    /// `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, any number of times, among text. Hermes, Qwen, and what
    /// [`generic_prompt`] asks for.
    Tagged,
    /// `{"name": …, "parameters": {…}}` as the whole answer, `;` between several. Llama 3.
    Bare,
    /// `[TOOL_CALLS]` and then a JSON array of calls, or `name[ARGS]{…}`. Mistral.
    Bracketed,
    /// The whole answer is one call, because a grammar forces it.
    Forced,
}

const TAG: &str = "<tool_call>";
const END_TAG: &str = "</tool_call>";
const BRACKET: &str = "[TOOL_CALLS]";
const ARGS: &str = "[ARGS]";
const PYTHON_TAG: &str = "<|python_tag|>";

/// Control tokens that are shown as text while calls are looked for.
pub(crate) const MARKERS: [&str; 5] = [TAG, END_TAG, BRACKET, ARGS, PYTHON_TAG];

impl CallFormat {
    /// The format that goes with a chat template.
    pub(crate) fn of_template(template: &str) -> Self {
        if template.contains(BRACKET) {
            Self::Bracketed
        } else if template.contains(PYTHON_TAG) || template.contains("Environment: ipython") {
            Self::Bare
        } else {
            Self::Tagged
        }
    }
}

/// Whether a template shows tools by itself.
pub(crate) fn template_knows_tools(template: &str) -> bool {
    template.contains("tools")
}

/// The system text for models whose template has no place for tools.
pub(crate) fn generic_prompt(tools: &[ToolSpec]) -> String {
    let mut text = String::from(
        "You can call tools. To call one, write exactly\n<tool_call>\n{\"name\": \"TOOL\", \"arguments\": {...}}\n</tool_call>\nand nothing after it; \
         the result will be given to you. Call a tool only when it helps.\nThe tools are, one JSON object per line:",
    );
    for tool in tools {
        text.push('\n');
        text.push_str(&describe(tool)["function"].to_string());
    }
    text
}

/// A tool as chat templates expect it.
pub(crate) fn describe(tool: &ToolSpec) -> Value {
    let parameters: Value = serde_json::from_str(&tool.parameters_schema)
        .unwrap_or_else(|_| json!({ "type": "object" }));
    json!({
        "type": "function",
        "function": { "name": tool.name, "description": tool.description, "parameters": parameters },
    })
}

/// The schema of one call of one of the tools that may be called; `None` when nothing is forced.
pub(crate) fn forced_schema(tools: &[ToolSpec], choice: &ToolChoice) -> Option<Value> {
    let chosen: Vec<&ToolSpec> = match choice {
        ToolChoice::Auto | ToolChoice::None => return None,
        ToolChoice::Required => tools.iter().collect(),
        ToolChoice::Named(name) => tools.iter().filter(|tool| tool.name == *name).collect(),
    };
    let call = |tool: &&ToolSpec| {
        json!({
            "type": "object",
            "properties": { "name": { "const": tool.name }, "arguments": describe(tool)["function"]["parameters"] },
            "required": ["name", "arguments"],
            "additionalProperties": false,
        })
    };
    Some(match chosen.as_slice() {
        [only] => call(only),
        several => json!({ "anyOf": several.iter().map(call).collect::<Vec<_>>() }),
    })
}

/// Finds calls in the text of one generation as it grows.
#[derive(Debug)]
pub(crate) struct CallReader {
    format: CallFormat,
    offered: Vec<String>,
    /// Text that may be, or is, a part of a call.
    held: String,
    /// An opening mark was read, and `held` follows it.
    inside: bool,
    /// Something that is not white space was released as text.
    said_something: bool,
    calls: u32,
    /// Makes call ids different between generations.
    id_key: [u8; 32],
}

/// What [`CallReader`] is sure of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) text: String,
    pub(crate) calls: Vec<ToolCall>,
}

impl CallReader {
    pub(crate) fn new(format: CallFormat, tools: &[ToolSpec], id_key: [u8; 32]) -> Self {
        let offered = tools.iter().map(|tool| tool.name.clone()).collect();
        Self {
            format,
            offered,
            held: String::new(),
            inside: false,
            said_something: false,
            calls: 0,
            id_key,
        }
    }

    /// Calls found so far.
    pub(crate) fn count(&self) -> u32 {
        self.calls
    }

    pub(crate) fn push(&mut self, text: &str) -> Read {
        let mut read = Read::default();
        self.held.push_str(text);
        match self.format {
            CallFormat::Tagged => self.push_tagged(&mut read),
            CallFormat::Bracketed => self.push_until(BRACKET, &mut read),
            CallFormat::Bare => {
                if !self.inside && !self.said_something {
                    let start = self.held.trim_start();
                    let may_be_tag = PYTHON_TAG.starts_with(start) || start.starts_with(PYTHON_TAG);
                    self.inside = start.starts_with('{') || start.starts_with(PYTHON_TAG);
                    if !self.inside && !start.is_empty() && !may_be_tag {
                        let held = std::mem::take(&mut self.held);
                        self.say(&held, &mut read);
                    }
                } else if !self.inside {
                    let held = std::mem::take(&mut self.held);
                    self.say(&held, &mut read);
                }
            }
            CallFormat::Forced => {}
        }
        read
    }

    /// The generation has ended: what is held is a call, or text after all.
    pub(crate) fn finish(&mut self) -> Read {
        let mut read = Read::default();
        let held = std::mem::take(&mut self.held);
        let calls = match self.format {
            CallFormat::Tagged if self.inside => self.parse_objects(&held),
            CallFormat::Bracketed if self.inside => self.parse_bracketed(&held),
            CallFormat::Bare if self.inside => {
                self.parse_objects(held.trim_start().trim_start_matches(PYTHON_TAG))
            }
            CallFormat::Forced => self.parse_objects(&held),
            _ => None,
        };
        match calls {
            Some(calls) => read.calls = calls,
            None => {
                let mark = match self.format {
                    CallFormat::Tagged if self.inside => TAG,
                    CallFormat::Bracketed if self.inside => BRACKET,
                    _ => "",
                };
                read.text = format!("{mark}{held}");
            }
        }
        read
    }

    fn push_tagged(&mut self, read: &mut Read) {
        loop {
            if !self.inside {
                self.push_until(TAG, read);
                if !self.inside {
                    return;
                }
            }
            let Some(end) = self.held.find(END_TAG) else {
                return;
            };
            let body = self.held[..end].to_owned();
            self.held.drain(..end + END_TAG.len());
            self.inside = false;
            match self.parse_objects(&body) {
                Some(calls) => read.calls.extend(calls),
                None => self.say(&format!("{TAG}{body}{END_TAG}"), read),
            }
        }
    }

    /// Releases text up to `mark`, holding back what may be its beginning.
    fn push_until(&mut self, mark: &str, read: &mut Read) {
        if self.inside {
            return;
        }
        if let Some(at) = self.held.find(mark) {
            let before = self.held[..at].to_owned();
            self.held.drain(..at + mark.len());
            self.inside = true;
            // White space between text and a call belongs to neither.
            self.say(before.trim_end(), read);
            return;
        }
        let partial = (1..mark.len())
            .rev()
            .find(|length| mark.is_char_boundary(*length) && self.held.ends_with(&mark[..*length]));
        // White space before a possible mark is held with it.
        let keep = self.held[..self.held.len() - partial.unwrap_or(0)]
            .trim_end()
            .len();
        let text: String = self.held.drain(..keep).collect();
        self.say(&text, read);
    }

    fn say(&mut self, text: &str, read: &mut Read) {
        self.said_something |= !text.trim().is_empty();
        read.text.push_str(text);
    }

    fn parse_bracketed(&mut self, held: &str) -> Option<Vec<ToolCall>> {
        let held = held.trim();
        if held.starts_with('[') {
            let found: Vec<Value> = serde_json::from_str(held).ok()?;
            return self.calls_of(found);
        }
        let mut found = Vec::new();
        for part in held.split(BRACKET) {
            let (name, arguments) = part
                .split_once(ARGS)
                .or_else(|| part.find('{').map(|at| part.split_at(at)))?;
            let arguments: Value = serde_json::from_str(arguments.trim()).ok()?;
            found.push(json!({ "name": name.trim(), "arguments": arguments }));
        }
        self.calls_of(found)
    }

    /// One JSON object or several, with white space, commas or semicolons between them, or an array of them.
    fn parse_objects(&mut self, held: &str) -> Option<Vec<ToolCall>> {
        let mut found = Vec::new();
        let mut rest = held.trim();
        while !rest.is_empty() {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            match values.next()?.ok()? {
                Value::Array(several) => found.extend(several),
                value => found.push(value),
            }
            rest = rest[values.byte_offset()..]
                .trim_start_matches(|c: char| c.is_whitespace() || c == ';' || c == ',');
        }
        self.calls_of(found)
    }

    /// The calls, when there is at least one and every one of them is a call of a tool that was offered.
    fn calls_of(&mut self, found: Vec<Value>) -> Option<Vec<ToolCall>> {
        let mut calls = Vec::new();
        for (value, index) in found.iter().zip(self.calls..) {
            let name = value.get("name")?.as_str()?;
            let arguments = value.get("arguments").or_else(|| value.get("parameters"))?;
            // Some models write the arguments as a string of JSON.
            let arguments = match arguments {
                Value::Object(_) => arguments.clone(),
                Value::String(text) => serde_json::from_str::<Value>(text)
                    .ok()
                    .filter(Value::is_object)?,
                _ => return None,
            };
            if !self.offered.iter().any(|offered| offered == name) {
                return None;
            }
            calls.push(ToolCall {
                id: self.id(index),
                name: name.to_owned(),
                arguments_json: arguments.to_string(),
            });
        }
        if calls.is_empty() {
            return None;
        }
        self.calls += calls.len() as u32;
        Some(calls)
    }

    /// Nine letters and digits, which is the form Mistral's templates insist on.
    fn id(&self, index: u32) -> String {
        const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let hash = blake3::keyed_hash(&self.id_key, &index.to_le_bytes());
        hash.as_bytes()[..9]
            .iter()
            .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Vec<ToolSpec> {
        ["weather", "search"]
            .map(|name| ToolSpec {
                name: name.into(),
                description: String::new(),
                parameters_schema: r#"{"type":"object"}"#.into(),
            })
            .to_vec()
    }

    /// Text and calls when the input comes `step` bytes at a time.
    fn read(format: CallFormat, input: &str, step: usize) -> (String, Vec<(String, String)>) {
        let mut reader = CallReader::new(format, &tools(), [7; 32]);
        let mut all = Read::default();
        let characters: Vec<char> = input.chars().collect();
        for piece in characters.chunks(step) {
            let more = reader.push(&piece.iter().collect::<String>());
            all.text.push_str(&more.text);
            all.calls.extend(more.calls);
        }
        let more = reader.finish();
        all.text.push_str(&more.text);
        all.calls.extend(more.calls);
        (
            all.text,
            all.calls
                .into_iter()
                .map(|call| (call.name, call.arguments_json))
                .collect(),
        )
    }

    fn paris() -> (String, String) {
        ("weather".to_owned(), r#"{"city":"Paris"}"#.to_owned())
    }

    #[test]
    fn reads_every_format_however_it_is_cut() {
        let object = r#"{"name": "weather", "arguments": {"city": "Paris"}}"#;
        let cases = [
            (
                CallFormat::Tagged,
                format!("Let me see.\n<tool_call>\n{object}\n</tool_call>"),
                "Let me see.",
                1,
            ),
            (
                CallFormat::Tagged,
                format!("<tool_call>{object}</tool_call>\n<tool_call>{object}</tool_call>"),
                "",
                2,
            ),
            (CallFormat::Tagged, format!("<tool_call>{object}"), "", 1),
            (
                CallFormat::Bare,
                r#"{"name": "weather", "parameters": {"city": "Paris"}}"#.to_owned(),
                "",
                1,
            ),
            (
                CallFormat::Bare,
                format!("<|python_tag|>{object}; {object}"),
                "",
                2,
            ),
            (
                CallFormat::Bracketed,
                format!("[TOOL_CALLS][{object}, {object}]"),
                "",
                2,
            ),
            (
                CallFormat::Bracketed,
                r#"Sure[TOOL_CALLS]weather[ARGS]{"city": "Paris"}"#.to_owned(),
                "Sure",
                1,
            ),
            (CallFormat::Forced, object.to_owned(), "", 1),
        ];
        for (format, input, text, calls) in cases {
            for step in [1, 2, 3, 7, 1000] {
                let (found_text, found_calls) = read(format, &input, step);
                assert_eq!(found_text, text, "{format:?} {input:?} in steps of {step}");
                assert_eq!(
                    found_calls,
                    vec![paris(); calls],
                    "{format:?} {input:?} in steps of {step}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for (format, input) in [
            (CallFormat::Tagged, "a < b and <tool> too"),
            (CallFormat::Tagged, "<tool_call>not json</tool_call>"),
            (
                CallFormat::Tagged,
                r#"<tool_call>{"name": "rm", "arguments": {}}</tool_call>"#,
            ),
            (
                CallFormat::Tagged,
                r#"<tool_call>{"name": "weather", "arguments": 5}</tool_call>"#,
            ),
            (CallFormat::Bare, r#"{"city": "Paris"}"#),
            (CallFormat::Bare, "Paris {is} nice"),
            (CallFormat::Bracketed, "[TOOL_CALLS]nonsense"),
            (CallFormat::Forced, "{\"name\": \"wea"),
        ] {
            for step in [1, 3, 1000] {
                assert_eq!(
                    read(format, input, step),
                    (input.to_owned(), vec![]),
                    "{format:?} in steps of {step}"
                );
            }
        }
    }

    #[test]
    fn text_is_not_held_back_without_need() {
        let mut reader = CallReader::new(CallFormat::Tagged, &tools(), [0; 32]);
        assert_eq!(reader.push("Hello there").text, "Hello there");
        assert_eq!(reader.push(" <tool").text, "");
        assert_eq!(reader.push("box").text, " <toolbox");
        let mut reader = CallReader::new(CallFormat::Bare, &tools(), [0; 32]);
        assert_eq!(reader.push("Hello").text, "Hello");
        assert_eq!(reader.push(" {").text, " {");
    }

    #[test]
    fn ids_are_nine_letters_and_digits_and_differ() {
        let mut reader = CallReader::new(CallFormat::Bracketed, &tools(), [1; 32]);
        reader.push(
            r#"[TOOL_CALLS][{"name":"search","arguments":{}},{"name":"search","arguments":{}}]"#,
        );
        let calls = reader.finish().calls;
        assert_ne!(calls[0].id, calls[1].id);
        assert!(
            calls.iter().all(|call| call.id.len() == 9
                && call.id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        );
    }

    #[test]
    fn arguments_as_a_string_of_json_are_read() {
        let input =
            r#"<tool_call>{"name": "weather", "arguments": "{\"city\": \"Paris\"}"}</tool_call>"#;
        assert_eq!(
            read(CallFormat::Tagged, input, 4),
            (String::new(), vec![paris()])
        );
    }
}
