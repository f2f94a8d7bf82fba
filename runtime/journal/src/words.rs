//! What the agent asked and was told, beside what the receipts inside commit to.
//!
//! A receipt commits to the request as it was sent and to the words that were handed out, each under a salt. The journal
//! holds both in the clear, and the salts ([`Brought`](crate::Brought)): so whoever reads it can compute the commitments
//! and compare, without asking anybody for openings.
//!
//! | receipt of | `asked` is over | the answer is over |
//! |---|---|---|
//! | a generation | the request of the `chat` call, its bytes as they stand here | the texts that `next` gave, joined; after it, where tools were called, id, name and arguments of each call |
//! | an embedding | the texts of the `embed` call | its vectors, as little-endian binary32 |
//!
//! A generation is the handle that `chat` gave, in the frame that called it. What is compared are values of the guest
//! contract (`wit/`), so this is the one place of the crate that reads some.

use std::collections::HashMap;

use minicbor::Decoder;
use serde_json::Value;
use tally_receipt::{Check, Commitment, Field, Inference, Operation, Receipt, Salt, ValueRef};

use crate::entry::{Body, Brought, Call, FrameId, Seq};
use crate::journal::Journal;
use crate::value;
use crate::verify::code;

/// What a check that did not pass found: its reason, and a sentence.
type Finding = (&'static str, String);

/// One check for each receipt, and the entries that began what no receipt is about.
pub(crate) struct Words {
    pub(crate) checks: Vec<Check>,
    pub(crate) without_receipt: Vec<Seq>,
}

/// Compares every receipt inside with the words around it. One that cannot be read is left out: that it cannot is said
/// elsewhere.
pub(crate) fn compare(journal: &Journal) -> Words {
    let mut generations: HashMap<(FrameId, u64), Generation<'_>> = HashMap::new();
    let mut words = Words {
        checks: Vec::new(),
        without_receipt: Vec::new(),
    };
    for entry in journal.entries() {
        let (seq, Body::Call(call)) = (entry.seq, entry.body) else {
            continue;
        };
        let found = match inference(call.function) {
            Some("chat") => {
                if let Some(handle) = answer(&call).and_then(|answer| answer.as_u64()) {
                    generations.insert((call.frame, handle), Generation::new(seq, &call));
                }
                continue;
            }
            Some("[method]generation.next") => {
                if let Some(generation) = handle(&call).and_then(|key| generations.get_mut(&key)) {
                    generation.take(seq, &call);
                }
                continue;
            }
            Some("[method]generation.receipt") => call.receipt.map(|receipt| {
                let generation = handle(&call).and_then(|key| generations.get_mut(&key));
                (
                    receipt,
                    generation.map(|generation| {
                        generation.has_receipt = true;
                        generation.exchange()
                    }),
                )
            }),
            Some("embed") => {
                if call.receipt.is_none() && answer(&call).is_some() {
                    words.without_receipt.push(seq);
                }
                call.receipt.map(|receipt| (receipt, embedding(seq, &call)))
            }
            _ => call.receipt.map(|receipt| (receipt, None)),
        };
        let Some((brought, exchange)) = found else {
            continue;
        };
        let Ok(receipt) = Receipt::parse(brought.envelope) else {
            continue;
        };
        let code = format!("{} {seq}", code::WORDS);
        words.checks.push(match (receipt.as_inference(), exchange) {
            (Some(inference), Some(exchange)) => judge(journal, seq, inference, &brought, &exchange)
                .map_or_else(
                    |(reason, sentence)| match reason {
                        "no-salt" | "nothing-committed" => {
                            Check::not_established(code.clone(), reason, sentence)
                        }
                        _ => Check::fail(code.clone(), reason, sentence),
                    },
                    |sentence| Check::pass(code.clone(), sentence),
                ),
            _ => Check::fail(
                code,
                "nothing-asked",
                format!("entry {seq} brings a receipt, and no entry before it asked for what that is about"),
            ),
        });
    }
    let unreceipted = generations
        .values()
        .filter(|it| !it.has_receipt && it.has_answered());
    words.without_receipt.extend(unreceipted.map(|it| it.began));
    words.without_receipt.sort();
    words
}

/// The function of the interface `inference`, whatever its version.
fn inference(function: &str) -> Option<&str> {
    let (_, function) = function
        .strip_prefix("tally:agent/inference@")?
        .split_once('#')?;
    Some(function)
}

/// What a call that succeeded gave.
fn answer(call: &Call<'_>) -> Option<Value> {
    match value::to_json(call.response) {
        Ok(Value::Object(mut result)) => result.remove("ok"),
        _ => None,
    }
}

/// The generation that a method is called on.
fn handle(call: &Call<'_>) -> Option<(FrameId, u64)> {
    let request = value::to_json(call.request).ok()?;
    Some((call.frame, request.get("self")?.as_u64()?))
}

/// A generation as the agent saw it.
struct Generation<'a> {
    began: Seq,
    request: &'a [u8],
    /// The text, and id, name and arguments of each tool call.
    texts: Vec<String>,
    answers: Option<(Seq, Seq)>,
    has_receipt: bool,
}

