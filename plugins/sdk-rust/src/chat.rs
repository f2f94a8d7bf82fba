//! Talking to a model.
//!
//! [`chat`] starts a [`Chat`], whose methods describe the request and whose last method runs it:
//!
//! | last method | gives |
//! |---|---|
//! | [`send`](Chat::send) | the whole [`Answer`] |
//! | [`stream`](Chat::stream) | the same, with each piece of text handed over as it comes |
//! | [`json`](Chat::json) | a value parsed from a constrained answer |
//! | [`run_with_tools`](Chat::run_with_tools) | the answer after the tools it asked for were called |
//! | [`start`](Chat::start) | a running [`Generation`]; start several, then pull each |
//!
//! There is no seed: randomness comes from the run's nonce, the prompt, the model and the node, so that nobody can
//! choose the outcome and everybody can check it. The default temperature is 0, which takes the likeliest token.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;

use crate::bindings::agent::tally::agent::inference as wit;
use crate::error::{Error, Result};
use crate::plugin::{ToolSpec, call_tool};

pub use crate::bindings::agent::tally::agent::inference::{
    Event, FinishReason, Lane, ReceiptRef, Usage,
};
pub use crate::bindings::agent::tally::agent::types::{Message, Role, ToolCall};

/// How many tokens an answer may have unless [`Chat::max_tokens`] says otherwise.
pub const DEFAULT_MAX_TOKENS: u32 = 512;

/// Starts a request whose last message is from the user. With an empty text, add messages yourself.
pub fn chat(user: impl Into<String>) -> Chat {
    let user = user.into();
    let chat = Chat {
        request: wit::ChatRequest {
            model: String::new(),
            messages: Vec::new(),
            tools: Vec::new(),
            response: wit::ResponseFormat::Text,
            sampling: wit::Sampling {
                temperature: 0.0,
                top_k: 0,
                top_p: 1.0,
                min_p: 0.0,
                repeat_penalty: 1.0,
                repeat_last_n: 64,
                max_tokens: DEFAULT_MAX_TOKENS,
                stop: Vec::new(),
            },
            lane: Lane::Exact,
        },
        emit: false,
    };
    if user.is_empty() {
        chat
    } else {
        chat.message(Role::User, user)
    }
}

/// A request to a model, being described.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Chat {
    request: wit::ChatRequest,
    emit: bool,
}

impl Chat {
    /// What the model is told before the conversation.
    pub fn system(mut self, text: impl Into<String>) -> Self {
        let place = self
            .request
            .messages
            .iter()
            .take_while(|message| message.role == Role::System)
            .count();
        self.request
            .messages
            .insert(place, message(Role::System, text));
        self
    }

    /// Adds a message at the end.
    pub fn message(mut self, role: Role, text: impl Into<String>) -> Self {
        self.request.messages.push(message(role, text));
        self
    }

    /// The model's name. Without it, the run's default model.
    pub fn model(mut self, name: impl Into<String>) -> Self {
        self.request.model = name.into();
        self
    }

    /// Lets the model ask for this tool.
    pub fn tool(mut self, tool: ToolSpec) -> Self {
        self.request.tools.push(tool);
        self
    }

    /// Lets the model ask for these tools, for example all that [`tools`](crate::plugin::tools) lists.
    pub fn tools(mut self, tools: impl IntoIterator<Item = ToolSpec>) -> Self {
        self.request.tools.extend(tools);
        self
    }

    /// The answer will be JSON that this JSON Schema describes; nothing else can be generated.
    pub fn json_schema(mut self, schema: impl fmt::Display) -> Self {
        self.request.response = wit::ResponseFormat::JsonSchema(schema.to_string());
        self
    }

    /// The answer will match this llama.cpp GBNF grammar, whose start rule is `root`.
    pub fn gbnf(mut self, grammar: impl Into<String>) -> Self {
        self.request.response = wit::ResponseFormat::Gbnf(grammar.into());
        self
    }

