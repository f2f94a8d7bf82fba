"""Answers a question about somebody's trips from what another app kept in their vault.

It reads the namespace `trips`, which `trip-notes` writes to, and may write nothing: two apps, one memory, each inside
its grant. What the model says is believed only where one note has all its words.
"""

import re

from tally_agent import Error, Reply, agent, chat, embed, emit, log, namespace

SHOWN = 12
COMPARED, CHARACTERS = 20, 300  # notes whose vectors are asked for, and how much of each: most of the run's tokens are left to answer
UNKNOWN = "I don't know: the notes do not say."


@agent
def handle(input):
    question = input.text.strip()
    if not question:
        raise Error("invalid", "ask something about the trips")
    notes, searched = choose(question, list(namespace("trips").items("text/")))
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
        "author": best.author if believed else None, "searched": searched, "receipt": answer.receipt.digest,
    })


def choose(question, notes):
    """The notes to read and what they were found by. Few are read all; of many, those that share words with the question and,
    where the run has an embedding model, those that mean something similar."""
    asked = words(question)
    notes.sort(key=lambda note: -len(asked & words(note.text)))
    if len(notes) <= SHOWN:
        return notes, "words"
    compared = notes[:COMPARED]
    try:
        question_vector, *vectors = embed([question] + [note.text[:CHARACTERS] for note in compared])
    except Error as error:
        if error.kind in ("exhausted", "cancelled"):
            raise
        log(f"searched by words alone: {error}")
        return notes[:SHOWN], "words"
    scores = {note.id: len(asked & words(note.text)) + 2 * dot(question_vector, vector) for note, vector in zip(compared, vectors)}
    compared.sort(key=lambda note: -scores[note.id])
    return compared[:SHOWN], "words and meaning"


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def words(text):
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 2 or word.isdigit()}


def share(said, note):
    """How much of what was said stands in the note."""
    mine = words(said)
    return len(mine & words(note)) / len(mine) if mine else 0.0
