"""What the agent makes of notes and of what a model says about them, the model and the vault being faked.

Run in this folder: python3 -m unittest test_app
"""

import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "sdk"), str(HERE / "sdk" / "tests")]

import fakes

host = fakes.install()

import app
import tally_agent


class Input:
    attachments = []

    def __init__(self, text):
        self.text = text


class BriefTest(unittest.TestCase):
    def setUp(self):
        self.notes, self.shown = [], []
        vault, inference = host.vault, host.inference
        vault.list = lambda name, *_: self.assertEqual(name, "trips") or vault.Page(list(self.notes), None)
        host.output.emit = self.shown.append

        def answering(request):
            self.prompt = request.messages[-1].content
            done = inference.Completion(inference.FinishReason.STOP, Usage(3, 0, 2))
            events = [inference.Event_Text(self.says), inference.Event_Done(done)]
            return Generation(events)

        inference.chat = answering

    def note(self, text):
        at = host.env.Datetime(1, 0)
        number = len(self.notes) + 1
        self.notes.append(host.vault.Item(f"{number:064x}", f"{number:064x}", "text/plain", text.encode(), "ab" * 32, at, None, None, []))

    def test_what_a_note_says_is_said_with_whose_note_it_is(self):
        self.note("keep the window seat, always")
        self.note("no planes before nine")
        self.says = "the window seat [1]"
        reply = app.handle(Input("Which seat?"))
        self.assertTrue(reply.data["answered"])
        self.assertEqual(reply.data["note"], self.notes[0].id)
        self.assertIn("[1] keep the window seat, always", self.prompt)
        self.assertIn("abababababab", reply.text)

    def test_what_no_note_says_is_not_said(self):
        self.note("keep the window seat, always")
        self.says = "Aisle, of course"
        reply = app.handle(Input("Which seat?"))
        self.assertEqual((reply.text, reply.data["answered"]), (app.UNKNOWN, False))

    def test_of_many_notes_those_that_mean_the_same_are_read_where_a_model_knows_what_words_mean(self):
        for number in range(app.SHOWN):
            self.note(f"bring sock {number}")
        self.note("the cabin is heated by wood")
        self.says = "by wood [1]"
        host.inference.embed = lambda model, texts: [[1.0, 0.0]] + [[0.9, 0.4] if "heated" in text else [0.0, 1.0] for text in texts[1:]]
        reply = app.handle(Input("Will it be warm?"))
        self.assertEqual(reply.data["searched"], "words and meaning")
        self.assertEqual(reply.data["note"], self.notes[-1].id)
        self.assertTrue(self.prompt.startswith("Context:\n[1] the cabin is heated by wood\n"), self.prompt)

    def test_without_an_embedding_model_words_are_searched_by_and_the_log_says_why(self):
        for number in range(app.SHOWN + 1):
            self.note(f"bring sock {number}")
        self.says, logged = "sock 3 [1]", []

        def no_model(model, texts):
            raise fakes.Err(host.types.Error_Unavailable("no embedding model"))

        host.inference.embed, host.env.log = no_model, lambda level, message: logged.append(message)
        reply = app.handle(Input("Which sock?"))
        self.assertEqual((reply.data["searched"], reply.data["notes"]), ("words", app.SHOWN))
        self.assertIn("no embedding model", logged[0])

    def test_without_notes_no_model_is_asked(self):
        host.inference.chat = fakes._none("chat")
        self.assertEqual(app.handle(Input("Which seat?")).data, {"answered": False, "notes": 0})
        with self.assertRaises(tally_agent.Error):
            app.handle(Input("  "))


class Usage:
    def __init__(self, prompt, cached, completion):
        self.prompt_tokens, self.cached_tokens, self.completion_tokens = prompt, cached, completion


class Generation:
    def __init__(self, events):
        self.events = events

    def next(self):
        return self.events.pop(0) if self.events else None

    def receipt(self):
        class Receipt:
            digest, signer = "d", "s"

        return Receipt()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


if __name__ == "__main__":
    unittest.main()
