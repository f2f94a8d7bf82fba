"""Whole turns of conversation with their facts marked, from `turns/*.txt`: what people type, not sentences glued together.

A block has one to three lines `A: …`, `B: …` or `assistant: …` and ends at a blank line; `[[category K|clause]]` marks a
fact in place, K = S (semantic) or E (episodic), of the line's speaker, or `[[category K whom|clause]]` of somebody else.
Slots as in the shapes. A block whose text hashes into the held-out part is used in evaluation only.
"""

import pathlib
import re

import facts

HERE = pathlib.Path(__file__).parent / "turns"
KIND = {"S": facts.S, "E": facts.E}
_MARK = re.compile(r"\[\[(\w+) ([SE])(?: ([^|]*))?\|(.*?)\]\]")


def parse(line):
    """(speaker, parts), a part being (text, None) or (clause, (category, kind, whom or None))."""
    speaker, text = line.split(": ", 1)
    parts, at = [], 0
    for m in _MARK.finditer(text):
        if m.start() > at:
            parts.append((text[at:m.start()], None))
        parts.append((m[4], (m[1], KIND[m[2]], m[3])))
        at = m.end()
    if at < len(text):
        parts.append((text[at:], None))
    return speaker, parts


def read():
    """Blocks of parsed lines: (text, lines)."""
    out = {}
    for path in sorted(HERE.glob("*.txt")):
        text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
        for block in re.split(r"\n\s*\n", text.strip()):
            if block.strip():
                out[block.strip()] = [parse(line) for line in block.strip().split("\n")]
    return list(out.items())


BLOCKS = read()
