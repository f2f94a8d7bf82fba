"""Write an agent or a tool plugin for Tally in Python.

An agent is one function in ``app.py``:

    from tally_agent import agent, chat

    @agent
    def handle(input):
        return chat(input.text).system("You answer in one sentence.").emit().send().text

Everything here is a call into the host, which writes it into the run's journal; there is no other way out of the
component. A failed call raises `Error`; an `Error` that the agent does not catch becomes the run's outcome, and so
does any other exception, with its traceback in the run's log.

Import this module and everything else at the top of ``app.py``: what is not imported when the component is built is
not in it. Python's own ``random`` gives the same numbers in every run; use `random` of this module for chance.
"""

import json as _json
import re as _re
from dataclasses import dataclass as _dataclass, fields as _fields, is_dataclass as _is_dataclass
from enum import Enum as _Enum
from types import SimpleNamespace as _SimpleNamespace

from componentize_py_types import Err as _Err
from wit_world.imports import env as _env
from wit_world.imports import inference as _inference
from wit_world.imports import types as _types

try:  # The world `tool` has no output, no vault and no memory, and calls no tools.
    from wit_world.imports import memory as _memory
    from wit_world.imports import output as _output
    from wit_world.imports import tools as _tools
    from wit_world.imports import vault as _vault
except ImportError:
    _memory = _output = _tools = _vault = None
try:  # The world `tool` has no handler.
    from wit_world.exports import handler as _handler
except ImportError:
    _handler = None

__all__ = [
    "Answer", "Chat", "Done", "Error", "Generation", "Reply", "Text", "ToolCall",
    "agent", "call_tool", "chat", "embed", "emit", "log", "memory", "models", "namespace", "namespaces", "now", "random",
    "setting", "tool", "tools", "turn",
]

DEFAULT_MAX_TOKENS = 512
MAX_ARGUMENT_BYTES = 256 * 1024
MAX_JSON_DEPTH = 100

Text = _inference.Event_Text
Done = _inference.Event_Done
ToolCall = _types.ToolCall


class Error(Exception):
    """Why a call did not succeed.

    ``kind`` says who can do something about it: "denied" (not granted; who granted), "invalid" (whoever made the
    request), "exhausted" (a limit of this run), "unavailable" (asking again may help), "failed", "cancelled".
    """

    KINDS = ("denied", "invalid", "exhausted", "unavailable", "failed", "cancelled")

    def __init__(self, kind, message=""):
        if kind not in self.KINDS:
            raise ValueError(f"an error is one of {', '.join(self.KINDS)}, not {kind!r}")
        self.kind = kind
        self.message = str(message)
        super().__init__(f"{kind}: {self.message}" if self.message else kind)

    @property
    def is_for_the_model(self):
        """Whether a model that asked for a tool can do something about it. A refusal is not for it to work around."""
        return self.kind in ("invalid", "unavailable", "failed")


def _from_wit(error):
    name = type(error).__name__.removeprefix("Error_").lower()
    value = getattr(error, "value", "")
    if name == "exhausted":
        value = value.name.lower().replace("_", " ")
    return Error(name, value)


def _to_wit(error):
    if error.kind == "cancelled":
        return _types.Error_Cancelled()
    if error.kind == "exhausted":
        name = error.message.upper().replace(" ", "_")
        if name in _types.ResourceKind.__members__:
            return _types.Error_Exhausted(_types.ResourceKind[name])
        return _types.Error_Failed(str(error))
    return getattr(_types, f"Error_{error.kind.capitalize()}")(error.message)


def _call(function, *arguments):
    try:
        return function(*arguments)
    except _Err as refused:
        raise _from_wit(refused.value) from None


def _text(value, what):
    # A wrong type in a call to the host ends the run without a word; here it gets one.
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}")
    return value


# Time, chance, settings, log, output


def now():
    """Seconds since 1970, as a float. Never goes back within a run."""
    at = _env.now()
    return at.seconds + at.nanoseconds / 1e9


def random(length):
    """That many random bytes, at most 65,536."""
    return bytes(_call(_env.random, int(length)))


def setting(name, default=None):
    """A setting given when the run was started (``--set name=value``)."""
    value = _env.setting(_text(name, "a setting's name"))
    return default if value is None else value