    /// 0, the default, takes the likeliest token.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.request.sampling.temperature = temperature;
        self
    }

    /// Keeps the `k` likeliest tokens; 0, the default, keeps all.
    pub fn top_k(mut self, k: u32) -> Self {
        self.request.sampling.top_k = k;
        self
    }

    /// Keeps the likeliest tokens that together have probability `p`; 1, the default, keeps all.
    pub fn top_p(mut self, p: f32) -> Self {
        self.request.sampling.top_p = p;
        self
    }

    /// Drops tokens less than `p` times as likely as the likeliest; 0, the default, keeps all.
    pub fn min_p(mut self, p: f32) -> Self {
        self.request.sampling.min_p = p;
        self
    }

    /// Makes tokens among the latest `last_n` less likely; a penalty of 1, the default, does nothing.
    pub fn repeat_penalty(mut self, penalty: f32, last_n: u32) -> Self {
        self.request.sampling.repeat_penalty = penalty;
        self.request.sampling.repeat_last_n = last_n;
        self
    }

    /// The answer's greatest length. Without it, [`DEFAULT_MAX_TOKENS`].
    pub fn max_tokens(mut self, tokens: u32) -> Self {
        self.request.sampling.max_tokens = tokens;
        self
    }

    /// The answer ends before this text. At most 16.
    pub fn stop(mut self, text: impl Into<String>) -> Self {
        self.request.sampling.stop.push(text.into());
        self
    }

    /// How the request is scheduled. Without it, [`Lane::Exact`].
    pub fn lane(mut self, lane: Lane) -> Self {
        self.request.lane = lane;
        self
    }

    /// Also shows the text, as it comes, to whoever started the run.
    pub fn emit(mut self) -> Self {
        self.emit = true;
        self
    }

    /// Starts the generation. Several may run at once.
    ///
    /// # Errors
    ///
    /// [`Denied`](Error::Denied) when the model is not granted, [`Invalid`](Error::Invalid) when the request is
    /// malformed, [`Exhausted`](Error::Exhausted) when the run's budget is spent.
    pub fn start(self) -> Result<Generation> {
        Ok(Generation {
            inner: wit::chat(&self.request)?,
            finished: false,
        })
    }

    /// Runs to the end.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start), and [`Failed`](Error::Failed) when the worker stops.
    pub fn send(self) -> Result<Answer> {
        let emit = self.emit;
        one_turn(&self.request, &mut |text| shown(emit, text))
    }

    /// Runs to the end and hands over each piece of text as it comes. An error of `on_text` cancels the generation.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send) and of `on_text`.
    pub fn stream(self, mut on_text: impl FnMut(&str) -> Result<()>) -> Result<Answer> {
        let emit = self.emit;
        one_turn(&self.request, &mut |text| {
            shown(emit, text)?;
            on_text(text)
        })
    }

    /// Runs to the end and parses the answer. Use it after [`json_schema`](Self::json_schema).
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), and [`Failed`](Error::Failed) when the answer does not parse: it was cut at
    /// [`max_tokens`](Self::max_tokens), or was not constrained.
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.send()?.json()
    }

    /// Runs, calls the tools the model asks for, and runs again, until the model answers; at most `rounds` times with
    /// tools, then once more without, so that there always is an answer. The tools are those of the run.
    ///
    /// What a tool answers, including that it could not, is told to the model. A call that was not granted is the
    /// agent's error, because the model cannot do anything about it.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), and the refusals of tools.
    pub fn run_with_tools(self, rounds: u32) -> Result<Answer> {
        self.run_with(rounds, |call| call_tool(&call.name, &call.arguments_json))
    }

    /// As [`run_with_tools`](Self::run_with_tools), with `call` in place of the run's tools.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send), and those of `call` that are not for the model.
    pub fn run_with(
        self,
        rounds: u32,
        mut call: impl FnMut(&ToolCall) -> Result<String>,
    ) -> Result<Answer> {
        let emit = self.emit;
        tool_loop(
            self.request,
            rounds,
            &mut |request| one_turn(request, &mut |text| shown(emit, text)),
            &mut call,
        )
    }
}

