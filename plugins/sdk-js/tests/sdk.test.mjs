import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { TallyError, agent, callTool, chat, embed, emit, memory, namespace, now, random, setting, turn } from "../tally-agent.js";
import { parseJson } from "../common.js";
import { plugin } from "../tally-plugin.js";

const usage = { promptTokens: 3, cachedTokens: 0, completionTokens: 2 };
const done = (finish = "stop") => ({ tag: "done", val: { finish, usage } });
const refusal = (tag, val) => Object.assign(new Error("refused"), { payload: { tag, val } });
const asks = (name, args, id = "c0") => [{ tag: "tool-call", val: { id, name, argumentsJson: args } }, done("tool-calls")];
const says = (text) => [{ tag: "text", val: text }, done()];

let requests, released, shown, logged;

function answering(...turns) {
  host.inference.chat = (request) => {
    requests.push(request);
    const events = [...(turns.length > 1 ? turns.shift() : turns[0])];
    return {
      next: () => events.shift() ?? null,
      receipt: () => ({ digest: "d", signer: "s" }),
      cancel() {},
      [Symbol.dispose]() { released += 1; },
    };
  };
}

beforeEach(() => {
  [requests, released, shown, logged] = [[], 0, [], []];
  globalThis.host = {
    env: {
      now: () => ({ seconds: 1_000, nanoseconds: 5_000_000 }),
      random: (length) => new Array(length).fill(255),
      setting: () => null,
      log: (level, message) => logged.push([level, message]),
    },
    inference: { models: () => ["one"], embed: (_, texts) => texts.map(() => [1]) },
    output: { emit: (text) => void shown.push(text) },
    tools: { list: () => [], call: () => "" },
  };
});

test("text is collected, shown as it comes, and the generation released", () => {
  answering([{ tag: "text", val: "a" }, { tag: "text", val: "b" }, done()]);
  const answer = chat("q").system("s").emit().send();
  assert.equal(answer.text, "ab");
  assert.deepEqual(shown, ["a", "b"]);
  assert.equal(answer.finish, "stop");
  assert.deepEqual(answer.receipt, { digest: "d", signer: "s" });
  assert.equal(released, 1);
  assert.deepEqual(requests[0].messages.map((one) => one.role), ["system", "user"]);
});

test("a generation is released when the listener throws", () => {
  answering(says("a"));
  assert.throws(() => chat("q").stream(() => { throw new TallyError("cancelled"); }), { kind: "cancelled" });
  assert.equal(released, 1);
});

test("a generation that stops short is not an answer", () => {
  answering([{ tag: "text", val: "a" }]);
  assert.throws(() => chat("q").send(), { kind: "failed" });
});

test("wrong types never reach the host", () => {
  answering(says("x"));
  const wrong = [
    () => chat(5), () => chat("q").system(null), () => chat("q").message("robot", "x"), () => chat("q").maxTokens(-1),
    () => chat("q").maxTokens(1.5), () => chat("q").maxTokens(2 ** 32), () => chat("q").maxTokens("5"), () => chat("q").maxTokens(5n),
    () => chat("q").sampling({ temperature: NaN }), () => chat("q").sampling({ temperature: "0" }), () => chat("q").sampling({ seed: 1 }),
    () => chat("q").sampling({ constructor: 1 }), () => chat("q").lane("fast"), () => chat("q").stop(1), () => chat("q").gbnf({}),
    () => chat("q").jsonSchema(undefined), () => chat("q").tool({ name: "x" }), () => chat("q").model(1), () => emit(7),
    () => callTool("x", undefined), () => callTool(1, {}), () => embed("text"), () => embed([1]), () => random(-1), () => random(1n), () => setting(1),
  ];
  for (const one of wrong) assert.throws(one, TypeError, one.toString());
  assert.deepEqual(requests, []);
});

test("half a surrogate pair is replaced, because it has no UTF-8 form", () => {
  answering(says("x"));
  chat("a\ud800b").send();
  assert.equal(requests[0].messages[0].content, "a\ufffdb");
});

test("a host's refusal is a TallyError of its kind", () => {
  host.inference.chat = () => { throw refusal("denied", "model x"); };
  assert.throws(() => chat("q").send(), (error) => error instanceof TallyError && error.kind === "denied" && error.message === "model x");
});

