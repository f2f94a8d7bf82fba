//! Answers a question from the attached documents, citing the lines that say so.
//!
//! The model reads the sentences that resemble the question and answers with the number of one. Code does the rest:
//! it ranks, by words and, where the run has an embedding model, by meaning; and it believes a sentence of the answer only
//! where the cited text has its words and all its numbers. What is not believed is not shown as an answer.

mod text;

use tally_agent::json::json;
use tally_agent::prelude::*;

use text::{Passage, sentences, split_markers, support};

tally_agent::agent!(handle);

/// As many sentences as a small model reads well.
const SHOWN: usize = 8;
/// A cited sentence must have this share of the answer's words.
const ENOUGH: f32 = 0.5;
const DO_NOT_KNOW: &str = "I don't know: the documents do not say.";

fn handle(input: Input) -> Result<Reply> {
    if input.attachments.is_empty() {
        return Err(Error::invalid(
            "attach at least one document to answer from",
        ));
    }
    let passages: Vec<Passage> = input.attachments.iter().flat_map(text::passages).collect();
    let (shown, words_alone) = choose(&input.text, &passages)?;
    let searched = match words_alone {
        None => "words and meaning",
        Some(_) => "words",
    };
    log!(
        Info,
        "{} of {} passages resemble the question, searched by {searched}{}",
        shown.len(),
        passages.len(),
        match &words_alone {
            None => String::new(),
            Some(why) => format!(" alone: {why}"),
        }
    );
    if shown.is_empty() {
        return reply(
            DO_NOT_KNOW,
            json!({ "answered": false, "citations": [], "searched": searched, "words_alone": words_alone }),
        );
    }

    let context: String = shown
        .iter()
        .enumerate()
        .map(|(at, p)| format!("[{}] {}\n", at + 1, p.text))
        .collect();
    let answer = chat(format!("Context:\n{context}Question: {}", input.text))
        .system("Answer from the context and name the source.")
        .max_tokens(200)
        .send()?;

    let (mut lines, mut citations, mut unsupported) = (Vec::new(), Vec::new(), Vec::new());
    for sentence in sentences(&answer.text) {
        let (said, cited) = split_markers(&sentence);
        // The passages that the model named go first, then all: a right answer with a wrong number is still right.
        let named = cited
            .iter()
            .filter_map(|number| shown.get(number.checked_sub(1)?));
        let mut best = (0.0, None);
        for passage in named.chain(&shown) {
            let share = support(&said, &passage.text);
            if share >= ENOUGH && share > best.0 {
                best = (share, Some(passage));
            }
        }
        let (share, Some(passage)) = best else {
            unsupported.push(said);
            continue;
        };
        lines.push(format!("{said} [{}:{}]", passage.name, passage.line));
        citations.push(
            json!({ "says": said, "name": passage.name, "line": passage.line,
            "quote": passage.text, "share": (share * 100.0).round() }),
        );
    }
    let text = match (lines.is_empty(), unsupported.join(" ")) {
        (false, _) => lines.join("\n"),
        (true, said) if said.is_empty() || said.to_lowercase().contains("don't know") => {
            DO_NOT_KNOW.into()
        }
        (true, said) => {
            format!("{DO_NOT_KNOW} (The model said “{said}”, which no passage it read supports.)")
        }
    };
    let data = json!({ "answered": !lines.is_empty(), "citations": citations, "unsupported": unsupported,
        "searched": searched, "words_alone": words_alone, "receipt": answer.receipt.digest,
        "tokens": answer.usage.prompt_tokens + answer.usage.completion_tokens });
    reply(&text, data)
}

fn reply(text: &str, data: tally_agent::json::Value) -> Result<Reply> {
    emit!("{text}\n")?;
    Reply::new(text).data(&data)
}

/// The passages to show, in the documents' order: those that share words with the question, and those that mean something similar;
/// and if meaning took no part, why.
///
/// The vectors are the default embedding model's, or those of `--set embedder=NAME`; `none` asks for none.
fn choose<'a>(
    question: &str,
    passages: &'a [Passage],
) -> Result<(Vec<&'a Passage>, Option<String>)> {
    let mut scores = text::rank(question, passages);
    let words_alone = match setting("embedder").unwrap_or_default().as_str() {
        "none" => Some("no embedding model was asked for".to_owned()),
        model => add_meaning(model, question, passages, &mut scores)?,
    };
    let mut best: Vec<usize> = (0..passages.len()).filter(|&at| scores[at] > 0.0).collect();
    best.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    best.truncate(SHOWN);
    best.sort_unstable();
    Ok((
        best.into_iter().map(|at| &passages[at]).collect(),
        words_alone,
    ))
}

/// Adds to the scores how near each passage is to the question in meaning; or says why that could not be known.
fn add_meaning(
    model: &str,
    question: &str,
    passages: &[Passage],
    scores: &mut [f32],
) -> Result<Option<String>> {
    let Some(compared) = text::to_compare(question, passages, scores) else {
        return Ok(Some("the question is too long to compare".to_owned()));
    };
    let texts: Vec<String> = core::iter::once(question)
        .chain(compared.iter().map(|&at| passages[at].text.as_str()))
        .map(String::from)
        .collect();
    match embed(model, &texts) {
        Ok(vectors) => {
            let (asked, rest) = vectors
                .split_first()
                .ok_or_else(|| Error::failed("the host gave no vectors"))?;
            for (&at, vector) in compared.iter().zip(rest) {
                scores[at] += text::nearness(asked, vector);
            }
            Ok(None)
        }
        Err(error @ (Error::Exhausted(_) | Error::Cancelled)) => Err(error),
        Err(error) => Ok(Some(error.to_string())),
    }
}
