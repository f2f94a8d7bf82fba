//! Checking a memory again, offline: which words, shown to which model in which prompt, and what it answered.
//!
//! A receipt commits to the request as it was asked (`asked`) and to the text that was handed out. The prompt is made anew from the
//! episodes and held against the one; the model's proposal is put through the gates anew and held against the fact. Gates change: where
//! the call's record names others than those of this program, another outcome is not a failure.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use tally_receipt::{
    Check, CommittedValue, Context, Digest, Field, Openings, Policy, Receipt, Status, Timestamp,
    Verdict, code, verify_bytes,
};

use crate::extract::{self, Candidate};
use crate::gates;
use crate::ids::{MemoryId, SpanHash};
use crate::memory::{Memory, Phrased, Sentence, assemble};
use crate::model::{self, Ask, Form, ReceiptParts};
use crate::moment::Moment;
use crate::record::{Call, Category, Episode, Fact, Line};
use crate::{phrase, secrets};

/// The method's name in its verdicts.
pub const METHOD: &str = "memory";

/// The codes of this method's checks, beside those of a receipt's.
pub mod codes {
    /// The words of the evidence are in its episodes.
    pub const WORDS: &str = "words";
    /// The model was shown these words.
    pub const SHOWN: &str = "shown";
    /// The model proposed this fact.
    pub const PROPOSED: &str = "proposed";
    /// The gates of this program let the proposal pass as this fact.
    pub const GATES: &str = "gates";
    /// There is a receipt for the call.
    pub const RECEIPT: &str = "receipt";
    /// The receipt commits to the prompt that these episodes make.
    pub const PROMPT: &str = "prompt";
    /// The receipt commits to the answer that is kept.
    pub const ANSWER: &str = "answer";
    /// The owner said so.
    pub const OWNER: &str = "owner";
    /// The bio says what the answer and the facts make, and says whose each sentence is.
    pub const SENTENCES: &str = "sentences";
}

/// What the verifying side knows.
#[derive(Clone, Copy)]
pub struct Trust<'a> {
    /// The present time.
    pub now: Moment,
    /// Whose receipts count, and of which models; none: nobody's is established.
    pub policy: Option<&'a Policy>,
    /// The weights that should have been used.
    pub weights: Option<Digest>,
}

/// A bio in a model's words, as it was printed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PrintedBio {
    /// All of it.
    pub bio: String,
    /// Its sentences, in order.
    pub sentences: Vec<Sentence>,
    /// What the citations name.
    pub citations: Vec<(u32, String)>,
    /// The call; none if no model was asked.
    pub call: Option<Call>,
}

impl From<&Phrased> for PrintedBio {
    fn from(bio: &Phrased) -> Self {
        Self {
            bio: bio.text(),
            sentences: bio.sentences.clone(),
            citations: bio
                .citations
                .iter()
                .map(|(number, id)| (*number, id.to_string()))
                .collect(),
            call: bio.call.clone(),
        }
    }
}

/// A memory that cannot be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no memory {0}")]
pub struct NoSuchMemory(pub MemoryId);

impl Memory {
    /// Checks a memory again, from its words to its receipt. Nothing is asked of anybody.
    ///
    /// # Errors
    /// [`NoSuchMemory`].
    pub fn verify(&self, id: &MemoryId, trust: &Trust<'_>) -> Result<Verdict, NoSuchMemory> {
        match id {
            MemoryId::Episode(episode) => {
                let (episode, _) = self.episode(episode).ok_or(NoSuchMemory(*id))?;
                let sentence = format!(
                    "the words hash to the episode's name; {} is said to have said them in {}",
                    episode.speaker, episode.app
                );
                Ok(Verdict::new(
                    METHOD,
                    &[codes::WORDS],
                    vec![Check::pass(codes::WORDS, sentence)],
                    vec![
                        "that anybody said this: an app handed it over, and the vault shows who wrote it down"
                            .into(),
                    ],
                ))
            }
            MemoryId::Fact(fact) => {
                let fact = self.fact(fact).ok_or(NoSuchMemory(*id))?;
                Ok(self.verify_fact(fact, trust))
            }
            MemoryId::Correction(remark) => {
                if !self.has_correction(remark) {
                    return Err(NoSuchMemory(*id));
                }
                Ok(Verdict::new(
                    METHOD,
                    &[codes::OWNER],
                    vec![Check::pass(codes::OWNER, "it was written as a correction by whoever may write to this namespace; the vault's log names the member".to_owned(),
                    )],
                    vec!["that it is true".into()],
                ))
            }
        }
    }

