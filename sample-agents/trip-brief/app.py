"""Answers a question about somebody's trips from what another app kept in their vault.

It reads the namespace `trips`, which `trip-notes` writes to, and may write nothing: two apps, one memory, each inside
its grant. What the model says is believed only where one note has all its words.
"""

import re

from tally_agent import Error, Reply, agent, chat, emit, namespace

SHOWN = 12
UNKNOWN = "I don't know: the notes do not say."


@agent
def handle(input):
    question = input.text.strip()
    if not question:
        raise Error("invalid", "ask something about the trips")
    notes = list(namespace("trips").items("text/"))
    asked = words(question)
    notes.sort(key=lambda note: -len(asked & words(note.text)))
    notes = notes[:SHOWN]
    if not notes:
        return Reply("There are no notes about trips yet.", {"answered": False, "notes": 0})

    context = "".join(f"[{number}] {note.text}\n" for number, note in enumerate(notes, 1))
    answer = (
        chat(f"Context:\n{context}Question: {question}")
        .system("Answer from the context and name the source.")
        .max_tokens(80)
        .send()
    )
    said = re.sub(r"\[\d+\]", "", answer.text).strip()
    best = max(notes, key=lambda note: share(said, note.text))
    believed = share(said, best.text) >= 0.5
    text = f"{said} (note of {best.author[:12]}: “{best.text}”)" if believed else UNKNOWN
    emit(text + "\n")
    return Reply(text, {
        "answered": believed, "notes": len(notes), "note": best.id if believed else None,
        "author": best.author if believed else None, "receipt": answer.receipt.digest,
    })


def words(text):
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 2 or word.isdigit()}


def share(said, note):
    """How much of what was said stands in the note."""
    mine = words(said)
    return len(mine & words(note)) / len(mine) if mine else 0.0