/// A running generation: an iterator of [`Event`]s that ends after [`Event::Done`]. Dropping it cancels it.
#[derive(Debug)]
pub struct Generation {
    inner: wit::Generation,
    finished: bool,
}

impl Generation {
    /// The receipt.
    ///
    /// # Errors
    ///
    /// [`Invalid`](Error::Invalid) before [`Event::Done`] was pulled.
    pub fn receipt(&self) -> Result<ReceiptRef> {
        Ok(self.inner.receipt()?)
    }

    /// Stops it. What was generated so far is still pulled, and still has a receipt.
    pub fn cancel(&self) {
        self.inner.cancel();
    }

    /// Pulls it to the end.
    ///
    /// # Errors
    ///
    /// [`Failed`](Error::Failed) when the worker stops.
    pub fn finish(self) -> Result<Answer> {
        self.finish_with(&mut |_| Ok(()))
    }

    fn finish_with(mut self, on_text: &mut dyn FnMut(&str) -> Result<()>) -> Result<Answer> {
        let (text, tool_calls, completion) = collect(&mut self, on_text)?;
        let receipt = self.receipt()?;
        Ok(Answer {
            text,
            tool_calls,
            finish: completion.finish,
            usage: completion.usage,
            receipt,
        })
    }
}

impl Iterator for Generation {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        match self.inner.next() {
            Ok(None) => {
                self.finished = true;
                None
            }
            Ok(Some(event)) => {
                self.finished = matches!(event, Event::Done(_));
                Some(Ok(event))
            }
            Err(error) => {
                self.finished = true;
                Some(Err(error.into()))
            }
        }
    }
}

/// What a finished generation gave.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The tools the model asked for; empty unless `finish` is [`FinishReason::ToolCalls`].
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: FinishReason,
    /// How many tokens it took.
    pub usage: Usage,
    /// Its receipt, which the host keeps in the journal.
    pub receipt: ReceiptRef,
}

impl Answer {
    /// Parses the text as JSON.
    ///
    /// # Errors
    ///
    /// [`Failed`](Error::Failed) when it does not parse.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.text.trim()).map_err(|error| {
            let cut = match self.finish {
                FinishReason::Length => " (it was cut at the token limit)",
                _ => "",
            };
            Error::Failed(format!(
                "the model's answer is not the JSON that was asked for: {error}{cut}"
            ))
        })
    }
}

fn message(role: Role, text: impl Into<String>) -> Message {
    Message {
        role,
        content: text.into(),
        tool_calls: Vec::new(),
        tool_call_id: None,
    }
}

fn shown(emit: bool, text: &str) -> Result<()> {
    if emit { crate::env::emit(text) } else { Ok(()) }
}