test("an agent's errors become outcomes that the host understands", () => {
  const outcome = (run) => {
    try {
      return agent(run).handle({ text: "", attachments: [] });
    } catch (thrown) {
      return thrown;
    }
  };
  assert.deepEqual(outcome(() => { throw new TallyError("denied", "x"); }), { tag: "denied", val: "x" });
  assert.deepEqual(outcome(() => { throw new TallyError("cancelled"); }), { tag: "cancelled" });
  assert.deepEqual(outcome(() => { throw new TallyError("exhausted", "tokens"); }), { tag: "exhausted", val: "tokens" });
  assert.deepEqual(outcome(() => { throw new TallyError("exhausted", "patience"); }), { tag: "failed", val: "limit used up: patience" });
  assert.deepEqual(outcome(() => { throw new RangeError("oops"); }), { tag: "failed", val: "RangeError: oops" });
  assert.deepEqual(outcome(() => { throw "plain"; }), { tag: "failed", val: "thrown: plain" });
  assert.match(logged[0][1], /^RangeError: oops/);
});

test("a reply is a string or an object with text, and nothing else", () => {
  const handle = (value) => agent(() => value).handle({ text: "", attachments: [] });
  assert.deepEqual(handle("hi"), { text: "hi", dataJson: null });
  assert.deepEqual(handle({ text: "hi", data: { a: 1 } }), { text: "hi", dataJson: '{"a":1}' });
  for (const wrong of [undefined, null, 5, Promise.resolve("hi"), {}, { text: "x", data: () => {} }]) {
    assert.throws(() => handle(wrong), (thrown) => thrown.tag === "failed" && thrown.val.startsWith("TypeError"));
  }
});

test("a tool's result reaches the model under its call's id", () => {
  answering(asks("calculate", '{"expression":"2+2"}', "id7"), says("four"));
  host.tools.call = (name, args) => `${name} ${args} is 4`;
  const answer = chat("2+2?").tool({ name: "calculate", description: "", parametersSchema: "{}" }).runWithTools(3);
  assert.equal(answer.text, "four");
  assert.deepEqual(requests[1].messages.at(-1), { role: "tool", content: 'calculate {"expression":"2+2"} is 4', toolCalls: [], toolCallId: "id7" });
  assert.equal(requests[1].messages.at(-2).role, "assistant");
});

test("a tool's failure is told to the model and a refusal ends the run", () => {
  answering(asks("calculate", "{}"), says("sorry"));
  host.tools.call = () => { throw refusal("invalid", "no expression"); };
  assert.equal(chat("q").runWithTools(3).text, "sorry");
  assert.equal(requests[1].messages.at(-1).content, "error: no expression");
  answering(asks("calculate", "{}"), says("sorry"));
  host.tools.call = () => { throw refusal("denied", "tool calculate"); };
  assert.throws(() => chat("q").runWithTools(3), { kind: "denied" });
});

test("a model that never stops asking is made to answer without tools", () => {
  let round = 0;
  host.inference.chat = (request) => {
    requests.push(request);
    const events = request.tools.length === 0 ? says("enough") : asks("calculate", String((round += 1)));
    return { next: () => events.shift() ?? null, receipt: () => ({}), cancel() {}, [Symbol.dispose]() {} };
  };
  const tool = { name: "calculate", description: "", parametersSchema: "{}" };
  assert.equal(chat("q").tool(tool).runWithTools(3).text, "enough");
  assert.equal(requests.length, 4);
});

test("a repeated call is answered from memory and ends the rounds", () => {
  let calls = 0;
  host.tools.call = () => String((calls += 1));
  answering(asks("calculate", "same"), asks("calculate", "same"), says("done"));
  assert.equal(chat("q").runWithTools(10).text, "done");
  assert.equal(calls, 1);
});

test("an answer cut at the limit says so when it does not parse", () => {
  answering([{ tag: "text", val: '{"a": ' }, done("length")]);
  assert.throws(() => chat("q").jsonSchema({ type: "object" }).json(), /cut at the token limit/);
  assert.deepEqual(requests[0].response, { tag: "json-schema", val: '{"type":"object"}' });
});

test("the language's own clock, chance and console are the journaled ones", () => {
  assert.equal(now(), 1_000_005);
  assert.equal(Date.now(), 1_000_005);
  assert.equal(new Date().toISOString(), "1970-01-01T00:16:40.005Z");
  assert.equal(new Date(0).getTime(), 0);
  assert.ok(Math.random() < 1 && Math.random() > 0.99);
  console.log("a", { b: 1 });
  assert.deepEqual(logged, [["info", 'a {"b":1}']]);
});

