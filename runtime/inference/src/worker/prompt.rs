//! From a conversation to the token ids a model reads.
//!
//! Control tokens (such as the one that begins a turn) may come from the template only. Wherever the text of one stands in
//! something the caller passed on (a message, a tool's description, the arguments of an earlier call), it is replaced before
//! the template runs by a mark made of a private-use character, and after the template ran it is tokenized as the letters
//! it consists of. A web page that an agent quotes can therefore not end the user's turn and begin the system's.

use llama_cpp_2::model::LlamaModel;
use minijinja::value::{Value, ValueKind};

use crate::error::Refusal;
use crate::request::{Message, Role, ToolCall, ToolChoice, ToolSpec};
use crate::sampler::TokenId;
use crate::template;
use crate::tools::{self, CallFormat};
use crate::wire::Chat;
use crate::worker::vocabulary::Vocabulary;

/// How a model is spoken to.
pub(crate) struct Prompter {
    template: String,
    format: CallFormat,
    knows_tools: bool,
}

impl Prompter {
    pub(crate) fn new(template: Option<String>) -> Self {
        let template = template
            .filter(|template| !template.trim().is_empty())
            .unwrap_or_else(|| template::PLAIN.to_owned());
        Self {
            format: CallFormat::of_template(&template),
            knows_tools: tools::template_knows_tools(&template),
            template,
        }
    }

    /// BLAKE3 of the template.
    pub(crate) fn digest(&self) -> [u8; 32] {
        *blake3::hash(self.template.as_bytes()).as_bytes()
    }

    /// How calls in the answer to this request are written, if any may be.
    pub(crate) fn call_format(&self, chat: &Chat) -> Option<CallFormat> {
        match chat.tool_choice {
            _ if chat.tools.is_empty() => None,
            ToolChoice::None => None,
            ToolChoice::Required | ToolChoice::Named(_) => Some(CallFormat::Forced),
            ToolChoice::Auto if self.knows_tools => Some(self.format),
            ToolChoice::Auto => Some(CallFormat::Tagged),
        }
    }

    /// The prompt of a request. At most `context_tokens - 1` tokens.
    pub(crate) fn prompt(
        &self,
        chat: &Chat,
        model: &LlamaModel,
        vocabulary: &Vocabulary,
        context_tokens: u32,
    ) -> Result<Vec<TokenId>, Refusal> {
        let too_long = |tokens: usize| Refusal::PromptTooLong {
            prompt_tokens: u32::try_from(tokens).unwrap_or(u32::MAX),
            context_tokens,
        };
        let limit = context_tokens as usize;
        let least = vocabulary.fewest_tokens(
            chat.messages
                .iter()
                .map(|message| message.content.len())
                .sum(),
        );
        if least >= limit {
            return Err(too_long(least));
        }
        let guard = Guard::for_request(chat, vocabulary.control_texts());
        let text = self.render(chat, &vocabulary.bos_text, &vocabulary.eos_text, &guard)?;
        let least = vocabulary.fewest_tokens(text.len());
        if least >= limit {
            return Err(too_long(least));
        }
        let vocab = model.vocab();
        let mut tokens: Vec<TokenId> = Vec::new();
        for piece in guard.split(&text) {
            let (text, parse_control) = match piece {
                Piece::Template(text) => (text, true),
                Piece::Quoted(text) => (text, false),
            };
            if !text.is_empty() {
                tokens.extend(
                    vocab
                        .tokenize(text.as_bytes(), false, parse_control)
                        .iter()
                        .map(|token| token.0.cast_unsigned()),
                );
            }
        }
        if let Some(bos) = vocabulary
            .required_bos()
            .filter(|bos| tokens.first() != Some(bos))
        {
            tokens.insert(0, bos);
        }
        if tokens.is_empty() {
            return Err(Refusal::EmptyPrompt);
        }
        if tokens.len() >= limit {
            return Err(too_long(tokens.len()));
        }
        if tokens
            .iter()
            .any(|token| *token as usize >= vocabulary.len())
        {
            return Err(Refusal::BrokenScores);
        }
        Ok(tokens)
    }