impl<'a> Generation<'a> {
    fn new(began: Seq, call: &Call<'a>) -> Self {
        Self {
            began,
            request: call.request,
            texts: vec![String::new()],
            answers: None,
            has_receipt: false,
        }
    }

    fn has_answered(&self) -> bool {
        self.texts.iter().any(|text| !text.is_empty())
    }

    /// Takes what `next` gave.
    fn take(&mut self, seq: Seq, call: &Call<'_>) {
        let Some(Value::Object(event)) = answer(call) else {
            return;
        };
        let part = |value: &Value, field: &str| {
            value
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        if let Some(Value::String(text)) = event.get("text") {
            self.texts[0].push_str(text);
        } else if let Some(call) = event.get("tool-call") {
            self.texts
                .extend(["id", "name", "arguments-json"].map(|field| part(call, field)));
        } else {
            return;
        }
        let first = self.answers.map_or(seq, |(first, _)| first);
        self.answers = Some((first, seq));
    }

    fn exchange(&self) -> Exchange<'_> {
        Exchange {
            operation: Operation::Chat,
            began: self.began,
            request: Said::Bytes(self.request),
            answer: match &self.texts[..] {
                [text] => Said::Text(text),
                texts => Said::Texts(texts.to_vec()),
            },
            answers: self.answers,
            model: value::to_json(self.request).ok().and_then(|request| {
                Some(request.get("request")?.get("model")?.as_str()?.to_owned())
            }),
        }
    }
}

/// What was asked, and what was answered.
struct Exchange<'a> {
    operation: Operation,
    began: Seq,
    request: Said<'a>,
    answer: Said<'a>,
    /// The first and the last entry with a part of the answer; none for an empty one.
    answers: Option<(Seq, Seq)>,
    /// The model by the name that the agent used, empty for the default one.
    model: Option<String>,
}

/// A value in the form in which a receipt commits to it.
enum Said<'a> {
    Text(&'a str),
    Texts(Vec<String>),
    Bytes(&'a [u8]),
    Vectors(Vec<u8>),
}

impl Said<'_> {
    fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Text(text) => ValueRef::Text(text),
            Self::Texts(texts) => ValueRef::Texts(texts),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
            Self::Vectors(bytes) => ValueRef::Bytes(bytes),
        }
    }
}

fn embedding<'a>(seq: Seq, call: &Call<'a>) -> Option<Exchange<'a>> {
    let request = value::to_json(call.request).ok()?;
    let texts = request.get("texts")?.as_array()?.iter();
    Some(Exchange {
        operation: Operation::Embed,
        began: seq,
        request: Said::Texts(
            texts
                .map(|text| text.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        ),
        answer: Said::Vectors(vectors(call.response)?),
        answers: Some((seq, seq)),
        model: request.get("model")?.as_str().map(str::to_owned),
    })
}