    /// Checks again a bio in a model's words, and the call behind it: that the receipt holds and is of the question that these facts
    /// make and of the answer that the record has, and that the bio says what that answer and these facts make, to the byte.
    pub fn verify_phrase(&self, printed: &PrintedBio, trust: &Trust<'_>) -> Verdict {
        let checks = match &printed.call {
            None => vec![Check::not_established(
                codes::RECEIPT,
                "no-call",
                "no model was asked".to_owned(),
            )],
            Some(call) => match self.told_by(printed, call) {
                Ok(texts) => {
                    let shown = &texts[..call.facts.len()];
                    let ask = phrase::asked(&call.shape, shown);
                    let mut checks = check_receipt(call, ask.as_ref(), "facts", trust);
                    checks.push(check_sentences(printed, call, &texts));
                    checks
                }
                Err(check) => vec![check],
            },
        };
        Verdict::new(
            METHOD,
            &[
                codes::RECEIPT,
                code::SIGNATURE,
                code::SIGNER_TRUSTED,
                codes::PROMPT,
                codes::ANSWER,
                codes::SENTENCES,
            ],
            checks,
            vec![
                "that what was said is true".into(),
                "that these weights gave this answer: the signer says so".into(),
                "that it says all that was to be said, and that alone: of what no model was shown, some may have been left out or put in"
                    .into(),
            ],
        )
    }

    /// What a bio is to say, by its numbers: what each memory says that it cites. The first are the facts that the model was shown, each
    /// as it says or as a correction of it does, whichever was in place then. No receipt names the others: they are what a bio may
    /// say, each once.
    fn told_by(&self, printed: &PrintedBio, call: &Call) -> Result<Vec<String>, Check> {
        let other = |sentence: &str| Check::fail(codes::SENTENCES, "other", sentence.to_owned());
        let mut told = Vec::with_capacity(printed.citations.len());
        let mut cited_before = BTreeSet::new();
        for (expected, (number, name)) in (1..).zip(&printed.citations) {
            if *number != expected {
                return Err(other("its citations are not numbered in their order"));
            }
            let cited = self.find(name).ok();
            let cited = cited.and_then(|id| self.state.fact_of(&id));
            let Some((fact, said)) = cited else {
                return Err(Check::not_established(
                    codes::PROMPT,
                    "fact-gone",
                    "a fact that it cites is not here any more, so neither the prompt nor the bio can be made again"
                        .to_owned(),
                ));
            };
            if call.facts.get(told.len()).is_some_and(|id| *id != fact) {
                return Err(other("it cites other facts than the model was shown"));
            }
            if !cited_before.insert(fact) {
                return Err(other("it cites a fact twice"));
            }
            let is_of_bios =
                said.subject == "user" && !said.categories.contains(&Category::Private);
            if told.len() >= call.facts.len() && !is_of_bios {
                return Err(other(
                    "it quotes what is in no bio: what is private, or about somebody else",
                ));
            }
            told.push(secrets::mask(&said.text));
        }
        if told.len() < call.facts.len() {
            return Err(other("it cites fewer facts than the model was shown"));
        }
        Ok(told)
    }

    fn verify_fact(&self, fact: &Fact, trust: &Trust<'_>) -> Verdict {
        let mut checks = vec![self.check_words(fact)];
        match self.call_of(fact) {
            None => checks.push(Check::fail(
                codes::RECEIPT,
                "no-call",
                "the record of the call that brought it is not here".to_owned(),
            )),
            Some(call) => {
                let shown: Option<Vec<(Line, &Episode)>> = call
                    .lines
                    .iter()
                    .map(|line| Some((*line, self.episode(&line.episode)?.0)))
                    .collect();
                match shown {
                    Some(shown) => {
                        checks.extend(self.check_call(fact, call, &shown));
                        let prompt: Vec<String> = shown
                            .iter()
                            .filter_map(|(line, episode)| extract::line_text(episode, line))
                            .collect();
                        let ask = extract::asked(&call.shape, &prompt);
                        checks.extend(check_receipt(call, ask.as_ref(), "episodes", trust));
                    }
                    None => checks.push(Check::not_established(
                        codes::SHOWN,
                        "episode-gone",
                        "an episode that the model was shown beside this one was forgotten, so the prompt cannot be made again".to_owned(),
                    )),
                }
            }
        }
        Verdict::new(
            METHOD,
            &[
                codes::WORDS,
                codes::SHOWN,
                codes::PROPOSED,
                codes::GATES,
                codes::RECEIPT,
                code::SIGNATURE,
                code::SIGNER_TRUSTED,
                codes::PROMPT,
                codes::ANSWER,
            ],
            checks,
            vec![
                "that what was said is true".into(),
                "that these weights gave this answer: the signer says so".into(),
            ],
        )
    }

