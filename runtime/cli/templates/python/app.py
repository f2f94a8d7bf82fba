"""{{name}}: answers a question, from the attached texts if there are any."""

from tally_agent import Error, Reply, agent, chat, log

# What a small model reads well.
MAX_CONTEXT_CHARACTERS = 4_000


@agent
def handle(input):
    if not input.text.strip():
        raise Error("invalid", 'ask something: tally run ... --input "..."')
    log(f"{len(input.attachments)} attachments")

    context = numbered(input.attachments)
    if context:
        question = chat(f"Context:\n{context}Question: {input.text}")
        question.system("Answer from the context and name the source.")
    else:
        question = chat(input.text).system("You are a helpful assistant.")
    try:
        # `emit` shows the text as it comes. An error that is not caught becomes the run's outcome.
        answer = question.max_tokens(200).emit().send()
    except Error as error:
        if error.kind != "denied":
            raise
        return f"I may not use a model here ({error.message}). Grant it and ask again."
    if not answer.text.strip():
        return "I don't know."
    data = {"tokens": answer.usage.completion_tokens, "receipt": answer.receipt.digest}
    return Reply(answer.text, data)


def numbered(attachments):
    """The attachments' lines, numbered."""
    lines = [line for one in attachments for line in one.text.splitlines() if line.strip()]
    text = "".join(f"[{number}] {line}\n" for number, line in enumerate(lines, 1))
    return text[:MAX_CONTEXT_CHARACTERS]
