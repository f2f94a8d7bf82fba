"""Grammars that let a model only quote: what it says of a text stands in that text, word for word.

A word is a run of characters without a space; a quotation begins and ends with a word and drops what stops a sentence
behind the last. The grammar of a text of n words has n rules, so it is made anew for each prompt.
"""

import json
import re

CATEGORIES = ["identity", "career", "interests", "relationships", "health", "finance", "learning", "travel", "productivity", "private"]
STOPS = ".,;:!?\"')]}…"


def literal(text):
    """Text as a GBNF literal."""
    return json.dumps(text, ensure_ascii=False)


def inside(text):
    """Text as it stands inside a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def words(text):
    """(word, what stands behind it up to the next)."""
    out = []
    for m in re.finditer(r"(\S+)(\s*)", text):
        bare = m[1].rstrip(STOPS) or m[1]
        out.append((bare, m[1][len(bare):] + m[2]))
    return out


def quoted(names):
    return " | ".join(literal(n) for n in names)


def facts(said):
    """The grammar of an extraction from lines `SPEAKER: text`.

    Quotations come in the order of the text and do not overlap. The subject of one is the speaker of its line or a word of
    that line, with the next if both are capitalised. An assistant's lines are not quoted.
    """
    rules = ["category ::= " + quoted(CATEGORIES), 'kind ::= "semantic" | "episodic"']
    at = 0  # words before this line; `from N` is any fact that begins at word N or later, or the end
    for k, line in enumerate(said.split("\n")):
        speaker, _, text = line.partition(": ")
        if speaker == "assistant":
            continue
        line_words = words(text)
        bare = [w.removesuffix("'s") for w, _ in line_words]
        subjects = {speaker, *bare} | {f"{a} {b}" for a, b in zip(bare, bare[1:]) if a[:1].isupper() and b[:1].isupper()}
        rules.append(f"subject{k} ::= {quoted(sorted(map(inside, subjects)))}")
        rules.append(f"labels{k} ::= {literal(chr(34) + ',' + chr(34) + 'category' + chr(34) + ':' + chr(34))} category {literal(chr(34) + ',' + chr(34) + 'kind' + chr(34) + ':' + chr(34))} kind {literal(chr(34) + ',' + chr(34) + 'subject' + chr(34) + ':' + chr(34))} subject{k} {literal(chr(34) + '}')}")
        for i, (word, behind) in enumerate(line_words):
            n = at + i
            more = f" | {literal(inside(behind))} word{n + 1}" if i + 1 < len(line_words) else ""
            rules.append(f"word{n} ::= {literal(inside(word))} ( labels{k} rest{n + 1}{more} )")
            rules.append(f"start{n} ::= word{n} | start{n + 1}")
            rules.append(f"rest{n} ::= {literal(']}')} | {literal(',{' + chr(34) + 'basis' + chr(34) + ':' + chr(34))} start{n}")
        at += len(line_words)
    if not at:
        return 'root ::= "{\\"facts\\":[]}"'
    rules[:] = [r.replace(f" | start{at}", "") for r in rules]
    rules.append(f"rest{at} ::= {literal(']}')}")
    rules.append(f"root ::= {literal('{' + chr(34) + 'facts' + chr(34) + ':[')} ( {literal(']}')} | {literal('{' + chr(34) + 'basis' + chr(34) + ':' + chr(34))} start0 )")
    return "\n".join(rules)


def chain(rules, name, text, end):
    """Rules for the quotations of one line, each followed by `end`. Returns the rules one may begin with."""
    line = words(text)
    for i, (word, behind) in enumerate(line):
        more = [literal(behind) + f" {name}{i + 1}"] if i + 1 < len(line) else []
        rules.append(f"{name}{i} ::= {literal(word)} ( {' | '.join([end, *more])} )")
    return [f"{name}{i}" for i in range(len(line))]


def answer(user):
    """The grammar of an answer from numbered lines: a quotation and its line's number, or that one does not know."""
    rules, starts = [], [literal("I don't know.")]
    for m in re.finditer(r"^\[(\d+)\] (.*)$", user, re.M):
        text = m[2]
        for variant, k in ((text, ""), (text[:1].lower() + text[1:], "s")) if text[:1].isupper() else ((text, ""),):
            made = chain(rules, f"w{m[1]}{k}x", variant, literal(f" [{m[1]}]"))
            starts += made[:1] if k else made
    return "\n".join([*rules, "root ::= " + " | ".join(starts)])
