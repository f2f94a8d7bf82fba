"""What the agent does with a model's calls, the model and the tool being faked.

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

TOOL = host.types.ToolSpec("calculate", "", "{}")


class Input:
    attachments = []

    def __init__(self, text):
        self.text = text


class PlanTest(unittest.TestCase):
    def setUp(self):
        self.asked, self.shown, self.calls = [], [], []
        host.output.emit = self.shown.append
        host.env.log = lambda *_: None
        host.tools.list = lambda: [TOOL]
        host.tools.call = self.calculate

    def calculate(self, name, arguments):
        self.calls.append((name, arguments))
        if name != "calculate":
            raise fakes.Err(host.types.Error_Invalid("no such tool"))
        expression = tally_agent._json.loads(arguments)["expression"]
        return f"{eval(expression, {'sum': lambda *numbers: sum(numbers)}):g}"

    def model(self, *calls):
        calls = list(calls)

        class Generation:
            def __init__(self, call):
                done = host.inference.Completion(host.inference.FinishReason.STOP, None)
                self.events = [host.inference.Event_Done(done)]
                if call:
                    self.events.insert(0, host.inference.Event_ToolCall(host.types.ToolCall("c0", *call)))

            def next(self):
                return self.events.pop(0) if self.events else None

            def receipt(self):
                return type("Receipt", (), {"digest": "d"})

            def __exit__(self, *_):
                pass

        host.inference.chat = lambda request: self.asked.append(request) or Generation(calls.pop(0))

    def plan(self, text):
        return app.handle(Input(text))

    def test_a_call_that_holds_is_made_and_its_result_added_up(self):
        self.model(("calculate", '{"expression":"2 * 85"}'), ("calculate", '{"expression":"3 * 20"}'))
        reply = self.plan("Trip\n- hotel, 2 nights at 85\n- three dinners at 20\nBudget: 200 euros")
        self.assertEqual(reply.data["total"], "230")
        self.assertEqual(reply.text.splitlines()[-1], "Over the budget of 200 by 30")
        self.assertEqual([step["by"] for step in reply.data["steps"]], ["model", "model"])

    def test_a_number_that_the_item_does_not_have_is_never_used(self):
        self.model(("calculate", '{"expression":"2 * 90"}'))
        reply = self.plan("- 2 * 85 for the hotel")
        self.assertEqual((reply.data["steps"][0]["by"], reply.data["total"]), ("code", "170"))
        self.assertNotIn(("calculate", '{"expression":"2 * 90"}'), self.calls)

    def test_what_nobody_can_work_out_is_said_and_not_guessed(self):
        self.model(None)
        reply = self.plan("- buy a present")
        self.assertEqual(reply.text, "1. buy a present: not worked out")
        self.assertIsNone(reply.data["total"])

    def test_a_call_of_another_tool_falls_back_to_the_items_own_expression(self):
        self.model(("launch", '{"expression":"2 * 85"}'))
        self.assertEqual(self.plan("- 2 * 85").data["steps"][0]["by"], "code")

    def test_a_refusal_ends_the_run(self):
        self.model(("calculate", '{"expression":"1+1"}'))

        def refuse(*_):
            raise fakes.Err(host.types.Error_Denied("tool calculate"))

        host.tools.call = refuse
        with self.assertRaises(tally_agent.Error) as caught:
            self.plan("- 1+1")
        self.assertEqual(caught.exception.kind, "denied")

    def test_without_items_or_without_the_tool_it_says_what_to_give(self):
        with self.assertRaisesRegex(tally_agent.Error, "one item on each line"):
            self.plan("hello")
        host.tools.list = lambda: []
        with self.assertRaisesRegex(tally_agent.Error, "text-tools.wasm"):
            self.plan("- 1+1")

    def test_numbers_are_the_same_in_digits_and_words(self):
        self.assertEqual(app.numbers("Three nights at 85.50, 007"), {"3", "85.5", "7"})


if __name__ == "__main__":
    unittest.main()
