"""Makes a plan of a list: works out each item with a tool, adds up, and holds it against the budget.

The model turns an item's words into a tool call; the tool works it out; code checks the call against the item (every
number in it must be in the item's words), does the calls that the model could not, adds up, and writes the plan. No
number in the plan comes from the model.
"""

import json
import re

from tally_agent import Error, Reply, agent, call_tool, chat, emit, log, tools

MAX_ITEMS = 30
WORDS = {word: str(number) for number, word in enumerate(
    "zero one two three four five six seven eight nine ten eleven twelve".split())}
NUMBER = re.compile(r"\d+(?:\.\d+)?")
EXPRESSION = re.compile(r"[\d(][\d\s.()+*/×÷^%-]*[\d)%]")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
BUDGET = re.compile(r"^\W*budget\b\D*(\d+(?:\.\d+)?)\s*(\S*)", re.IGNORECASE)
ITEM = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+(.*\S)")


@agent
def handle(input):
    title, items, budget, currency = read(input.text)
    if not items:
        raise Error("invalid", "list what to plan, one item on each line that begins with '-', and 'Budget: 400'")
    known = tools()
    if not any(tool.name == "calculate" for tool in known):
        raise Error("unavailable", "the tool 'calculate': add --tool text-tools.wasm")

    steps = [work_out(item, known) for item in items]
    lines = [title]
    for number, step in enumerate(steps, 1):
        lines.append(f"{number}. {step['item']}: {step['result'] or 'not worked out'}")
    amounts = [step["amount"] for step in steps if step["amount"]]
    total, left = None, None
    if amounts:
        total = call_tool("calculate", {"expression": f"sum({', '.join(amounts)})"})
        lines.append(f"Total: {total} {currency}".rstrip())
    if total and budget:
        left = call_tool("calculate", {"expression": f"{budget} - {total}"})
        over = left.startswith("-")
        lines.append(f"Over the budget of {budget} by {left.removeprefix('-')}" if over else f"Left of {budget}: {left}")
    text = "\n".join(line for line in lines if line)
    emit(text + "\n")
    return Reply(text, {"steps": steps, "total": total, "budget": budget, "left": left})


def read(text):
    """Title, items, budget and its currency."""
    title, items, budget, currency = "", [], None, ""
    for line in text.splitlines():
        if found := BUDGET.match(line):
            budget, currency = found.groups()
        elif found := ITEM.match(line):
            items.append(found[1])
        elif line.strip() and not title and not items:
            title = line.strip()
    return title, items[:MAX_ITEMS], budget, currency


def work_out(item, known):
    """One step of the plan: what the model asked for if it holds, else what code finds in the words."""
    step = {"item": item, "by": None, "tool": None, "arguments": None, "result": None, "amount": None, "receipt": None}
    try:
        answer = chat(item).system("You can call tools.").tools(known).max_tokens(120).send()
        step["receipt"] = answer.receipt.digest
        for call in answer.tool_calls:
            if invented := numbers(call.arguments_json) - numbers(item) - {"0"}:
                log(f"{item!r}: the model asked for {call.arguments_json}, but {sorted(invented)} is not in it", "warn")
            elif done(step, "model", call.name, call.arguments_json):
                return step
    except Error as error:
        if not error.is_for_the_model:
            raise
        log(f"{item!r}: the model gave no call: {error}", "warn")
    dates, expression = DATE.findall(item), EXPRESSION.search(DATE.sub("", item))
    if len(dates) == 2:
        done(step, "code", "days_between", json.dumps({"from": dates[0], "to": dates[1]}))
    elif not dates and expression:
        done(step, "code", "calculate", json.dumps({"expression": expression[0]}))
    return step


def done(step, by, tool, arguments):
    """Calls the tool and notes the result; False when it could not."""
    try:
        result = call_tool(tool, arguments)
    except Error as error:
        if not error.is_for_the_model:
            raise
        log(f"{tool}({arguments}): {error}", "warn")
        return False
    amount = result if tool == "calculate" and NUMBER.fullmatch(result.removeprefix("-")) else None
    step.update(by=by, tool=tool, arguments=json.loads(arguments), result=result, amount=amount)
    return True


def numbers(text):
    """The numbers in a text, written in digits or, up to twelve, in words."""
    digits = {f"{float(number):.10g}" for number in NUMBER.findall(text)}
    return digits | {WORDS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in WORDS}