    /// The prompt's text, with marks where the caller's text holds control tokens.
    ///
    /// A template that knows no tools gets conversations that have none ([`without_tools`]). One that refuses a system message
    /// gets its text at the beginning of the user's first.
    fn render(
        &self,
        chat: &Chat,
        bos_token: &str,
        eos_token: &str,
        guard: &Guard<'_>,
    ) -> Result<String, Refusal> {
        let offers = chat.tool_choice != ToolChoice::None;
        let messages = if self.knows_tools {
            chat.messages.clone()
        } else {
            without_tools(&chat.messages, if offers { &chat.tools } else { &[] })
        };
        let tools = if self.knows_tools && offers {
            chat.tools
                .iter()
                .map(|tool| tool_value(tool, guard))
                .collect()
        } else {
            Vec::new()
        };
        let attempt = |messages: &[Message]| {
            let inputs = template::Inputs {
                messages: messages
                    .iter()
                    .map(|message| message_value(message, messages, guard))
                    .collect(),
                tools: tools.clone(),
                bos_token,
                eos_token,
                time: chat.template_time,
            };
            template::render(&self.template, inputs)
        };
        attempt(&messages)
            .or_else(|reason| match without_system(&messages) {
                Some(messages) => attempt(&messages).map_err(|_| reason),
                None => Err(reason),
            })
            .map_err(|reason| Refusal::Template { reason })
    }
}

/// A message as chat templates expect it.
fn message_value(message: &Message, all: &[Message], guard: &Guard<'_>) -> Value {
    let mut pairs = vec![
        ("role", Value::from(message.role.as_str())),
        ("content", Value::from(guard.hide(&message.content))),
    ];
    if !message.tool_calls.is_empty() {
        let calls: Vec<Value> = message
            .tool_calls
            .iter()
            .map(|call| call_value(call, guard))
            .collect();
        pairs.push(("tool_calls", Value::from(calls)));
    }
    if let Some(id) = &message.tool_call_id {
        pairs.push(("tool_call_id", Value::from(guard.hide(id))));
        if let Some(name) = called_name(all, id) {
            pairs.push(("name", Value::from(guard.hide(name))));
        }
    }
    Value::from_pairs(pairs)
}

fn call_value(call: &ToolCall, guard: &Guard<'_>) -> Value {
    let arguments = serde_json::from_str(&call.arguments_json).unwrap_or_default();
    let function = Value::from_pairs([
        ("name", Value::from(guard.hide(&call.name))),
        ("arguments", guard.hide_all(&arguments)),
    ]);
    Value::from_pairs([
        ("id", Value::from(guard.hide(&call.id))),
        ("type", Value::from("function")),
        ("function", function),
    ])
}

fn tool_value(tool: &ToolSpec, guard: &Guard<'_>) -> Value {
    let parameters = serde_json::from_str(&tool.parameters_schema).unwrap_or_default();
    let function = Value::from_pairs([
        ("name", Value::from(tool.name.as_str())),
        ("description", Value::from(guard.hide(&tool.description))),
        ("parameters", guard.hide_all(&parameters)),
    ]);
    Value::from_pairs([("type", Value::from("function")), ("function", function)])
}

/// The name of the tool whose call this id answers.
fn called_name<'m>(messages: &'m [Message], id: &str) -> Option<&'m str> {
    let mut calls = messages.iter().flat_map(|message| &message.tool_calls);
    calls
        .rfind(|call| call.id == id)
        .map(|call| call.name.as_str())
}

/// The same conversation in text alone: tools are announced in the system message, calls stand in what the assistant
/// said, and answers in what the user says. Roles alternate where they did.
fn without_tools(messages: &[Message], offered: &[ToolSpec]) -> Vec<Message> {
    let mut plain: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    let mut rest = messages;
    if !offered.is_empty() {
        let mut text = tools::generic_prompt(offered);
        if let [first, others @ ..] = rest
            && first.role == Role::System
        {
            text = format!("{}\n\n{text}", first.content);
            rest = others;
        }
        plain.push(Message::new(Role::System, text));
    }
    let mut after_answer = false;
    for message in rest {
        match message.role {
            Role::Tool => {
                let name = message
                    .tool_call_id
                    .as_deref()
                    .and_then(|id| called_name(messages, id));
                let text = format!(
                    "Result of {}:\n{}",
                    name.unwrap_or("the tool"),
                    message.content
                );
                match plain.last_mut().filter(|_| after_answer) {
                    Some(last) => last.content = format!("{}\n\n{text}", last.content),
                    None => plain.push(Message::new(Role::User, text)),
                }
            }
            Role::User if after_answer => {
                let last = plain.last_mut().expect("an answer was pushed before");
                last.content = format!("{}\n\n{}", last.content, message.content);
            }
            Role::Assistant if !message.tool_calls.is_empty() => {
                let calls = message.tool_calls.iter().map(|call| {
                    let name = serde_json::Value::from(call.name.as_str());
                    format!(
                        "<tool_call>\n{{\"name\": {name}, \"arguments\": {}}}\n</tool_call>",
                        call.arguments_json
                    )
                });
                let parts: Vec<String> = std::iter::once(message.content.clone())
                    .filter(|content| !content.is_empty())
                    .chain(calls)
                    .collect();
                plain.push(Message::new(Role::Assistant, parts.join("\n")));
            }
            _ => plain.push(message.clone()),
        }
        after_answer = message.role == Role::Tool;
    }
    plain
}