    fn check_words(&self, fact: &Fact) -> Check {
        for evidence in &fact.evidence {
            let Some((episode, _)) = self.episode(&evidence.episode) else {
                return Check::not_established(
                    codes::WORDS,
                    "episode-gone",
                    format!("episode {} is not here", evidence.episode),
                );
            };
            let words = episode
                .text
                .get(evidence.start as usize..evidence.end as usize);
            if words.is_none_or(|words| SpanHash::of(words.as_bytes()) != evidence.words) {
                return Check::fail(
                    codes::WORDS,
                    "other-words",
                    format!(
                        "bytes {} to {} of episode {} are not the words that the fact rests on",
                        evidence.start, evidence.end, evidence.episode
                    ),
                );
            }
        }
        Check::pass(
            codes::WORDS,
            "the words it rests on stand in its episodes, byte for byte".to_owned(),
        )
    }

    fn check_call(&self, fact: &Fact, call: &Call, shown: &[(Line, &Episode)]) -> Vec<Check> {
        let mut checks = Vec::new();
        let was_shown = fact.evidence.iter().all(|evidence| {
            call.lines.iter().any(|line| {
                line.episode == evidence.episode
                    && line.start <= evidence.start
                    && evidence.end <= line.end
            })
        });
        checks.push(if was_shown {
            Check::pass(codes::SHOWN, "the model was shown these words".to_owned())
        } else {
            Check::fail(
                codes::SHOWN,
                "not-shown",
                "the call that is named did not show these words to the model".to_owned(),
            )
        });
        let candidates = extract::read(&call.shape, &call.answer).unwrap_or_default();
        let judged = |candidate: &Candidate| {
            gates::judge(
                candidate,
                shown,
                |line| {
                    self.episode(&line.episode)
                        .map_or(call.at, |(_, said)| said)
                },
                fact.call,
            )
        };
        let proposed: Vec<&Candidate> = candidates
            .iter()
            .filter(|candidate| {
                let basis = candidate
                    .basis
                    .trim()
                    .trim_end_matches(['.', ',', ';', '!', ' ']);
                basis == fact.text.replace(['\n', '\r', '\t'], " ")
            })
            .collect();
        checks.push(if proposed.is_empty() {
            Check::fail(
                codes::PROPOSED,
                "not-proposed",
                "the answer that is kept does not propose it".to_owned(),
            )
        } else {
            Check::pass(
                codes::PROPOSED,
                "the model's answer proposes these words".to_owned(),
            )
        });
        let plain = Fact {
            links: Vec::new(),
            ..fact.clone()
        };
        let passes = proposed
            .iter()
            .any(|candidate| judged(candidate).is_ok_and(|made| made == plain));
        checks.push(check_gates(passes, call.judged_by()));
        checks
    }
}

/// Whether a bio is the one that a call's answer makes of these texts.
fn check_sentences(printed: &PrintedBio, call: &Call, texts: &[String]) -> Check {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let made = assemble(&texts, call.facts.len(), Some(&call.answer));
    let all: Vec<&str> = printed
        .sentences
        .iter()
        .map(|one| one.text.as_str())
        .collect();
    if made.sentences == printed.sentences && all.join(" ") == printed.bio {
        Check::pass(
            codes::SENTENCES,
            "the bio is what the answer and the facts make, and each sentence is whose it says"
                .to_owned(),
        )
    } else {
        Check::fail(
            codes::SENTENCES,
            "other",
            "the bio is not what the answer and the facts make: it was changed since, or made by another version of this program"
                .to_owned(),
        )
    }
}

/// What follows from whether the gates of this program make this fact, where the record says which gates judged. Only those of that
/// number could say that no gates made it.
fn check_gates(make_it: bool, judged_by: u32) -> Check {
    let these = gates::NUMBER;
    match (make_it, judged_by == these) {
        (true, true) => Check::pass(
            codes::GATES,
            "the gates, run again, make this very fact of it".to_owned(),
        ),
        (true, false) => Check::pass(
            codes::GATES,
            format!(
                "the gates of this program make this very fact of it: these gates are number {these}, it was judged by {judged_by}"
            ),
        ),
        (false, true) => Check::fail(
            codes::GATES,
            "other-fact",
            format!(
                "the gates that it was judged by, number {these}, make another fact of it, or none: it was written by hand"
            ),
        ),
        (false, false) => Check::not_established(
            codes::GATES,
            "other-gates",
            format!(
                "the gates of this program make another fact of it, or none: these gates are number {these}, it was judged by {judged_by}"
            ),
        ),
    }
}

