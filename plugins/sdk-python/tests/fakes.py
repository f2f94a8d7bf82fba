"""Stands in for the modules that componentize-py generates, with the names and fields that it gives them.

`install` puts them where `import` finds them. A test sets what the host does through the functions of the modules.
"""

import sys
from dataclasses import dataclass, make_dataclass
from enum import Enum
from types import ModuleType


@dataclass(frozen=True)
class Err(Exception):
    value: object


def _record(name, *fields):
    return make_dataclass(name, fields)


def _module(name, **contents):
    module = ModuleType(name)
    module.__dict__.update(contents)
    sys.modules[name] = module
    return module


def _none(name):
    def function(*_):
        raise AssertionError(f"the test did not expect a call of {name}")

    return function


def install():
    _module("componentize_py_types", Err=Err)
    _module("wit_world")
    imports = _module("wit_world.imports")
    exports = _module("wit_world.exports")
    imports.types = _module(
        "wit_world.imports.types",
        Role=Enum("Role", "SYSTEM USER ASSISTANT TOOL"),
        ResourceKind=Enum("ResourceKind", "TOKENS OUTPUT_BYTES HANDLES REQUEST_BYTES CALLS WALL_TIME"),
        ToolCall=_record("ToolCall", "id", "name", "arguments_json"),
        ToolSpec=_record("ToolSpec", "name", "description", "parameters_schema"),
        Message=_record("Message", "role", "content", "tool_calls", "tool_call_id"),
        Error_Cancelled=_record("Error_Cancelled"),
        **{f"Error_{kind}": _record(f"Error_{kind}", "value")
           for kind in ("Denied", "Invalid", "Exhausted", "Unavailable", "Failed")},
    )
    imports.inference = _module(
        "wit_world.imports.inference",
        Lane=Enum("Lane", "EXACT THROUGHPUT"),
        FinishReason=Enum("FinishReason", "STOP STOP_STRING LENGTH TOOL_CALLS CANCELLED"),
        ResponseFormat_Text=_record("ResponseFormat_Text"),
        ResponseFormat_JsonSchema=_record("ResponseFormat_JsonSchema", "value"),
        ResponseFormat_Gbnf=_record("ResponseFormat_Gbnf", "value"),
        Sampling=_record("Sampling", "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n",
                         "max_tokens", "stop"),
        ChatRequest=_record("ChatRequest", "model", "messages", "tools", "response", "sampling", "lane"),
        Completion=_record("Completion", "finish", "usage"),
        Event_Text=_record("Event_Text", "value"),
        Event_ToolCall=_record("Event_ToolCall", "value"),
        Event_Done=_record("Event_Done", "value"),
        chat=_none("chat"), embed=_none("embed"), models=_none("models"),
    )
    imports.env = _module(
        "wit_world.imports.env",
        Level=Enum("Level", "DEBUG INFO WARN ERROR"),
        Datetime=_record("Datetime", "seconds", "nanoseconds"),
        now=_none("now"), random=_none("random"), setting=_none("setting"), log=_none("log"),
    )
    imports.output = _module("wit_world.imports.output", emit=_none("emit"))
    imports.tools = _module("wit_world.imports.tools", list=_none("list"), call=_none("call"))
    imports.vault = _module(
        "wit_world.imports.vault",
        Access=Enum("Access", "READ APPEND CURATE"),
        Namespace=_record("Namespace", "name", "access"),
        Draft=_record("Draft", "type", "content", "receipt"),
        Item=_record("Item", "id", "lineage", "type", "content", "author", "written", "run", "receipt", "conflicts"),
        Page=_record("Page", "items", "next"),
        namespaces=_none("namespaces"), list=_none("list"), get=_none("get"), append=_none("append"),
        supersede=_none("supersede"), retract=_none("retract"),
    )
    imports.memory = _module(
        "wit_world.imports.memory",
        Voice=Enum("Voice", "USER PERSON ASSISTANT TOOL DOCUMENT"),
        Layer=Enum("Layer", "EPISODE FACT"),
        Part=Enum("Part", "LASTING RECENT OTHER"),
        State_Current=_record("State_Current"),
        State_AsOf=_record("State_AsOf", "value"),
        State_Everything=_record("State_Everything"),
        Turn=_record("Turn", "voice", "speaker", "at", "thread", "key", "text"),
        Remembered=_record("Remembered", "ids", "known", "forgotten", "empty", "secrets"),
        Question=_record("Question", "text", "state", "hits", "tokens", "only", "categories", "apps", "threads", "speakers"),
        Cited=_record("Cited", "episode", "words", "speaker", "said_at", "app"),
        Source=_record("Source", "app", "thread", "operation", "author", "run", "receipt"),
        Hit=_record("Hit", "id", "layer", "corrected", "text", "speaker", "voice", "said_at", "begins", "ends", "categories",
                    "confidence", "evidence", "source", "score", "tokens"),
        Recalled=_record("Recalled", "context", "hits", "tokens", "abstain"),
        ProfileLine=_record("ProfileLine", "id", "part", "subject", "text", "categories", "said_by", "said_at", "begins",
                            "planned", "times", "confidence", "evidence"),
        Portrait=_record("Portrait", "bio", "lines"),
        Forgotten=_record("Forgotten", "ids", "unproved", "remains"),
        remember=_none("remember"), recall=_none("recall"), profile=_none("profile"), correct=_none("correct"),
        forget=_none("forget"),
    )
    exports.handler = _module("wit_world.exports.handler", Reply=_record("Reply", "text", "data_json"))
    return imports
