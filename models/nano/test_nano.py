"""What the card says, held against what is here; and that evaluation shows nothing that training does.

    python -m unittest -v test_nano       (the standard library and blake3)
"""

import json
import pathlib
import random
import re
import sys
import unittest
from unittest import mock

import blake3

import corpus
import facts
import tools
import turns
import words

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE / "eval"))

import bars

CARD = (HERE / "README.md").read_text()
RESULTS = json.loads((HERE / "eval" / "results.json").read_text())
SETS = ("words", "shapes", "both", "hand")
# The rows of the card's table, in order: the beginning of the label, the task of results.json, and the figure in it.
ROWS = [
    ("extraction, F1", "extract", "f1"),
    ("– the same, only quoting", "extract quoted", "f1"),
    ("– only the words of the basis", "extract", "span_f1"),
    ("– category right", "extract", "category"),
    ("– subject right", "extract", "subject"),
    ("– turns exactly right", "extract", "exact"),
    ("extraction from whole turns", "whole", "f1"),
    ("– the same, only quoting", "whole quoted", "f1"),
    ("– category right", "whole", "category"),
    ("answers, exact match", "answer", "exact"),
    ("– the same, only quoting", "answer quoted", "exact"),
    ("– with the right source number", "answer", "cited"),
    ("– \"I don't know\"", "answer", "unknown_exact"),
    ("tool call, free: right", "tool", "free_right"),
    ("– free: well-formed", "tool", "free_valid"),
    ("tool call, forced by grammar: valid", "tool", "forced_valid"),
    ("– forced: right", "tool", "forced_right"),
    ("– forced: the right tool", "tool", "forced_name"),
    ("tool result put into words", "toolresult", "exact"),
    ("form, exact", "form", "exact"),
    ("small talk", "talk", "exact"),
]


class Card(unittest.TestCase):
    def test_program_file_card_and_figures_are_of_one_model(self):
        found = blake3.blake3((HERE / "tally-nano.q8_0.gguf").read_bytes()).hexdigest()
        setup = (HERE / "../../runtime/cli/src/setup.rs").read_text()
        self.assertEqual(re.search(r'BUILTIN_WEIGHTS: &str = "(\w+)"', setup)[1], found)
        self.assertEqual(re.search(r"\| file \| `tally-nano\.q8_0\.gguf`, BLAKE3 `(\w+)`", CARD)[1], found)
        self.assertEqual(RESULTS["model"]["blake3"], found)

    def test_the_table_says_what_was_measured(self):
        table = CARD.split("| by hand | bar (generated / by hand) |")[1].split("\n\n")[0]
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().splitlines() if not line.startswith("|---")]
        self.assertEqual(len(rows), len(ROWS))
        for row, (label, task, figure) in zip(rows, ROWS):
            self.assertTrue(row[0].startswith(label), row)
            for name, cell in zip(SETS, row[1:5]):
                measured = RESULTS["figures"].get(f"{name}/{task}", {})
                measured = {**measured, **measured.get("of_matched", {})}.get(figure)
                said = cell.split(" ")[0]
                with self.subTest(row=row[0], set=name):
                    self.assertEqual(said == "–", measured is None)
                    if measured is not None:
                        self.assertLessEqual(abs(float(said) - measured), 0.0051)

    def test_a_missed_bar_is_named(self):
        good = {f"{name}/{task}": {figure: 1.0 for of, figure in bars.BARS if of == task} for name in SETS for task, _ in bars.BARS}
        self.assertEqual(bars.missed(good), [])
        for bad in (0.5, None, float("nan")):
            figures = {**good, "hand/extract": {"f1": bad}}
            self.assertEqual(len(bars.missed(figures)), 1, bad)
            self.assertIn("hand/extract: f1", bars.missed(figures)[0])
            self.assertEqual(bars.missed(figures, ("words",)), [])
        self.assertEqual(len(bars.missed({})), len(bars.BARS) * len(SETS))

    def test_what_is_exported_is_the_mean_of_the_weights(self):
        absent = {name: mock.MagicMock() for name in ("gguf", "numpy", "tokens")}
        with mock.patch.dict(sys.modules, absent):
            import export
        checkpoint = {"p": "the last", "mean": "the mean"}
        self.assertEqual(export.shipped(checkpoint), "the mean")
        self.assertEqual(export.shipped(checkpoint, last=True), "the last")
        self.assertEqual(export.shipped({"p": "the last", "mean": None}), "the last")


def unmarked(text):
    return re.sub(r"\[\[\w+ [SE](?: [^|]*)?\|(.*?)\]\]", r"\1", text)


class Split(unittest.TestCase):
    """By ways of their own, not by those of `seen.py`."""

    def test_a_held_out_word_stands_in_no_file_of_training(self):
        trained = [unmarked(text) for text, _ in turns.BLOCKS if not facts.form_held_out(text)]
        trained += [form for group in facts.GROUPS for form in group[2] if not facts.form_held_out(form)]
        trained += [request for _, _, _, requests in tools.MORE_TOOLS[False] for request in requests]
        known = set(re.findall(r"\w+", re.sub(r"\{[^}]*\}", " ", " ".join(trained)).lower()))
        w = words.Words(random.Random(1), "held")
        drawn = {w.first() for _ in range(1500)} | {w.city() for _ in range(1500)} | {w.pseudo() for _ in range(500)}
        for slot, held in words.MORE[True].items():
            # Where none of a list is unseen the known ones of it are drawn.
            drawn |= {w.fill(slot) for _ in range(60)} & set(held)
        self.assertGreater(len(drawn), 1000)
        shown = [word for word in drawn if len(word.split()) == 1 and word.lower() in known]
        self.assertEqual(shown, [])

    def test_a_clause_of_a_held_out_turn_stands_in_no_turn_of_training(self):
        marked = lambda lines: {part[0].lower() for _, parts in lines for part in parts if part[1]}
        trained = set().union(*(marked(lines) for text, lines in turns.BLOCKS if not facts.form_held_out(text)))
        for split in ("shapes", "both"):
            g = corpus.Generator("a test", split)
            self.assertGreater(len(g.blocks), 1500)
            self.assertEqual(set().union(*(marked(lines) for lines in g.blocks)) & trained, set())

    def test_a_question_about_a_held_out_shape_is_asked_about_no_known_one(self):
        g = corpus.Generator("a test", "shapes")
        known = {g.person(q, None) for group in facts.GROUPS for form in group[2] if not facts.form_held_out(form) for q, _ in facts.QUESTIONS[form]}
        filled = g.slots
        # The words are drawn, and the shapes come back without them.
        g.slots = lambda text, values: (filled(text, values), text)[1]
        asked = {g.personal(None, None, set())[1] for _ in range(400)}
        self.assertGreater(len(asked), 200)
        self.assertEqual(asked & known, set())

    def test_a_tool_of_a_held_out_shape_is_not_made_up_by_the_templates_of_training(self):
        for split in ("shapes", "both"):
            g = corpus.Generator("a test", split)
            # Only they draw from these.
            with mock.patch.object(tools, "VERB", []), mock.patch.object(tools, "INVENTED_ARG", []):
                for _ in range(400):
                    g.make_tool()

    def test_training_draws_no_word_or_shape_that_is_held_out(self):
        g = corpus.Generator("a test", "train")
        self.assertFalse(any(facts.form_held_out(form) for forms in g.forms.values() for _, form in forms))
        self.assertFalse({line for line in g.nothing if facts.form_held_out(line)} - set(facts.NOTHING))
        self.assertFalse(any(words.held_out(g.w.first()) for _ in range(500)))


if __name__ == "__main__":
    unittest.main()