def log(message, level="info"):
    """Writes a line into the run's log. Levels: debug, info, warn, error."""
    _env.log(_env.Level[level.upper()], str(message))


def emit(text):
    """Shows text to whoever started the run, at once."""
    _call(_output.emit, _text(text, "what is emitted"))


# Models


def models():
    """The names of the models this run may use, the default one first."""
    return _inference.models()


def embed(texts, model=""):
    """One vector of unit length for each text, in order; at most 256 texts. Without a name, of the default embedding model."""
    return _call(_inference.embed, _text(model, "a model's name"), [_text(text, "a text") for text in texts])


@_dataclass
class Answer:
    """What a finished generation gave."""

    text: str
    tool_calls: list
    finish: str
    usage: object
    receipt: object

    def json(self):
        """The text, parsed as JSON."""
        try:
            return _parse(self.text)
        except ValueError as error:
            cut = " (it was cut at the token limit)" if self.finish == "length" else ""
            raise Error("failed", f"the model's answer is not the JSON that was asked for: {error}{cut}") from None


class Generation:
    """A running generation: iterate over it for `Text`, `ToolCall` and, last, `Done`. Leaving its block cancels it."""

    def __init__(self, handle):
        self._handle = handle

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return self._handle.__exit__(*exception)

    def __iter__(self):
        while (event := _call(self._handle.next)) is not None:
            yield event.value if isinstance(event, _inference.Event_ToolCall) else event
            if isinstance(event, Done):
                return

    def cancel(self):
        """Stops it. What was generated so far is still pulled, and still has a receipt."""
        self._handle.cancel()

    def receipt(self):
        """The receipt, once `Done` was pulled."""
        return _call(self._handle.receipt)

    def finish(self, on_text=None):
        """Pulls it to the end and gives its `Answer`."""
        pieces, calls = [], []
        for event in self:
            if isinstance(event, Done):
                finish = event.value.finish.name.lower().replace("_", "-")
                return Answer("".join(pieces), calls, finish, event.value.usage, self.receipt())
            if isinstance(event, Text):
                if on_text is not None:
                    on_text(event.value)
                pieces.append(event.value)
            else:
                calls.append(event)
        raise Error("failed", "the generation ended without saying why")