test("a plugin lists its tools and refuses malformed calls", () => {
  const tools = plugin({ shout: { description: "d", parameters: { type: "object" }, run: ({ text }) => text.toUpperCase() } });
  assert.deepEqual(tools.list(), [{ name: "shout", description: "d", parametersSchema: '{"type":"object"}' }]);
  assert.equal(tools.call("shout", '{"text":"hi"}'), "HI");
  for (const [name, args] of [["nope", "{}"], ["shout", ""], ["shout", "[]"], ["shout", "null"], ["shout", `"${"a".repeat(300_000)}"`]]) {
    assert.throws(() => tools.call(name, args), (thrown) => thrown.tag === "invalid", name + args.slice(0, 9));
  }
  assert.throws(() => tools.call("shout", "{}"), (thrown) => thrown.tag === "failed");
  assert.throws(() => tools.call("toString", "{}"), (thrown) => thrown.tag === "invalid");
});

test("JSON nested too deeply is refused before it is parsed", () => {
  for (const text of ["[".repeat(101), '{"a":'.repeat(101), '["]", '.repeat(101)]) assert.throws(() => parseJson(text), /nested deeper/);
  assert.deepEqual(parseJson(`["${"[".repeat(500)}\\"["]`), [`${"[".repeat(500)}"[`]);
  assert.ok(Array.isArray(parseJson("[".repeat(100) + "]".repeat(100))));
});

test("a namespace is read page by page and written as drafts", () => {
  const item = (id, text) => ({ id, lineage: id, type: "text/plain", content: Buffer.from(text), author: "ab", written: { seconds: 2, nanoseconds: 0 }, conflicts: [] });
  const pages = { null: { items: [item("1", "one")], next: "1" }, 1: { items: [item("2", "zwölf €")], next: null } };
  const written = [];
  host.vault = {
    list: (_name, _prefix, after) => pages[after],
    append: (name, drafts) => (written.push([name, ...drafts]), drafts.map((draft) => String(draft.content.length))),
    get: () => undefined,
  };
  const trips = namespace("trips");
  assert.deepEqual([...trips.items("text/")].map((found) => found.text()), ["one", "zwölf €"]);
  assert.equal(trips.add("zwölf €"), "10");
  assert.deepEqual(Buffer.from(written[0][1].content), Buffer.from("zwölf €"));
  assert.equal(written[0][1].type, "text/plain");
  assert.equal(trips.get("x"), null);
  assert.throws(() => trips.add(7), TypeError);
});

test("a memory is told and asked in the contract's form", () => {
  const told = [];
  const asked = [];
  host.memory = {
    remember: (...args) => (told.push(args), { ids: ["1"], known: 0, forgotten: 0, empty: 0, secrets: [] }),
    recall: (...args) => (asked.push(args), { context: "c", hits: [], tokens: 0, abstain: true }),
    correct: () => { throw refusal("denied", "curating is not granted"); },
  };
  const mine = memory();
  mine.remember([turn("I row."), { voice: "person", speaker: "Ben", text: "Me too.", at: "2026-05-04" }]);
  const plain = { voice: "user", speaker: null, at: null, thread: "", key: null };
  assert.deepEqual(told, [["memory", [
    { ...plain, text: "I row." },
    { ...plain, voice: "person", speaker: "Ben", at: "2026-05-04", text: "Me too." },
  ]]]);
  assert.equal(mine.recall("Who rows?", { asOf: "2026-05-05", hits: 3, only: "fact", speakers: ["Ben"] }).abstain, true);
  mine.recall("Who?", { everything: true });
  mine.recall("Who?");
  assert.deepEqual(asked[0], ["memory", {
    text: "Who rows?", state: { tag: "as-of", val: "2026-05-05" }, hits: 3, tokens: 0, only: "fact",
    categories: [], apps: [], threads: [], speakers: ["Ben"],
  }]);
  assert.deepEqual(asked.slice(1).map(([, question]) => question.state), [{ tag: "everything" }, { tag: "current" }]);
  assert.throws(() => mine.correct("1", "x"), { kind: "denied" });
  for (const wrong of [() => turn("x", { voice: "god" }), () => mine.recall(7), () => mine.recall("x", { hits: 1.5 }), () => mine.recall("x", { only: "all" }), () => mine.forget([7])]) {
    assert.throws(wrong, TypeError);
  }
});