/// The same conversation with the system's words at the beginning of the user's first; none when it has no such words.
fn without_system(messages: &[Message]) -> Option<Vec<Message>> {
    let [system, rest @ ..] = messages else {
        return None;
    };
    if system.role != Role::System {
        return None;
    }
    let mut rest = rest.to_vec();
    let first = rest
        .first_mut()
        .filter(|message| message.role == Role::User)?;
    first.content = format!("{}\n\n{}", system.content, first.content);
    Some(rest)
}

/// Replaces the texts of control tokens by marks, and finds the marks again.
struct Guard<'a> {
    /// A character that occurs nowhere in the request; a mark is this, an index in decimal digits, and this again.
    mark: char,
    /// Those control texts that do occur, longest first.
    texts: Vec<&'a str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Template(&'a str),
    Quoted(&'a str),
}

impl<'a> Guard<'a> {
    fn for_request(chat: &Chat, control_texts: &'a [String]) -> Self {
        let mut all = String::new();
        for message in &chat.messages {
            all.push_str(&message.content);
            message.tool_call_id.iter().for_each(|id| all.push_str(id));
            for call in &message.tool_calls {
                [&call.id, &call.name, &call.arguments_json]
                    .iter()
                    .for_each(|text| all.push_str(text));
            }
        }
        for tool in &chat.tools {
            [&tool.name, &tool.description, &tool.parameters_schema]
                .iter()
                .for_each(|text| all.push_str(text));
        }
        // JSON may spell a character as an escape, which only shows when it is parsed.
        let escapes = all.contains("\\u");
        let texts = control_texts
            .iter()
            .map(String::as_str)
            .filter(|text| escapes || all.contains(text))
            .collect();
        let mark = ('\u{f0000}'..='\u{ffffd}')
            .find(|c| !all.contains(*c))
            .unwrap_or('\u{f0000}');
        Self { mark, texts }
    }

    fn hide(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (index, control) in self.texts.iter().enumerate() {
            if text.contains(control) {
                text = text.replace(control, &format!("{0}{index}{0}", self.mark));
            }
        }
        text
    }

    /// As [`Self::hide`], in every text of a JSON value.
    fn hide_all(&self, value: &Value) -> Value {
        match value.kind() {
            ValueKind::String => Value::from(self.hide(value.as_str().unwrap_or_default())),
            ValueKind::Seq => {
                let items = value.try_iter().into_iter().flatten();
                Value::from(items.map(|item| self.hide_all(&item)).collect::<Vec<_>>())
            }
            ValueKind::Map => {
                let keys = value.try_iter().into_iter().flatten();
                Value::from_pairs(keys.map(|key| {
                    let item = value.get_item(&key).unwrap_or_default();
                    (self.hide_all(&key), self.hide_all(&item))
                }))
            }
            _ => value.clone(),
        }
    }

