//! {{name}}: answers a question, from the attached texts if there are any.

use tally_agent::prelude::*;

tally_agent::agent!(handle);

/// What a small model reads well.
const MAX_CONTEXT_CHARACTERS: usize = 4_000;

fn handle(input: Input) -> Result<Reply> {
    if input.text.trim().is_empty() {
        return Err(Error::invalid("ask something: tally run ... --input \"...\""));
    }
    log!(Info, "{} attachments", input.attachments.len());

    let question = match context(&input.attachments) {
        Some(context) => chat(format!("Context:\n{context}Question: {}", input.text))
            .system("Answer from the context and name the source."),
        None => chat(input.text).system("You are a helpful assistant."),
    };
    // `emit` shows the text as it comes. An error that `?` hands on becomes the run's outcome; this one we know better.
    let answer = match question.max_tokens(200).emit().send() {
        Err(Error::Denied(what)) => {
            return Ok(Reply::new(format!("I may not use a model here ({what}). Grant it and ask again.")));
        }
        other => other?,
    };
    if answer.text.trim().is_empty() {
        return Ok(Reply::new("I don't know."));
    }
    let data = tally_agent::json::json!({ "tokens": answer.usage.completion_tokens, "receipt": answer.receipt.digest });
    Reply::new(answer.text).data(&data)
}

/// The attachments' lines, numbered.
fn context(attachments: &[Attachment]) -> Option<String> {
    let lines = attachments.iter().flat_map(|attachment| attachment.text.lines());
    let numbered = (1..).zip(lines.filter(|line| !line.trim().is_empty()));
    let text: String = numbered.map(|(number, line)| format!("[{number}] {line}\n")).collect();
    (!text.is_empty()).then(|| text.chars().take(MAX_CONTEXT_CHARACTERS).collect())
}
