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


def chain(rules, name, text, encode, end):
    """Rules for the quotations of one line, each followed by `end`. Returns the rules one may begin with."""
    line = words(text)
    for i, (word, behind) in enumerate(line):
        more = [literal(encode(behind)) + f" {name}{i + 1}"] if i + 1 < len(line) else []
        rules.append(f"{name}{i} ::= {literal(encode(word))} ( {' | '.join([end, *more])} )")
    return [f"{name}{i}" for i in range(len(line))]


def facts(said):
    """The grammar of an extraction from lines `SPEAKER: text`."""
    rules, starts, subjects = [], [], set()
    for k, line in enumerate(said.split("\n")):
        speaker, _, text = line.partition(": ")
        if speaker == "assistant":
            continue
        subjects.add(speaker)
        starts += chain(rules, f"w{k}x", text, inside, literal('"'))
        found = [word for word, _ in words(text)]
        found = [w.removesuffix("'s") for w in found]
        subjects |= set(found) | {f"{a} {b}" for a, b in zip(found, found[1:]) if a[:1].isupper() and b[:1].isupper()}
    if not starts:
        return 'root ::= "{\\"facts\\":[]}"'
    quoted = lambda names: " | ".join(literal(n) for n in names)
    rules += ["basis ::= " + " | ".join(starts), "category ::= " + quoted(CATEGORIES), "kind ::= " + quoted(["semantic", "episodic"]), "subject ::= " + quoted(sorted(map(inside, subjects))),
              "fact ::= " + " ".join([literal('{"basis":"'), "basis", literal(',"category":"'), "category", literal('","kind":"'), "kind", literal('","subject":"'), "subject", literal('"}')]),
              f'root ::= {literal("{" + chr(34) + "facts" + chr(34) + ":[")} ( fact ( "," fact ){{0,7}} )? "]}}"']
    return "\n".join(rules)


def answer(user):
    """The grammar of an answer from numbered lines: a quotation and its line's number, or that one does not know."""
    rules, starts = [], [literal("I don't know.")]
    for m in re.finditer(r"^\[(\d+)\] (.*)$", user, re.M):
        text = m[2]
        for variant, k in ((text, ""), (text[:1].lower() + text[1:], "s")) if text[:1].isupper() else ((text, ""),):
            made = chain(rules, f"w{m[1]}{k}x", variant, lambda t: t, literal(f" [{m[1]}]"))
            starts += made[:1] if k else made
    return "\n".join([*rules, "root ::= " + " | ".join(starts)])
