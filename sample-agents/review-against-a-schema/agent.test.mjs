// What the review does with a model's form, the model and the tool being faked.
// Run in this folder: node --import ./sdk/tests/fakes.mjs --test agent.test.mjs
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { handler } from "./agent.js";
import { problems, typed, unchecked } from "./schema.js";

let filled, finish, requests, logged;

beforeEach(() => {
  [filled, finish, requests, logged] = [{}, "stop", [], []];
  globalThis.host = {
    env: { log: (level, message) => logged.push(message), now: () => ({ seconds: 0, nanoseconds: 0 }) },
    output: { emit() {} },
    tools: { list: () => [], call: () => JSON.stringify({ words: 5, dates: [] }) },
    inference: {
      chat(request) {
        requests.push(request);
        const keys = Object.keys(JSON.parse(request.response.val).properties);
        const form = Object.fromEntries(keys.map((key) => [key, filled[key] ?? ""]));
        const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 1 };
        const events = [{ tag: "text", val: JSON.stringify(form) }, { tag: "done", val: { finish, usage } }];
        return { next: () => events.shift() ?? null, receipt: () => ({ digest: "d", signer: "s" }), cancel() {} };
      },
    },
  };
});

const attach = (schema) => [{ name: "form.json", mediaType: "application/json", text: JSON.stringify(schema) }];
const review = (text, schema) => {
  const reply = handler.handle({ text, attachments: schema ? attach(schema) : [] });
  return { text: reply.text, ...JSON.parse(reply.dataJson) };
};

test("a form whose values stand in the text and fit the schema holds", () => {
  filled = { city: "Ghent", date: "4 May", time: "9:30", name: "Lena" };
  const result = review("In ghent on 4  May at 9:30, with Lena");
  assert.equal(result.text, "Announcement: holds");
  assert.deepEqual(result.findings, []);
  assert.deepEqual(result.receipts, ["d"]);
});

test("a value that is not in the text is a finding, whatever the model says", () => {
  filled = { city: "Paris", date: "4 May", time: "9:30" };
  const result = review("Ghent, 4 May, 9:30");
  assert.deepEqual(result.findings, [{ field: "city", value: "Paris", problem: "is not in the text" }]);
});

test("a form that was cut is said to be unread, not to be empty", () => {
  finish = "length";
  const result = review("Ghent, 4 May");
  assert.equal(result.findings.length, 4);
  assert.ok(result.findings.every((one) => one.problem.startsWith("was not read")));
});

test("a required field that is empty is missing, an optional one is not", () => {
  filled = { city: "Ghent", date: "4 May" };
  const result = review("Ghent, 4 May");
  assert.deepEqual(result.findings, [{ field: "time", value: null, problem: "is missing" }]);
  assert.equal(result.fields.name, null);
});

test("a schema of one's own is asked for in groups of four and checked by type", () => {
  const number = { type: "number", maximum: 100 };
  const schema = { type: "object", properties: { a: number, b: number, c: { type: "boolean" }, d: { enum: ["x"] }, e: { type: "integer" } } };
  filled = { a: "99.50", b: "250 euros", c: "yes", d: "y", e: "1.5" };
  const result = review("a 99.50, b 250 euros, c yes, d y, e 1.5", schema);
  assert.equal(requests.length, 2);
  assert.deepEqual(result.fields, { a: 99.5, b: 250, c: true, d: "y", e: 1.5 });
  const found = result.findings.map((one) => `${one.field} ${one.problem}`);
  assert.deepEqual(found, ["b is more than 100", "d is not one of x", "e is not of type integer"]);
});

test("the tool's findings count, and without the tool the review goes on", () => {
  host.tools.call = () => JSON.stringify({ words: 9, dates: [{ text: "30 Feb 2026", problem: "there is no such day" }] });
  const schema = { type: "object", maxWords: 5, properties: { a: { type: "string" } } };
  assert.deepEqual(review("x", schema).findings.map((one) => one.problem), ["there is no such day", "the text has more than 5 words"]);
  host.tools.call = () => { throw Object.assign(new Error(), { payload: { tag: "denied", val: "tool text_statistics" } }); };
  assert.equal(review("x", schema).statistics, null);
  assert.match(logged.at(-1), /not counted/);
});

test("what cannot be reviewed is refused in words", () => {
  const refused = (input, says) => assert.throws(() => handler.handle(input), (thrown) => thrown.tag === "invalid" && says.test(thrown.val));
  refused({ text: " ", attachments: [] }, /give a text/);
  refused({ text: "x", attachments: [{ name: "f.json", mediaType: "", text: "{" }] }, /not JSON/);
  refused({ text: "x", attachments: attach({ properties: { a: { properties: {} } } }) }, /flat/);
  refused({ text: "x", attachments: attach(null) }, /flat/);
  refused({ text: "x", attachments: attach({ properties: { a: null } }) }, /flat/);
});

test("a keyword that is not checked is named", () => {
  assert.deepEqual(unchecked({ type: "string", title: "t", not: {} }), ["not"]);
  assert.deepEqual(problems({ pattern: "^a", minLength: 3, format: "email" }, "b"), ["does not match ^a", "is shorter than 3", "is not a email"]);
  assert.equal(typed({ type: "number" }, "12 kg"), 12);
  assert.equal(typed({ type: "number" }, "about"), "about");
});