class Chat:
    """A request to a model, being described; its last method runs it. See `chat`."""

    def __init__(self):
        self._model = ""
        self._messages = []
        self._tools = []
        self._response = _inference.ResponseFormat_Text()
        self._sampling = _inference.Sampling(
            temperature=0.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, repeat_last_n=64,
            max_tokens=DEFAULT_MAX_TOKENS, stop=[],
        )
        self._lane = _inference.Lane.EXACT
        self._emit = False

    def system(self, text):
        """What the model is told before the conversation."""
        place = 0
        while place < len(self._messages) and self._messages[place].role == _types.Role.SYSTEM:
            place += 1
        self._messages.insert(place, _message("system", text))
        return self

    def message(self, role, text):
        """Adds a message at the end. Roles: system, user, assistant, tool."""
        self._messages.append(_message(role, text))
        return self

    def model(self, name):
        """The model's name. Without it, the run's default model."""
        self._model = _text(name, "a model's name")
        return self

    def tool(self, spec):
        """Lets the model ask for this tool, one of those that `tools` lists."""
        self._tools.append(spec)
        return self

    def tools(self, specs):
        """Lets the model ask for these tools."""
        self._tools.extend(specs)
        return self

    def json_schema(self, schema):
        """The answer will be JSON that this JSON Schema (a dict or JSON text) describes."""
        text = schema if isinstance(schema, str) else _json.dumps(schema)
        self._response = _inference.ResponseFormat_JsonSchema(text)
        return self

    def gbnf(self, grammar):
        """The answer will match this llama.cpp GBNF grammar, whose start rule is ``root``."""
        self._response = _inference.ResponseFormat_Gbnf(_text(grammar, "a grammar"))
        return self

    def sampling(self, **values):
        """How tokens are chosen: temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n.

        The default temperature is 0, which takes the likeliest token. There is no seed.
        """
        for name, value in values.items():
            kind = {"temperature": float, "top_p": float, "min_p": float, "repeat_penalty": float,
                    "top_k": int, "repeat_last_n": int}.get(name)
            if kind is None:
                raise TypeError(f"sampling has no {name}")
            setattr(self._sampling, name, kind(value))
        return self

    def max_tokens(self, tokens):
        """The answer's greatest length."""
        self._sampling.max_tokens = int(tokens)
        return self

    def stop(self, text):
        """The answer ends before this text. At most 16."""
        self._sampling.stop.append(_text(text, "a stop text"))
        return self

    def lane(self, name):
        """How the request is scheduled: exact (the default) or throughput."""
        self._lane = _inference.Lane[name.upper()]
        return self

    def emit(self):
        """Also shows the text, as it comes, to whoever started the run."""
        self._emit = True
        return self

    def start(self):
        """Starts the generation. Several may run at once: start all, then iterate over each."""
        return self._start(self._messages, self._tools)

    def send(self):
        """Runs to the end and gives the `Answer`."""
        return self._turn(self._messages, self._tools)

    def stream(self, on_text):
        """Runs to the end and hands over each piece of text as it comes."""
        return self._turn(self._messages, self._tools, on_text)

    def json(self):
        """Runs to the end and parses the answer; use it after `json_schema`."""
        return self.send().json()

    def run_with_tools(self, rounds):
        """Runs, calls the tools the model asks for, and runs again, until the model answers.

        At most ``rounds`` times with tools, then once more without, so that there always is an answer. What a tool
        answers, including that it could not, is told to the model; a call that was not granted is the agent's error.
        """
        return self.run_with(rounds, lambda call: call_tool(call.name, call.arguments_json))

    def run_with(self, rounds, call):
        """As `run_with_tools`, with ``call`` in place of the run's tools."""
        messages, earlier = list(self._messages), {}
        for _ in range(rounds):
            answer = self._turn(messages, self._tools)
            if not answer.tool_calls:
                return answer
            messages.append(_types.Message(_types.Role.ASSISTANT, answer.text, answer.tool_calls, None))
            repeated = True
            for tool_call in answer.tool_calls:
                asked = (tool_call.name, tool_call.arguments_json)
                if asked not in earlier:
                    repeated = False
                    try:
                        earlier[asked] = _text(call(tool_call), "a tool's answer")
                    except Error as error:
                        if not error.is_for_the_model:
                            raise
                        earlier[asked] = f"error: {error.message}"
                messages.append(_types.Message(_types.Role.TOOL, earlier[asked], [], tool_call.id))
            if repeated:  # A model that only repeats itself has all the answers it will get.
                break
        return self._turn(messages, [])

    def _start(self, messages, tools):
        request = _inference.ChatRequest(
            self._model, list(messages), list(tools), self._response, self._sampling, self._lane
        )
        return Generation(_call(_inference.chat, request))

    def _turn(self, messages, tools, on_text=None):
        def shown(piece):
            if self._emit:
                emit(piece)
            if on_text is not None:
                on_text(piece)

        with self._start(messages, tools) as generation:
            return generation.finish(shown)


def chat(user=""):
    """Starts a request whose last message is from the user. Without a text, add messages yourself."""
    return Chat().message("user", user) if user else Chat()


def _message(role, text):
    return _types.Message(_types.Role[role.upper()], _text(text, "a message"), [], None)


# Tools


def tools():
    """The tools this run may call, each with name, description and parameters_schema."""
    return _call(_tools.list)


def call_tool(name, arguments):
    """Calls a tool. The arguments are a dict or JSON text."""
    text = arguments if isinstance(arguments, str) else _json.dumps(arguments)
    return _call(_tools.call, _text(name, "a tool's name"), text)


# The records of the person's encrypted vault, as far as they were shared with this agent


def namespaces():
    """The namespaces that may be used: name -> "read", "append" or "curate"."""
    return {one.name: one.access.name.lower() for one in _call(_vault.namespaces)}


def namespace(name):
    """The namespace of that name. Nothing is asked of the host yet."""
    return Namespace(_text(name, "a namespace's name"))


