//! From a conversation to the token ids a model reads.
//!
//! Control tokens (such as the one that begins a turn) may come from the template only. Wherever the text of one stands in
//! something the caller passed on (a message, a tool's description, the arguments of an earlier call), it is replaced before
//! the template runs by a mark made of a private-use character, and after the template ran it is tokenized as the letters
//! it consists of. A web page that an agent quotes can therefore not end the user's turn and begin the system's.

use llama_cpp_2::model::LlamaModel;
use minijinja::value::{Value, ValueKind};

use crate::error::Refusal;
use crate::request::{Role, ToolChoice};
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
        let text = self.render(chat, vocabulary, &guard)?;
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

    fn render(
        &self,
        chat: &Chat,
        vocabulary: &Vocabulary,
        guard: &Guard<'_>,
    ) -> Result<String, Refusal> {
        let mut messages = Vec::with_capacity(chat.messages.len() + 1);
        let announce = !chat.tools.is_empty() && !self.knows_tools;
        if announce {
            let mut text = guard.hide(&tools::generic_prompt(&chat.tools));
            let system = chat
                .messages
                .first()
                .filter(|message| message.role == Role::System);
            if let Some(system) = system {
                text = format!("{}\n\n{text}", guard.hide(&system.content));
            }
            messages.push(Value::from_pairs([
                ("role", "system".to_owned()),
                ("content", text),
            ]));
        }
        let skip = usize::from(
            announce
                && chat
                    .messages
                    .first()
                    .is_some_and(|message| message.role == Role::System),
        );
        for message in &chat.messages[skip..] {
            let mut pairs = vec![
                ("role", Value::from(message.role.as_str())),
                ("content", Value::from(guard.hide(&message.content))),
            ];
            if !message.tool_calls.is_empty() {
                let calls: Vec<Value> = message
                    .tool_calls
                    .iter()
                    .map(|call| {
                        let arguments =
                            serde_json::from_str(&call.arguments_json).unwrap_or_default();
                        let function = Value::from_pairs([
                            ("name", Value::from(guard.hide(&call.name))),
                            ("arguments", guard.hide_all(&arguments)),
                        ]);
                        Value::from_pairs([
                            ("id", Value::from(guard.hide(&call.id))),
                            ("type", Value::from("function")),
                            ("function", function),
                        ])
                    })
                    .collect();
                pairs.push(("tool_calls", Value::from(calls)));
            }
            if let Some(id) = &message.tool_call_id {
                pairs.push(("tool_call_id", Value::from(guard.hide(id))));
                let name = chat
                    .messages
                    .iter()
                    .flat_map(|message| &message.tool_calls)
                    .rfind(|call| call.id == *id)
                    .map(|call| &call.name);
                if let Some(name) = name {
                    pairs.push(("name", Value::from(guard.hide(name))));
                }
            }
            messages.push(Value::from_pairs(pairs));
        }
        let tools = if self.knows_tools && chat.tool_choice != ToolChoice::None {
            chat.tools
                .iter()
                .map(|tool| {
                    let parameters =
                        serde_json::from_str(&tool.parameters_schema).unwrap_or_default();
                    let function = Value::from_pairs([
                        ("name", Value::from(tool.name.as_str())),
                        ("description", Value::from(guard.hide(&tool.description))),
                        ("parameters", guard.hide_all(&parameters)),
                    ]);
                    Value::from_pairs([("type", Value::from("function")), ("function", function)])
                })
                .collect()
        } else {
            Vec::new()
        };
        let inputs = template::Inputs {
            messages,
            tools,
            bos_token: &vocabulary.bos_text,
            eos_token: &vocabulary.eos_text,
            time: chat.template_time,
        };
        template::render(&self.template, inputs).map_err(|reason| Refusal::Template { reason })
    }
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