/// The numbers of `{"ok": [[…], …]}`, as little-endian binary32, one after the other.
fn vectors(response: &[u8]) -> Option<Vec<u8>> {
    let mut d = Decoder::new(response);
    if d.map().ok()? != Some(1) || d.str().ok()? != "ok" {
        return None;
    }
    let mut out = Vec::new();
    for _ in 0..d.array().ok()?? {
        for _ in 0..d.array().ok()?? {
            let number = match d.datatype().ok()? {
                minicbor::data::Type::F16 => d.f16().ok()?,
                _ => d.f32().ok()?,
            };
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    Some(out)
}

/// Compares a receipt with an exchange: what holds, or the first thing that does not.
fn judge(
    journal: &Journal,
    seq: Seq,
    inference: &Inference,
    brought: &Brought<&[u8]>,
    exchange: &Exchange<'_>,
) -> Result<String, Finding> {
    let began = exchange.began;
    if inference.operation != exchange.operation {
        return Err((
            "other-operation",
            format!(
                "the receipt in entry {seq} is of another operation than entry {began} asked for"
            ),
        ));
    }
    if let Some(model) = &exchange.model
        && is_of_another_model(journal, seq, inference, model)
    {
        return Err((
            "other-model",
            format!(
                "the receipt in entry {seq} is of other weights than the first entry lists for the model that entry {began} asked for"
            ),
        ));
    }
    let (answer_field, answer) = match exchange.operation {
        Operation::Chat => (Field::OutputText, inference.output.text),
        Operation::Embed | Operation::Rank => (Field::Output, Some(inference.output.commitment)),
    };
    let missing = |what: &str| format!("the receipt in entry {seq} commits to no {what}");
    let asked = inference
        .asked
        .ok_or_else(|| ("nothing-committed", missing("request")))?;
    let answered = answer.ok_or_else(|| ("nothing-committed", missing("text")))?;
    let (Some(asked_salt), Some(answer_salt)) = (brought.asked, brought.answered) else {
        return Err((
            "no-salt",
            format!(
                "the journal does not hold what opens the receipt in entry {seq}: the words beside it are the runner's word"
            ),
        ));
    };
    let opens = |commitment: &Commitment, field, salt, said: &Said<'_>| {
        commitment.opens_to(field, &Salt::from_bytes(salt), said.as_ref())
    };
    if !opens(&asked, Field::Asked, asked_salt, &exchange.request) {
        return Err((
            "other-request",
            format!(
                "entry {began} asked something else than the receipt in entry {seq} commits to"
            ),
        ));
    }
    let whose = match (exchange.operation, exchange.answers) {
        (Operation::Embed, _) => format!("the vectors that entry {began} brought"),
        (_, None) => format!("the empty text that the generation of entry {began} gave"),
        (_, Some((first, last))) if first == last => format!("the text that entry {first} brought"),
        (_, Some((first, last))) => format!("the text that entries {first} to {last} brought"),
    };
    if !opens(&answered, answer_field, answer_salt, &exchange.answer) {
        return Err((
            "other-answer",
            format!("the receipt in entry {seq} does not commit to {whose}"),
        ));
    }
    Ok(format!(
        "the receipt in entry {seq} commits to what entry {began} asked and to {whose}"
    ))
}

/// Whether the first entry says that `model` has other weights. What a branch took from its parent was asked under the
/// parent's first entry.
fn is_of_another_model(journal: &Journal, seq: Seq, inference: &Inference, model: &str) -> bool {
    let genesis = journal.genesis();
    if genesis.branch_of.is_some_and(|point| seq <= point.entry) {
        return false;
    }
    let weights = inference.model.weights;
    if model.is_empty() {
        return !genesis.models.iter().any(|(_, listed)| *listed == weights);
    }
    genesis
        .models
        .iter()
        .any(|(name, listed)| name == model && *listed != weights)
}