    /// The rendered text in pieces. A mark that the template cut in two is dropped: it was the caller's text, and no
    /// reading of it may become a control token.
    fn split<'t>(&'t self, text: &'t str) -> Vec<Piece<'t>> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(self.mark) {
            pieces.push(Piece::Template(&rest[..at]));
            rest = &rest[at + self.mark.len_utf8()..];
            let Some((digits, after)) = rest.split_once(self.mark) else {
                continue;
            };
            if let Some(control) = digits
                .parse::<usize>()
                .ok()
                .and_then(|index| self.texts.get(index))
            {
                pieces.push(Piece::Quoted(control));
                rest = after;
            }
        }
        pieces.push(Piece::Template(rest));
        pieces
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Lane, ResponseFormat, Sampling};
    use crate::wire::RequestId;

    fn chat(messages: Vec<Message>, tools: Vec<ToolSpec>) -> Chat {
        Chat {
            id: RequestId(1),
            fairness: 0,
            messages,
            tools,
            tool_choice: ToolChoice::Auto,
            response: ResponseFormat::Text,
            sampling: Sampling::default(),
            lane: Lane::Exact,
            template_time: None,
            nonce: [0; 32],
            weights: [0; 32],
            node_key: [0; 32],
        }
    }

    fn rendered(template: &str, chat: &Chat) -> Result<String, Refusal> {
        let prompter = Prompter::new(Some(template.to_owned()));
        prompter.render(chat, "<s>", "</s>", &Guard::for_request(chat, &[]))
    }

    /// What Gemma's and Llama 2's templates insist on.
    const STRICT: &str = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}|{{ m.content }}]{% endfor %}";

    #[test]
    fn a_template_without_tools_or_system_gets_a_conversation_without_them() {
        let call = |id: &str| ToolCall {
            id: id.into(),
            name: "weather".into(),
            arguments_json: "{\"city\":\"Paris\"}".into(),
        };
        let answer = |id: &str, text: &str| Message {
            tool_call_id: Some(id.into()),
            ..Message::new(Role::Tool, text)
        };
        let tool = ToolSpec {
            name: "weather".into(),
            description: "d".into(),
            parameters_schema: "{}".into(),
        };
        let messages = vec![
            Message::new(Role::System, "Be brief."),
            Message::new(Role::User, "Where is it warmer?"),
            Message {
                tool_calls: vec![call("a"), call("b")],
                ..Message::new(Role::Assistant, "")
            },
            answer("a", "20"),
            answer("b", "25"),
            Message::new(Role::User, "And now?"),
        ];
        let text = rendered(STRICT, &chat(messages, vec![tool])).expect("it renders");
        assert!(
            text.starts_with("[user|Be brief.\n\nYou can call tools."),
            "{text}"
        );
        assert!(
            text.contains("\"name\":\"weather\""),
            "the tool is announced: {text}"
        );
        assert!(text.contains("[assistant|<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\":\"Paris\"}}\n</tool_call>\n<tool_call>"), "{text}");
        assert!(
            text.ends_with("[user|Result of weather:\n20\n\nResult of weather:\n25\n\nAnd now?]"),
            "{text}"
        );
    }

    #[test]
    fn a_refusal_that_is_not_about_the_system_message_stands() {
        let messages = vec![
            Message::new(Role::System, "Be brief."),
            Message::new(Role::User, "One."),
            Message::new(Role::User, "Two."),
        ];
        let refusal = rendered(STRICT, &chat(messages, vec![])).expect_err("two users in a row");
        assert!(matches!(refusal, Refusal::Template { reason } if reason.contains("alternate")));
    }

    #[test]
    fn tools_that_must_not_be_called_are_not_announced() {
        let tool = ToolSpec {
            name: "weather".into(),
            description: "d".into(),
            parameters_schema: "{}".into(),
        };
        let mut chat = chat(vec![Message::new(Role::User, "Hello.")], vec![tool]);
        chat.tool_choice = ToolChoice::None;
        assert_eq!(rendered(STRICT, &chat), Ok("[user|Hello.]".into()));
    }

    fn guard<'a>(texts: &[&'a str]) -> Guard<'a> {
        Guard {
            mark: '\u{f0000}',
            texts: texts.to_vec(),
        }
    }

    #[test]
    fn control_texts_come_back_as_quotations() {
        let guard = guard(&["<|im_start|>", "<s>"]);
        let hidden = guard.hide("a<s>b<|im_start|>c");
        assert!(!hidden.contains("<s>") && !hidden.contains("<|im_start|>"));
        let rendered = format!("<s>{hidden}</s>");
        assert_eq!(
            guard.split(&rendered),
            [
                Piece::Template("<s>a"),
                Piece::Quoted("<s>"),
                Piece::Template("b"),
                Piece::Quoted("<|im_start|>"),
                Piece::Template("c</s>"),
            ]
        );
    }

    #[test]
    fn a_mark_cut_in_two_is_dropped() {
        let guard = guard(&["<s>"]);
        assert_eq!(
            guard.split("x\u{f0000}0"),
            [Piece::Template("x"), Piece::Template("0")]
        );
        assert_eq!(
            guard.split("x\u{f0000}7\u{f0000}"),
            [
                Piece::Template("x"),
                Piece::Template("7"),
                Piece::Template("")
            ]
        );
    }

    #[test]
    fn texts_inside_json_are_hidden_in_keys_and_values() {
        let guard = guard(&["<s>"]);
        let value: Value =
            serde_json::from_str(r#"{"\u003cs>": ["x<s>", {"a": "<s>"}, 5]}"#).expect("it is JSON");
        let hidden = serde_json::to_string(&guard.hide_all(&value)).expect("it serialises");
        assert!(!hidden.contains("<s>"), "{hidden}");
        assert!(hidden.contains('5'));
    }
}
