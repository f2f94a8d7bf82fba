"""What training shows word for word, so that evaluation can leave it out.

A shape or a word is held out by a hash of its own text. That says nothing about the other places where the same words stand: a held-out
word inside a sentence of training, a clause of a held-out turn in a trained turn, a question of a held-out shape that a known one has too.
Evaluation asks here; training never does, so that its samples follow from the seed as before.
"""

import functools
import re

import facts
import smalltalk
import tools
import turns
from words import CITY, FIRST, LISTS, MORE, held_out


def plain(text):
    """As compared: lower case, words apart by one space, without the marks of a shape."""
    text = re.sub(r"\[([^/\]\[]*)/([^\]\[]*)\]", r"\1 \2", text)  # [am/is]
    return " ".join(re.sub(r"\{[^}]*\}|~", " ", text).lower().split())


def trained_turns():
    return [text for text, _ in turns.BLOCKS if not facts.form_held_out(text)]


def _texts():
    """All text that samples of training are made of."""
    for group in facts.GROUPS:
        for form in group[2]:
            if not facts.form_held_out(form):
                yield form
                yield from (q for q, _ in facts.QUESTIONS[form])
    for lines, questions in facts.MORE_DOCS:
        known = [line for line in lines if not facts.form_held_out(line)]
        yield from known
        yield from (q for q, _ in questions if known)
    for line, questions in facts.DOCS:
        yield line
        yield from (q for q, _ in questions)
    yield from facts.NOTHING
    yield from (line for line in facts.MORE_NOTHING if not facts.form_held_out(line))
    for some in (facts.ASSISTANT, facts.OPENERS, facts.CLOSERS, facts.JOINS, facts.TAILS):
        yield from some
    for block in trained_turns():
        yield re.sub(r"\[\[\w+ [SE](?: [^|]*)?\|(.*?)\]\]", r"\1", block)
    for names, descriptions, heads, arguments in tools.ACTIONS:
        yield from (*names[:-1], *descriptions, *heads[:-1], *(way for one in arguments for way in one[3]))
    for names, descriptions, arguments, requests in tools.MORE_TOOLS[False]:
        yield from (*names, *descriptions, *requests, *(word for keys, _, slot in arguments for word in (*keys, slot.strip("()"))))
    for name, description, arguments, ways in tools.TEXT_TOOLS:
        yield from (name, description, *arguments, *(way for way in ways[:-1]))
    for keys, _, ways in tools.FORM_FIELDS:
        yield from (*keys, *ways)
    for prompts, replies in smalltalk.TALK:
        yield from (*(prompts[:-1] if len(prompts) > 4 else prompts), *replies)
    for words in (*LISTS.values(), *MORE[False].values()):
        yield from words
    yield from (word for word in FIRST + CITY if not held_out(word))


@functools.cache
def _words():
    """The text of training as words between single spaces, with one at each end."""
    return " " + " ".join(re.findall(r"\w+", " \n ".join(plain(text).replace("_", " ") for text in _texts()))) + " "


@functools.cache
def _single():
    return set(_words().split(" "))


def is_word(word):
    """Whether a word, or several in a row, stands in text of training."""
    parts = re.findall(r"\w+", word.lower())
    return all(part in _single() for part in parts) and " " + " ".join(parts) + " " in _words()


@functools.cache
def unseen(slot):
    """The held-out words of a list that training shows nowhere."""
    return [word for word in MORE[True].get(slot, []) if not is_word(word)]


@functools.cache
def _clauses():
    return "\n".join(plain(re.sub(r"\[\[\w+ [SE](?: [^|]*)?\|(.*?)\]\]", r"\1", text)) for text in trained_turns())


@functools.cache
def is_clause(clause):
    """Whether a marked clause stands word for word in a turn of training."""
    clause, text = plain(clause), _clauses()
    at = text.find(clause)
    while at >= 0:
        if not text[at - 1:at].isalnum() and not text[at + len(clause):at + len(clause) + 1].isalnum():
            return True
        at = text.find(clause, at + 1)
    return False


@functools.cache
def _questions():
    return {q for group in facts.GROUPS for form in group[2] if not facts.form_held_out(form) for q, _ in facts.QUESTIONS[form]}


def is_question(question):
    """Whether a question is asked about a shape of training, too."""
    return question in _questions()
