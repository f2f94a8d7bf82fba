"""Scores a GGUF of tally-nano through llama.cpp, greedily.

    python evaluate.py MODEL.gguf MODEL_CHECK [--count N] [--failures FILE] [--json FILE] [--bars]

--json writes all figures with the BLAKE3 of the model, the seeds and counts, and a digest of the very cases, so that figures of other sets or of
another model are known by it. --bars exits 1 where a bar of the card (`bars.py`) is missed, and names it.

Sets: held-out words, held-out shapes and both, drawn from the generator, and the turns written by hand in this folder.

| task | output constrained by | counted as right |
|---|---|---|
| extract | the JSON schema of FORMAT.md | a fact: subject, kind and category equal, and the words of its basis agree with F1 of at least 0.7; F1 is over all facts of a set. `exact` is the share of turns whose facts are all exactly as expected |
| answer | nothing | the answer without its source number equals an expected one, ignoring case and a final stop; `cited`: and the source number too |
| tool | nothing (`free`), or the schema of a forced call of one of the tools (`forced`) | valid: JSON, a tool of the list, all its arguments and no others; right: name and arguments as expected, ignoring case |
| form, toolresult | the form's schema; nothing | the answer equals the expected one |
| talk | nothing | by hand: one of the expected words occurs; generated: one of the replies |
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import bars
import corpus
import quote
import smalltalk
import tokens

CATEGORIES = ["identity", "career", "interests", "relationships", "health", "finance", "learning", "travel", "productivity", "private"]
STRING = {"type": "string"}
FACTS = {
    "type": "object", "required": ["facts"], "additionalProperties": False,
    "properties": {"facts": {"type": "array", "maxItems": 8, "items": {
        "type": "object", "required": ["basis", "category", "kind", "subject"], "additionalProperties": False,
        "properties": {"basis": STRING, "category": {"enum": CATEGORIES}, "kind": {"enum": ["semantic", "episodic"]}, "subject": STRING}}}},
}


def call_schema(tools):
    """The schema that the runtime makes for a forced call."""
    calls = [{"type": "object", "properties": {"name": {"const": t["name"]}, "arguments": {**t["parameters"], "additionalProperties": False}}, "required": ["name", "arguments"], "additionalProperties": False} for t in tools]
    return calls[0] if len(calls) == 1 else {"anyOf": calls}


# Reading what was written by hand


def blocks(name):
    text = "\n".join(line for line in (HERE / name).read_text().splitlines() if not line.startswith("#"))
    return [b.split("\n") for b in re.split(r"\n\s*\n", text.strip())]


def by_hand():
    out = []
    for lines in blocks("extract.txt"):
        gold = []
        for line in lines:
            if line.startswith("> "):
                category, kind, subject, basis = line[2:].split(" | ")
                assert category in CATEGORIES and kind in ("semantic", "episodic"), line
                gold.append({"basis": basis, "category": category, "kind": kind, "subject": subject})
        said = "\n".join(line for line in lines if not line.startswith("> "))
        assert all(g["basis"] in said for g in gold), said
        out.append({"task": "extract", "messages": [("system", corpus.EXTRACT_SYSTEM), ("user", said)], "gold": gold})
    for lines in blocks("answer.txt"):
        assert lines[-1].startswith("= "), lines
        out.append({"task": "answer", "messages": [("system", corpus.ANSWER_SYSTEM), ("user", "Context:\n" + "\n".join(line.rstrip() for line in lines[:-1]))], "gold": lines[-1][2:].split(" / ")})
    for lines in blocks("tool.txt"):
        tools = []
        for line in lines[:-2]:
            name, arguments, description = re.fullmatch(r"- (\w+)\((.*)\): (.*)", line).groups()
            props = {}
            for a in filter(None, arguments.split(", ")):
                key, _, kind = a.partition(": ")
                props[key] = {"type": kind or "string"}
            tools.append({"name": name, "description": description, "parameters": {"type": "object", "properties": props, "required": list(props)}})
        name, arguments = lines[-1][2:].split(" ", 1)
        out.append({"task": "tool", "tools": tools, "messages": [("user", lines[-2].removeprefix("User: "))], "gold": {"name": name, "arguments": json.loads(arguments)}})
    for said, reply in blocks("talk.txt"):
        out.append({"task": "talk", "messages": [("system", corpus.CHAT_SYSTEM), ("user", said)], "gold": reply[2:].split(" / "), "hand": True})
    return out


# Scoring


def words(text):
    return re.findall(r"\w+", text.lower())


def overlap(a, b):
    a, b = collections.Counter(words(a)), collections.Counter(words(b))
    same = sum((a & b).values())
    return 2 * same / max(1, sum(a.values()) + sum(b.values()))


def plain(text):
    return " ".join(text.lower().split()).rstrip(".")


def split_source(text):
    m = re.fullmatch(r"(.*?)\s*\[(\d+)\]\.?", text.strip(), re.S)
    return (plain(m.group(1)), m.group(2)) if m else (plain(text), None)


def lower(value):
    if isinstance(value, dict):
        return {k: lower(v) for k, v in value.items()}
    return value.lower() if isinstance(value, str) else value


class Score:
    """Adds up counts; `report` turns them into the figures of the card."""

    def __init__(self):
        self.c = collections.Counter()

    def extract(self, s, text):
        c = self.c
        c["turns"] += 1
        try:
            found = json.loads(text)["facts"]
        except (ValueError, KeyError, TypeError):
            found = []
            c["invalid"] += 1
        left = list(s["gold"])
        c["found"] += len(found)
        c["wanted"] += len(left)
        c["exact"] += found == left
        good = True
        for f in found:
            same = [g for g in left if overlap(f["basis"], g["basis"]) >= 0.7]
            if same:
                c["span"] += 1
                full = [g for g in same if all(lower(f[k]) == lower(g[k]) for k in ("subject", "kind", "category"))]
                c["right"] += bool(full)
                good &= bool(full)
                for k in ("subject", "kind", "category"):
                    c[k] += lower(f[k]) == lower(same[0][k])
                left.remove((full or same)[0])
            else:
                good = False
        return good and not left

    def answer(self, s, text):
        c = self.c
        golds = s["gold"] if isinstance(s["gold"], list) else [s["gold"]]
        got, source = split_source(text)
        right = any(got == split_source(g)[0] for g in golds)
        c["n"] += 1
        c["right"] += right
        c["cited"] += any((got, source) == split_source(g) for g in golds)
        c["f1"] += max(overlap(got, split_source(g)[0]) for g in golds)
        unknown = split_source(golds[0])[0] == plain(corpus.DONT_KNOW)
        c["unknown"] += unknown
        c["unknown_right"] += unknown and right
        return right

    def tool(self, s, text, how):
        c = self.c
        c[how] += 1
        body = text.strip()
        if how == "free":
            m = re.fullmatch(r"<tool_call>(.*)</tool_call>", body, re.S)
            body = m.group(1) if m else "not a call"
        try:
            call = json.loads(body)
            props = next(t for t in s["tools"] if t["name"] == call["name"])["parameters"]["properties"]
            valid = all(k in props for k in call["arguments"]) and all(k in call["arguments"] for k in next(t for t in s["tools"] if t["name"] == call["name"])["parameters"].get("required", []))
        except (ValueError, KeyError, TypeError, StopIteration):
            call, valid = None, False
        right = valid and lower(call["arguments"]) == lower(s["gold"]["arguments"]) and call["name"] == s["gold"]["name"]
        c[how + "_valid"] += valid
        c[how + "_right"] += right
        c[how + "_name"] += valid and call["name"] == s["gold"]["name"]
        return right

    def equal(self, s, text):
        gold = s["gold"]
        if isinstance(gold, dict):
            try:
                right = json.loads(text) == gold
            except ValueError:
                right = False
        elif s.get("hand"):
            right = any(g in text.lower() for g in gold)
        elif s["task"] == "talk":
            right = text == gold or any(gold in r and text in r for _, r in smalltalk.TALK)
        else:
            right = plain(text) == plain(gold)
        self.c["n"] += 1
        self.c["right"] += right
        return right

    def report(self):
        c, out = self.c, {}
        share = lambda a, b: round(c[a] / c[b], 3) if c[b] else None
        if c["turns"]:
            p, r = (c["right"] / max(1, c["found"]), c["right"] / max(1, c["wanted"]))
            ps, rs = (c["span"] / max(1, c["found"]), c["span"] / max(1, c["wanted"]))
            out = {"turns": c["turns"], "facts": c["wanted"], "f1": round(2 * p * r / max(1e-9, p + r), 3), "precision": round(p, 3), "recall": round(r, 3), "span_f1": round(2 * ps * rs / max(1e-9, ps + rs), 3),
                   "exact": share("exact", "turns"), "of_matched": {k: share(k, "span") for k in ("subject", "kind", "category")}, "invalid_json": c["invalid"]}
        elif c["free"]:
            out = {"n": c["free"], **{f"{how}_{k}": share(f"{how}_{k}", how) for how in ("free", "forced") for k in ("valid", "name", "right")}}
        elif c["n"]:
            out = {"n": c["n"], "exact": share("right", "n")}
            if "f1" in c:
                out |= {"cited": share("cited", "n"), "f1": share("f1", "n"), "unknown_exact": share("unknown_right", "unknown"), "unknown": c["unknown"]}
        return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("tool")
    p.add_argument("--count", type=int, default=150, help="samples of each generated set and task")
    p.add_argument("--tasks", default="extract,whole,answer,tool,form,talk")
    p.add_argument("--splits", default="hand,words,shapes,both")
    p.add_argument("--failures")
    p.add_argument("--json")
    p.add_argument("--bars", action="store_true", help="exit 1 when a bar is missed")
    a = p.parse_args()
    if a.json:
        import blake3  # of models/requirements.txt; better missed now than after an hour
    splits, tasks = a.splits.split(","), a.tasks.split(",")
    cases = [("hand", s) for s in by_hand() if s["task"] in tasks] if "hand" in splits else []
    for split in [s for s in splits if s != "hand"]:
        for task in tasks:
            g = corpus.Generator(f"evaluate/{task}", split)
            for _ in range(a.count if task in ("extract", "whole", "answer", "tool") else a.count // 3):
                cases.append((split, getattr(g, task)() | ({"task": "whole"} if task == "whole" else {})))
    requests, what = [], []
    for where, s in cases:
        task, prompt = s["task"], tokens.render(s["messages"], s.get("tools"))
        ways = [("free", None)]
        if task in ("extract", "whole"):
            ways = [("", FACTS), ("quoted", quote.facts(s["messages"][-1][1]))]
        elif task == "answer":
            ways = [("", None), ("quoted", quote.answer(s["messages"][-1][1]))]
        elif task == "form":
            ways = [("", {"type": "object", "properties": {k: STRING for k in json.loads(s["target"])}, "required": list(json.loads(s["target"])), "additionalProperties": False})]
        elif task == "tool":
            ways = [("free", None), ("forced", call_schema(s["tools"]))]
        for how, schema in ways:
            grammar = {"grammar": schema} if isinstance(schema, str) else {"schema": json.dumps(schema)} if schema else {}
            requests.append({"op": "generate", "prompt": prompt, "max": 400, **grammar})
            what.append((where, s, how))
    done = subprocess.run([a.tool, a.model], input="".join(json.dumps(r) + "\n" for r in requests), stdout=subprocess.PIPE, text=True, check=True)
    answers = done.stdout.splitlines()
    if len(answers) != len(requests):
        raise SystemExit(f"{a.tool} answers {len(answers)} of {len(requests)} requests")
    scores, failures = collections.defaultdict(Score), []
    for (where, s, how), line in zip(what, answers):
        text, task = json.loads(line)["text"], s["task"]
        score = scores[where, f"{task} {how}" if how == "quoted" else task]
        if task in ("extract", "whole"):
            right = score.extract(s, text)
        elif task == "answer":
            right = score.answer(s, text)
        elif task == "tool":
            right = score.tool(s, text, how)
        else:
            right = score.equal(s, text)
        if not right:
            failures.append({"set": where, "task": task, "how": how, "prompt": s["messages"][-1][1], "gold": s["gold"], "got": text})
    report = {f"{where}/{task}": score.report() for (where, task), score in scores.items()}
    for name, figures in report.items():
        print(name, json.dumps(figures))
    if a.json:
        digest = lambda data: blake3.blake3(data).hexdigest()
        asked = "\n".join(json.dumps([where, s["task"], how, request, s["gold"]], sort_keys=True) for (where, s, how), request in zip(what, requests))
        counts = collections.Counter(f"{where}/{s['task']}" for where, s in cases)
        said = {"model": {"blake3": digest(pathlib.Path(a.model).read_bytes())},
                "sets": {"seed": "evaluate/TASK", "count": a.count, "tasks": a.tasks, "splits": a.splits, "cases": counts, "blake3": digest(asked.encode())},
                "figures": report}
        pathlib.Path(a.json).write_text(json.dumps(said, indent=1) + "\n")
    if a.failures:
        pathlib.Path(a.failures).write_text("".join(json.dumps(f, ensure_ascii=False) + "\n" for f in failures))
    if a.bars:
        below = bars.missed(report, splits, tasks)
        for line in below:
            print(f"missed: {line}", file=sys.stderr)
        sys.exit(1 if below else 0)


if __name__ == "__main__":
    main()