@_dataclass
class Item:
    """One current version of a record. `content` is bytes; `text` reads it as UTF-8."""

    id: str
    lineage: str
    type: str
    content: bytes
    author: str
    written: float
    run: object
    receipt: object
    conflicts: list

    @property
    def text(self):
        return self.content.decode()


class Namespace:
    """A part of the vault. Records are never changed: a version is written in place of others, or one is hidden."""

    def __init__(self, name):
        self.name = name

    def add(self, content, type="text/plain", receipt=None):
        """Adds one record, durably, and gives its id."""
        return _call(_vault.append, self.name, [_draft(content, type, receipt)])[0]

    def append(self, contents, type="text/plain"):
        """Adds records, all or none, and gives their ids."""
        return _call(_vault.append, self.name, [_draft(content, type, None) for content in contents])

    def supersede(self, targets, content, type="text/plain", receipt=None):
        """Writes a version in place of others. Those of other authors need "curate"."""
        return _call(_vault.supersede, self.name, list(targets), _draft(content, type, receipt))

    def retract(self, targets, reason=""):
        """Hides versions; they stay in the vault's history."""
        return _call(_vault.retract, self.name, list(targets), _text(reason, "a reason"))

    def get(self, id):
        """One current version, by its own id or its lineage; None if there is none."""
        item = _call(_vault.get, self.name, _text(id, "a record's id"))
        return None if item is None else _item(item)

    def items(self, type_prefix=""):
        """Current records whose type begins so, the oldest first."""
        after = None
        while True:
            page = _call(_vault.list, self.name, _text(type_prefix, "a type"), after, 256)
            yield from map(_item, page.items)
            after = page.next
            if after is None:
                return


def _draft(content, type, receipt):
    content = content.encode() if isinstance(content, str) else bytes(content)
    return _vault.Draft(_text(type, "a type"), content, receipt)


def _item(item):
    written = item.written.seconds + item.written.nanoseconds / 1e9
    return Item(item.id, item.lineage, item.type, bytes(item.content), item.author, written, item.run, item.receipt, list(item.conflicts))


# The person's long-term memory, as far as it was shared with this agent


def memory(namespace="memory"):
    """The memory in the namespace of that name. Nothing is asked of the host yet."""
    return Memory(_text(namespace, "a namespace's name"))


def turn(text, voice="user", speaker=None, at=None, thread="", key=None):
    """Something that was said, or read. Voices: user, person, assistant, tool, document.

    A turn of the user is the text of the run's input, whole: an agent quotes the person and does not speak for them. ``at``
    is a moment in RFC 3339.
    """
    for value, what in ((speaker, "a speaker"), (at, "a moment"), (key, "a key")):
        if value is not None:
            _text(value, what)
    return _memory.Turn(_memory.Voice[voice.upper()], speaker, at, _text(thread, "a thread"), key, _text(text, "a turn"))


class Memory:
    """A memory of the person: what was said, what was learnt from it, and when it holds.

    What it gives are the records of ``wit/memory.wit``, with words in place of enumerations (``hit.layer == "fact"``).
    """

    def __init__(self, namespace):
        self.namespace = namespace

    def remember(self, turns):
        """Takes in turns (see `turn`), durably. Those that are known already add nothing."""
        return _plain(_call(_memory.remember, self.namespace, list(turns)))

    def recall(self, text, as_of=None, everything=False, hits=0, tokens=0, only=None, categories=(), apps=(), threads=(),
               speakers=()):
        """Answers a question: ``hits``, the best first, and ``context``, all of them as a text for a model.

        About what holds now, or held ``as_of`` a moment (RFC 3339), or ``everything``. ``only`` is "episode" or "fact". Where
        ``abstain`` is true it is better to say "I do not know".
        """
        if everything:
            state = _memory.State_Everything()
        else:
            state = _memory.State_Current() if as_of is None else _memory.State_AsOf(_text(as_of, "a moment"))
        layer = None if only is None else _memory.Layer[only.upper()]
        lists = [[_text(name, "a name") for name in names] for names in (categories, apps, threads, speakers)]
        question = _memory.Question(_text(text, "a question"), state, int(hits), int(tokens), layer, *lists)
        return _plain(_call(_memory.recall, self.namespace, question))

    def profile(self):
        """Who the person is, by what they said: ``bio`` and ``lines``."""
        return _plain(_call(_memory.profile, self.namespace))

    def correct(self, id, text, why=""):
        """Puts the text of the run's input in the place of a fact, or "", which says that it is wrong. Gives an id."""
        return _call(_memory.correct, self.namespace, _text(id, "an id"), _text(text, "a correction"), _text(why, "a reason"))

    def forget(self, ids, reason=""):
        """Destroys memories and what is derived from them."""
        ids = [_text(id, "an id") for id in ids]
        return _plain(_call(_memory.forget, self.namespace, ids, _text(reason, "a reason")))