fn one_turn(
    request: &wit::ChatRequest,
    on_text: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<Answer> {
    let generation = Generation {
        inner: wit::chat(request)?,
        finished: false,
    };
    generation.finish_with(on_text)
}

fn collect(
    events: &mut dyn Iterator<Item = Result<Event>>,
    on_text: &mut dyn FnMut(&str) -> Result<()>,
) -> Result<(String, Vec<ToolCall>, wit::Completion)> {
    let (mut text, mut tool_calls) = (String::new(), Vec::new());
    for event in events {
        match event? {
            Event::Text(piece) => {
                on_text(&piece)?;
                text.push_str(&piece);
            }
            Event::ToolCall(call) => tool_calls.push(call),
            Event::Done(completion) => return Ok((text, tool_calls, completion)),
        }
    }
    Err(Error::Failed(
        "the generation ended without saying why".to_owned(),
    ))
}

fn tool_loop(
    mut request: wit::ChatRequest,
    rounds: u32,
    turn: &mut dyn FnMut(&wit::ChatRequest) -> Result<Answer>,
    call: &mut dyn FnMut(&ToolCall) -> Result<String>,
) -> Result<Answer> {
    let mut earlier: Vec<(String, String, String)> = Vec::new();
    for _ in 0..rounds {
        let answer = turn(&request)?;
        if answer.tool_calls.is_empty() {
            return Ok(answer);
        }
        let mut repeated = true;
        let mut results = vec![];
        for tool_call in &answer.tool_calls {
            let known = earlier.iter().find(|(name, arguments, _)| {
                *name == tool_call.name && *arguments == tool_call.arguments_json
            });
            let content = if let Some((_, _, content)) = known {
                content.clone()
            } else {
                repeated = false;
                let content = match call(tool_call) {
                    Ok(content) => content,
                    Err(error) if error.is_for_the_model() => format!("error: {error}"),
                    Err(error) => return Err(error),
                };
                earlier.push((
                    tool_call.name.clone(),
                    tool_call.arguments_json.clone(),
                    content.clone(),
                ));
                content
            };
            results.push(Message {
                role: Role::Tool,
                content,
                tool_calls: Vec::new(),
                tool_call_id: Some(tool_call.id.clone()),
            });
        }
        request.messages.push(Message {
            role: Role::Assistant,
            content: answer.text,
            tool_calls: answer.tool_calls,
            tool_call_id: None,
        });
        request.messages.extend(results);
        // A model that only repeats itself has all the answers it will get.
        if repeated {
            break;
        }
    }
    request.tools.clear();
    turn(&request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(finish: FinishReason) -> Event {
        Event::Done(wit::Completion {
            finish,
            usage: Usage {
                prompt_tokens: 3,
                cached_tokens: 0,
                completion_tokens: 2,
            },
        })
    }

    fn answer(text: &str, calls: &[(&str, &str)]) -> Answer {
        Answer {
            text: text.to_owned(),
            tool_calls: calls
                .iter()
                .enumerate()
                .map(|(i, (name, arguments))| ToolCall {
                    id: format!("call{i}"),
                    name: (*name).to_owned(),
                    arguments_json: (*arguments).to_owned(),
                })
                .collect(),
            finish: if calls.is_empty() {
                FinishReason::Stop
            } else {
                FinishReason::ToolCalls
            },
            usage: Usage {
                prompt_tokens: 1,
                cached_tokens: 0,
                completion_tokens: 1,
            },
            receipt: ReceiptRef {
                digest: String::new(),
                signer: String::new(),
            },
        }
    }

    fn with_one_tool() -> wit::ChatRequest {
        chat("how much is 2+2?")
            .tool(ToolSpec {
                name: "calculate".to_owned(),
                description: String::new(),
                parameters_schema: "{}".to_owned(),
            })
            .request
    }

    #[test]
    fn system_text_comes_before_the_conversation_whenever_it_is_added() {
        let chat = chat("q")
            .system("one")
            .message(Role::Assistant, "a")
            .system("two");
        let roles: Vec<_> = chat
            .request
            .messages
            .iter()
            .map(|m| (m.role, m.content.as_str()))
            .collect();
        assert_eq!(
            roles,
            [
                (Role::System, "one"),
                (Role::System, "two"),
                (Role::User, "q"),
                (Role::Assistant, "a")
            ]
        );
    }

    #[test]
    fn an_empty_text_adds_no_message() {
        assert!(chat("").request.messages.is_empty());
    }

    #[test]
    fn text_is_collected_and_handed_over_in_order() {
        let mut seen = Vec::new();
        let mut events = [
            Ok(Event::Text("a".to_owned())),
            Ok(Event::Text("b".to_owned())),
            Ok(done(FinishReason::Stop)),
            Ok(Event::Text("after the end".to_owned())),
        ]
        .into_iter();
        let (text, calls, completion) = collect(&mut events, &mut |piece| {
            seen.push(piece.to_owned());
            Ok(())
        })
        .expect("the events end well");
        assert_eq!((text.as_str(), calls.len()), ("ab", 0));
        assert_eq!(seen, ["a", "b"]);
        assert_eq!(completion.finish, FinishReason::Stop);
    }

    #[test]
    fn a_generation_that_stops_short_is_not_an_answer() {
        let mut events = [Ok(Event::Text("a".to_owned()))].into_iter();
        assert!(matches!(
            collect(&mut events, &mut |_| Ok(())),
            Err(Error::Failed(_))
        ));
    }

    #[test]
    fn an_error_of_the_listener_ends_the_generation() {
        let mut events = [
            Ok(Event::Text("a".to_owned())),
            Ok(done(FinishReason::Stop)),
        ]
        .into_iter();
        let result = collect(&mut events, &mut |_| Err(Error::Cancelled));
        assert_eq!(result.map(|_| ()), Err(Error::Cancelled));
    }

    #[test]
    fn a_tools_result_reaches_the_model_under_its_calls_id() {
        let mut turns = 0;
        let result = tool_loop(
            with_one_tool(),
            4,
            &mut |request| {
                turns += 1;
                if turns == 1 {
                    return Ok(answer("", &[("calculate", "2+2")]));
                }
                let last = request.messages.last().expect("there are messages");
                assert_eq!(last.role, Role::Tool);
                assert_eq!(last.tool_call_id.as_deref(), Some("call0"));
                Ok(answer(&format!("it is {}", last.content), &[]))
            },
            &mut |call| {
                assert_eq!(call.arguments_json, "2+2");
                Ok("4".to_owned())
            },
        );
        assert_eq!(result.expect("the loop ends").text, "it is 4");
    }

    #[test]
    fn a_tools_failure_is_told_to_the_model_and_a_refusal_ends_the_run() {
        let ask = |error: Error| {
            let mut turns = 0;
            tool_loop(
                with_one_tool(),
                4,
                &mut |request| {
                    turns += 1;
                    if turns == 1 {
                        return Ok(answer("", &[("calculate", "1/0")]));
                    }
                    Ok(answer(
                        &request.messages.last().expect("messages").content,
                        &[],
                    ))
                },
                &mut |_| Err(error.clone()),
            )
        };
        let told = ask(Error::invalid("division by zero")).expect("the model answers");
        assert_eq!(told.text, "error: invalid request: division by zero");
        let denied = Error::Denied("tool calculate".to_owned());
        assert_eq!(ask(denied.clone()).map(|a| a.text), Err(denied));
    }

    #[test]
    fn a_model_that_never_stops_asking_is_made_to_answer_without_tools() {
        let (mut turns, mut calls) = (0_u32, 0_u32);
        let result = tool_loop(
            with_one_tool(),
            3,
            &mut |request| {
                turns += 1;
                if request.tools.is_empty() {
                    return Ok(answer("enough", &[]));
                }
                let arguments = turns.to_string();
                Ok(answer("", &[("calculate", arguments.as_str())]))
            },
            &mut |_| {
                calls += 1;
                Ok("0".to_owned())
            },
        );
        assert_eq!(result.expect("the loop ends").text, "enough");
        assert_eq!((turns, calls), (4, 3));
    }

    #[test]
    fn a_repeated_call_is_answered_from_memory_and_ends_the_rounds() {
        let (mut turns, mut calls) = (0_u32, 0_u32);
        let result = tool_loop(
            with_one_tool(),
            10,
            &mut |request| {
                turns += 1;
                if request.tools.is_empty() {
                    return Ok(answer("done", &[]));
                }
                Ok(answer("", &[("calculate", "same")]))
            },
            &mut |_| {
                calls += 1;
                Ok("0".to_owned())
            },
        );
        assert_eq!(result.expect("the loop ends").text, "done");
        assert_eq!((turns, calls), (3, 1));
    }

    #[test]
    fn an_answer_cut_at_the_limit_says_so_when_it_does_not_parse() {
        let mut cut = answer("{\"a\": ", &[]);
        cut.finish = FinishReason::Length;
        let error = cut.json::<serde_json::Value>().expect_err("half an object");
        assert!(error.to_string().contains("cut at the token limit"));
    }
}
