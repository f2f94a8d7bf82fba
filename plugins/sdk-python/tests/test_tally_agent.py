"""What the SDK itself does, with the host's side faked. Run: python3 -m unittest discover plugins/sdk-python/tests"""

import json
import pathlib
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import fakes

host = fakes.install()

import tally_agent as sdk

inference, types = host.inference, host.types


def done(finish="STOP"):
    return inference.Event_Done(inference.Completion(inference.FinishReason[finish], usage=None))


def says(*pieces):
    return [*map(inference.Event_Text, pieces), done()]


def asks(name, arguments, id="c0"):
    return [inference.Event_ToolCall(types.ToolCall(id, name, arguments)), done("TOOL_CALLS")]


class FakeGeneration:
    def __init__(self, events, released):
        self.events, self.released = list(events), released

    def next(self):
        return self.events.pop(0) if self.events else None

    def receipt(self):
        return "receipt"

    def cancel(self):
        pass

    def __exit__(self, *_):
        self.released.append(True)


class SdkTest(unittest.TestCase):
    def setUp(self):
        self.requests, self.released, self.shown, self.logged = [], [], [], []
        host.output.emit = self.shown.append
        host.env.log = lambda level, message: self.logged.append((level.name, message))

    def answering(self, *turns):
        turns = list(turns)

        def start(request):
            self.requests.append(request)
            return FakeGeneration(turns.pop(0) if len(turns) > 1 else turns[0], self.released)

        inference.chat = start

    def refusing(self, error):
        def refuse(*_):
            raise fakes.Err(error)

        return refuse

    def test_text_is_collected_shown_as_it_comes_and_the_generation_released(self):
        self.answering(says("a", "b"))
        answer = sdk.chat("q").system("s").emit().send()
        self.assertEqual((answer.text, answer.finish, answer.receipt), ("ab", "stop", "receipt"))
        self.assertEqual(self.shown, ["a", "b"])
        self.assertEqual(self.released, [True])
        self.assertEqual([m.role.name for m in self.requests[0].messages], ["SYSTEM", "USER"])

    def test_a_generation_is_released_when_the_listener_raises(self):
        self.answering(says("a"))

        def listener(_):
            raise sdk.Error("cancelled")

        with self.assertRaises(sdk.Error):
            sdk.chat("q").stream(listener)
        self.assertEqual(self.released, [True])

    def test_a_generation_that_stops_short_is_not_an_answer(self):
        self.answering([inference.Event_Text("a")])
        with self.assertRaisesRegex(sdk.Error, "without saying why"):
            sdk.chat("q").send()

    def test_wrong_types_never_reach_the_host(self):
        self.answering(says("x"))
        for wrong in (
            lambda: sdk.chat(5), lambda: sdk.chat("q").system(None), lambda: sdk.chat("q").model(1),
            lambda: sdk.chat("q").gbnf({}), lambda: sdk.chat("q").stop(1), lambda: sdk.emit(b"x"),
            lambda: sdk.embed([1]), lambda: sdk.setting(1), lambda: sdk.chat("q").sampling(seed=1),
            lambda: sdk.call_tool(1, {}),
        ):
            with self.assertRaises(TypeError):
                wrong()
        self.assertEqual(self.requests, [])

    def test_a_hosts_refusal_is_an_error_of_its_kind(self):
        inference.chat = self.refusing(types.Error_Denied("model x"))
        with self.assertRaises(sdk.Error) as caught:
            sdk.chat("q").send()
        self.assertEqual((caught.exception.kind, caught.exception.message), ("denied", "model x"))
        host.output.emit = self.refusing(types.Error_Exhausted(types.ResourceKind.OUTPUT_BYTES))
        with self.assertRaises(sdk.Error) as caught:
            sdk.emit("x")
        self.assertEqual((caught.exception.kind, caught.exception.message), ("exhausted", "output bytes"))

    def outcome(self, handle):
        namespace = {"sdk": sdk, "handle": handle}
        exec("@sdk.agent\ndef run(input):\n    return handle(input)", namespace)
        return namespace["Handler"]().handle(None)

    def test_an_agents_errors_become_outcomes_that_the_host_understands(self):
        def raising(error):
            def handle(_):
                raise error

            return handle

        for error, expected in (
            (sdk.Error("denied", "x"), types.Error_Denied("x")),
            (sdk.Error("cancelled"), types.Error_Cancelled()),
            (sdk.Error("exhausted", "wall time"), types.Error_Exhausted(types.ResourceKind.WALL_TIME)),
            (sdk.Error("exhausted", "patience"), types.Error_Failed("exhausted: patience")),
            (KeyError("oops"), types.Error_Failed("KeyError: 'oops'")),
            (SystemExit(3), types.Error_Failed("SystemExit: 3")),
        ):
            with self.assertRaises(fakes.Err) as caught:
                self.outcome(raising(error))
            self.assertEqual(caught.exception.value, expected)
        self.assertRegex(self.logged[0][1], r"KeyError: 'oops'\n(.*\n)*.*test_tally_agent.py:\d+ in handle")

    def test_a_reply_is_a_str_or_a_reply_and_nothing_else(self):
        self.assertEqual(self.outcome(lambda _: "hi").text, "hi")
        reply = self.outcome(lambda _: sdk.Reply("hi", {"a": "ü"}))
        self.assertEqual(json.loads(reply.data_json), {"a": "ü"})
        for wrong in (None, 5, {}, sdk.Reply(5), sdk.Reply("x", {1, 2})):
            with self.assertRaises(fakes.Err) as caught:
                self.outcome(lambda _: wrong)
            self.assertTrue(caught.exception.value.value.startswith("TypeError"))

    def chat_with_tool(self):
        return sdk.chat("2+2?").tool(types.ToolSpec("calculate", "", "{}"))

    def test_a_tools_result_reaches_the_model_under_its_calls_id(self):
        self.answering(asks("calculate", '{"expression":"2+2"}', "id7"), says("four"))
        host.tools.call = lambda name, arguments: f"{name} {arguments} is 4"
        self.assertEqual(self.chat_with_tool().run_with_tools(3).text, "four")
        assistant, result = self.requests[1].messages[-2:]
        self.assertEqual((assistant.role.name, result.role.name, result.tool_call_id), ("ASSISTANT", "TOOL", "id7"))
        self.assertEqual(result.content, 'calculate {"expression":"2+2"} is 4')

    def test_a_tools_failure_is_told_to_the_model_and_a_refusal_ends_the_run(self):
        self.answering(asks("calculate", "{}"), says("sorry"))
        host.tools.call = self.refusing(types.Error_Invalid("no expression"))
        self.assertEqual(self.chat_with_tool().run_with_tools(3).text, "sorry")
        self.assertEqual(self.requests[1].messages[-1].content, "error: no expression")
        self.answering(asks("calculate", "{}"), says("sorry"))
        host.tools.call = self.refusing(types.Error_Denied("tool calculate"))
        with self.assertRaises(sdk.Error) as caught:
            self.chat_with_tool().run_with_tools(3)
        self.assertEqual(caught.exception.kind, "denied")

    def test_a_model_that_never_stops_asking_is_made_to_answer_without_tools(self):
        def start(request):
            self.requests.append(request)
            events = asks("calculate", str(len(self.requests))) if request.tools else says("enough")
            return FakeGeneration(events, self.released)

        inference.chat = start
        host.tools.call = lambda *_: "0"
        self.assertEqual(self.chat_with_tool().run_with_tools(3).text, "enough")
        self.assertEqual(len(self.requests), 4)

    def test_a_repeated_call_is_answered_from_memory_and_ends_the_rounds(self):
        calls = []
        self.answering(asks("calculate", "same"), asks("calculate", "same"), says("done"))
        answer = self.chat_with_tool().run_with(10, lambda call: calls.append(call) or "0")
        self.assertEqual((answer.text, len(calls)), ("done", 1))

    def test_an_answer_cut_at_the_limit_says_so_when_it_does_not_parse(self):
        self.answering([inference.Event_Text('{"a": '), done("LENGTH")])
        with self.assertRaisesRegex(sdk.Error, "cut at the token limit"):
            sdk.chat("q").json_schema({"type": "object"}).json()
        self.assertEqual(self.requests[0].response.value, '{"type": "object"}')

    def test_json_nested_too_deeply_is_refused_before_it_is_parsed(self):
        for text in ("[" * 101, '{"a":' * 101, '["]", ' * 101):
            with self.assertRaisesRegex(ValueError, "nested deeper"):
                sdk._parse(text)
        self.assertEqual(sdk._parse('["' + "[" * 500 + '\\"["]'), ["[" * 500 + '"['])
        self.assertEqual(sdk._parse("[" * 100 + "]" * 100)[0][0][0][:0], [])

    def test_a_plugin_lists_its_tools_and_refuses_malformed_calls(self):
        namespace = {"sdk": sdk}
        exec("@sdk.tool('shout', 'd', {'type': 'object'})\ndef shout(arguments):\n    return arguments['text'].upper()",
             namespace)
        tools = namespace["Tools"]()
        self.assertEqual([spec.name for spec in tools.list()], ["shout"])
        self.assertEqual(tools.call("shout", '{"text":"hi"}'), "HI")
        for name, arguments in (("nope", "{}"), ("shout", ""), ("shout", "[]"), ("shout", "[" * 100_000),
                                ("shout", '"' + "a" * 300_000 + '"')):
            with self.assertRaises(fakes.Err) as caught:
                tools.call(name, arguments)
            self.assertIsInstance(caught.exception.value, types.Error_Invalid, (name, arguments[:9]))
        with self.assertRaises(fakes.Err) as caught:
            tools.call("shout", "{}")
        self.assertEqual(caught.exception.value, types.Error_Failed("KeyError: 'text'"))

    def test_a_namespace_is_read_page_by_page_and_written_as_drafts(self):
        vault = host.vault
        def item(number):
            return vault.Item(str(number), str(number), "text/plain", b"n%d" % number, "ab", host.env.Datetime(2, 500_000_000), None, None, [])
        pages = {None: vault.Page([item(1), item(2)], "2"), "2": vault.Page([item(3)], None)}
        asked, written = [], []
        vault.list = lambda name, prefix, after, limit: asked.append((name, prefix, after)) or pages[after]
        vault.append = lambda name, drafts: written.append((name, drafts)) or [str(len(d.content)) for d in drafts]
        vault.namespaces = lambda: [vault.Namespace("trips", vault.Access.APPEND)]
        trips = sdk.namespace("trips")
        self.assertEqual([(item.text, item.written) for item in trips.items("text/")], [("n1", 2.5), ("n2", 2.5), ("n3", 2.5)])
        self.assertEqual(asked, [("trips", "text/", None), ("trips", "text/", "2")])
        self.assertEqual(trips.add("café"), "5")
        self.assertEqual(written, [("trips", [vault.Draft("text/plain", "café".encode(), None)])])
        self.assertEqual(sdk.namespaces(), {"trips": "append"})
        def refuse(*_):
            raise fakes.Err(host.types.Error_Denied("appending to the namespace \"x\" is not granted"))
        vault.append = refuse
        with self.assertRaises(sdk.Error) as caught:
            trips.add("x")
        self.assertEqual(caught.exception.kind, "denied")

    def test_a_memory_is_told_and_asked_in_the_contracts_form(self):
        memory, told, asked = host.memory, [], []
        memory.remember = lambda *args: told.append(args) or memory.Remembered(["1"], 0, 0, 0, [])
        cited = memory.Cited("e", "I row.", "Ben", None, "notes")
        source = memory.Source("notes", "", "op", "ab", None, None)
        hit = memory.Hit("1", memory.Layer.FACT, False, "I row", "Ben", memory.Voice.PERSON, "2026-05-04T00:00:00Z", None, None,
                         ["interests"], 700, [cited], source, 1.5, 3)
        memory.recall = lambda *args: asked.append(args) or memory.Recalled("c", [hit], 3, False)
        mine = sdk.memory()
        self.assertEqual(mine.remember([sdk.turn("I row."), sdk.turn("Me too.", "person", "Ben", at="2026-05-04")]).ids, ["1"])
        self.assertEqual(told, [("memory", [
            memory.Turn(memory.Voice.USER, None, None, "", None, "I row."),
            memory.Turn(memory.Voice.PERSON, "Ben", "2026-05-04", "", None, "Me too."),
        ])])
        found = mine.recall("Who rows?", as_of="2026-05-05", hits=3, only="fact", speakers=["Ben"])
        self.assertEqual((found.hits[0].layer, found.hits[0].voice, found.hits[0].evidence[0].words, found.hits[0].source.author),
                         ("fact", "person", "I row.", "ab"))
        mine.recall("Who?", everything=True)
        mine.recall("Who?")
        self.assertEqual(asked[0], ("memory", memory.Question(
            "Who rows?", memory.State_AsOf("2026-05-05"), 3, 0, memory.Layer.FACT, [], [], [], ["Ben"])))
        self.assertEqual([args[1].state for args in asked[1:]], [memory.State_Everything(), memory.State_Current()])
        def refuse(*_):
            raise fakes.Err(host.types.Error_Denied("curating is not granted"))
        memory.correct = refuse
        with self.assertRaises(sdk.Error) as caught:
            mine.correct("1", "x")
        self.assertEqual(caught.exception.kind, "denied")
        for wrong in (lambda: sdk.turn(7), lambda: mine.recall(7), lambda: mine.forget([7]), lambda: sdk.turn("x", at=7)):
            self.assertRaises(TypeError, wrong)
        self.assertRaises(KeyError, sdk.turn, "x", "god")


if __name__ == "__main__":
    unittest.main()