def _plain(value):
    """What the host gave, with words in place of enumerations."""
    if isinstance(value, _Enum):
        return value.name.lower().replace("_", "-")
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if _is_dataclass(value):
        return _SimpleNamespace(**{field.name: _plain(getattr(value, field.name)) for field in _fields(value)})
    return value


# What a component exports


@_dataclass
class Reply:
    """An agent's reply: a text, and a JSON value for programs if there is one."""

    text: str
    data: object = None


def agent(handle):
    """Makes a function of ``app.py`` the agent of this component.

    It takes an input with ``text`` and ``attachments`` (each with name, media_type and text) and returns a `Reply` or
    a str.
    """

    class Handler:
        def handle(self, input):
            return _guarded(lambda: _reply(handle(input)))

    handle.__globals__["Handler"] = Handler
    return handle


def tool(name, description, parameters_schema):
    """Makes a function of ``app.py`` a tool of this component: it takes the arguments as a dict and returns a str."""

    def register(function):
        module = function.__globals__
        known = module.setdefault("_tally_tools", {})
        if name in known:
            raise ValueError(f"there are two tools named {name}")
        schema = parameters_schema if isinstance(parameters_schema, str) else _json.dumps(parameters_schema)
        known[name] = (_types.ToolSpec(name, description, schema), function)

        class Tools:
            def list(self):
                return [spec for spec, _ in known.values()]

            def call(self, name, arguments_json):
                return _guarded(lambda: _dispatch(known, name, arguments_json))

        module["Tools"] = Tools
        return function

    return register


def _dispatch(known, name, arguments_json):
    if name not in known:
        raise Error("invalid", f"there is no tool of this name; there are: {', '.join(known)}")
    if len(arguments_json) > MAX_ARGUMENT_BYTES:
        raise Error("invalid", f"arguments longer than the {MAX_ARGUMENT_BYTES} bytes a tool reads")
    try:
        arguments = _parse(arguments_json)
    except ValueError as error:
        raise Error("invalid", f"arguments of {name}: {error}") from None
    if not isinstance(arguments, dict):
        raise Error("invalid", f"arguments of {name}: not a JSON object")
    return _text(known[name][1](arguments), "a tool's answer")


def _reply(value):
    if isinstance(value, str):
        value = Reply(value)
    if not isinstance(value, Reply):
        raise TypeError(f"an agent returns a Reply or a str, not {type(value).__name__}")
    data = None if value.data is None else _json.dumps(value.data, ensure_ascii=False)
    return _handler.Reply(_text(value.text, "a reply's text"), data)


def _guarded(function):
    try:
        return function()
    except Error as error:
        raise _Err(_to_wit(error)) from None
    except BaseException as error:  # SystemExit too: there is no process to exit.
        log(f"{type(error).__name__}: {error}{_places(error)}", "error")
        raise _Err(_types.Error_Failed(f"{type(error).__name__}: {error}")) from None


def _parse(text):
    # Python's parser follows nesting with the stack, and a stack that is used up ends the run.
    depth = 0
    for bracket in _re.findall(r"[\[\]{}]", _re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise ValueError(f"nested deeper than {MAX_JSON_DEPTH}")
    return _json.loads(text)


def _places(error):
    # Python's own traceback module looks for the source files, and looking for files ends a run that has none.
    lines, at = [], error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        lines.append(f"\n  {code.co_filename.rpartition('/')[2]}:{at.tb_lineno} in {code.co_name}")
        at = at.tb_next
    return "".join(lines)