/// The checks of a call's receipt, against the question that what it was shown makes, if it makes one.
fn check_receipt(
    call: &Call,
    ask: Option<&Ask>,
    shown: &'static str,
    trust: &Trust<'_>,
) -> Vec<Check> {
    let Some(envelope) = call.receipt.as_deref().and_then(model::decode) else {
        return vec![Check::not_established(
            codes::RECEIPT,
            "no-receipt",
            format!(
                "{} gave no receipt: which model answered is not proved",
                call.model
            ),
        )];
    };
    let openings = call
        .openings
        .as_deref()
        .and_then(model::decode)
        .and_then(|bytes| Openings::parse(&bytes).ok());
    let now = u64::try_from(trust.now.unix_ms()).unwrap_or_default();
    let now = Timestamp::from_unix_ms(now).unwrap_or_else(|_| {
        Timestamp::from_unix_ms(0).expect("1970 is a time that a receipt can have")
    });
    let mut context = Context::at(now);
    context.policy = trust.policy;
    context.expected_weights = trust.weights;
    context.openings = openings.as_ref();
    let (receipt, verdict) = verify_bytes(&envelope, &context);
    let mut checks = vec![Check::pass(
        codes::RECEIPT,
        format!(
            "the receipt {} is kept with the call",
            Digest::of(&envelope)
        ),
    )];
    checks.extend(
        verdict
            .checks()
            .iter()
            // The nonce was the caller's, at the time; who verifies later has none to expect.
            .filter(|check| ![code::NONCE, code::REPLAY].contains(&check.code.as_ref()))
            .cloned(),
    );
    let opened = |field| opened(receipt.as_ref(), openings.as_ref(), &verdict, field);
    checks.push(match opened(Field::Asked) {
        None => Check::not_established(
            codes::PROMPT,
            "not-opened",
            "nothing opens what the receipt says was asked".to_owned(),
        ),
        Some(asked) if ask.is_some_and(|ask| asks(&asked, ask)) => Check::pass(
            codes::PROMPT,
            format!("what was asked is the prompt that these {shown} make"),
        ),
        Some(_) => Check::fail(
            codes::PROMPT,
            "other",
            format!("what was asked is another prompt than these {shown} make"),
        ),
    });
    checks.push(match opened(Field::OutputText) {
        None => Check::not_established(
            codes::ANSWER,
            "not-opened",
            "nothing opens what the receipt says was answered".to_owned(),
        ),
        Some(text) if text == call.answer => Check::pass(
            codes::ANSWER,
            "the answer that is kept is the one that was signed".to_owned(),
        ),
        Some(_) => Check::fail(
            codes::ANSWER,
            "other",
            "the answer that is kept is not the one that was signed".to_owned(),
        ),
    });
    checks
}

/// A receipt that just came, before its answer is used: it must be one, hold, and be of this question and answer.
pub(crate) fn fresh(parts: &ReceiptParts, ask: &Ask, answer: &str) -> Result<(), String> {
    let receipt = Receipt::parse(&parts.envelope).map_err(|error| error.to_string())?;
    // The clock is the verifier's question later; here the receipt's own time is taken.
    let mut context = Context::at(receipt.predicate().issued_at());
    let openings = match &parts.openings {
        Some(bytes) => Some(Openings::parse(bytes).map_err(|error| error.to_string())?),
        None => None,
    };
    context.openings = openings.as_ref();
    let (receipt, verdict) = verify_bytes(&parts.envelope, &context);
    if verdict.status_of(code::SIGNATURE) != Some(Status::Pass) || verdict.has_failed() {
        return Err(verdict.to_string());
    }
    let opened = |field| opened(receipt.as_ref(), openings.as_ref(), &verdict, field);
    if opened(Field::Asked).is_some_and(|asked| !asks(&asked, ask)) {
        return Err("it is of another question".to_owned());
    }
    if opened(Field::OutputText).is_some_and(|text| text != answer) {
        return Err("it is of another answer".to_owned());
    }
    Ok(())
}

/// A text that a receipt commits to, where the openings give it and it is what was committed to.
fn opened(
    receipt: Option<&Receipt>,
    openings: Option<&Openings>,
    verdict: &Verdict,
    field: Field,
) -> Option<String> {
    let commitment = receipt?.predicate().commitment(field)?;
    let opening = openings?.iter().find(|one| one.field == field)?;
    if verdict.status_of(code::SIGNATURE) != Some(Status::Pass) || !opening.opens(&commitment) {
        return None;
    }
    match &opening.value {
        CommittedValue::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// Whether a request, as the inference service spells it, asks this: the same messages, the same form of the answer, no tools.
fn asks(asked: &str, ask: &Ask) -> bool {
    let Ok(asked) = serde_json::from_str::<Value>(asked) else {
        return false;
    };
    let messages = asked["messages"].as_array().is_some_and(|messages| {
        messages.len() == ask.messages.len()
            && messages.iter().zip(&ask.messages).all(|(one, meant)| {
                one["role"] == meant.role && one["content"] == meant.content.as_str()
            })
    });
    let no_tools = asked["tools"].as_array().is_none_or(Vec::is_empty);
    let form = match &ask.form {
        Form::Schema(schema) => asked["response"]["json-schema"] == *schema,
        Form::Grammar(grammar) => asked["response"]["gbnf"] == grammar.as_str(),
    };
    messages && no_tools && form
}
