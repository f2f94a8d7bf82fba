// The published vectors, through the WebAssembly module, as a page would ask it.
//
//   TALLY_VERIFIER=…/tally_verifier_web.wasm node --test p2p-ledger/verifier-web/tests/
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { load } from "../verifier.mjs";

const wasm = readFileSync(process.env.TALLY_VERIFIER);
const verifier = await load(wasm);
const folder = new URL("../../vectors/", import.meta.url);
const vectors = readdirSync(folder).map((file) => [
  file.replace(".json", ""),
  JSON.parse(readFileSync(new URL(file, folder), "utf8")),
]);
const hex = (text) => (text == null ? null : new Uint8Array(Buffer.from(text, "hex")));
const ask = (vector) =>
  verifier.verify({
    proof: hex(vector.proof),
    receipt: hex(vector.receipt),
    genesis: vector.genesis,
    policy: vector.policy,
    now: Date.parse(vector.now),
  });
const said = ({ status, reason }) => (status === "pass" ? "pass" : `${status} ${reason}`);

test("the module imports nothing", () => {
  assert.deepEqual(WebAssembly.Module.imports(new WebAssembly.Module(wasm)), []);
});

for (const [name, vector] of vectors) {
  test(`${name}: ${vector.comment}`, () => {
    const { ledger } = ask(vector);
    assert.equal(ledger.verified, vector.expect.verified);
    const checks = Object.fromEntries(ledger.checks.map((check) => [check.code, said(check)]));
    assert.deepEqual(checks, vector.expect.checks);
  });
}

test("a receipt that is none fails beside a proof that holds", () => {
  // The vectors' receipts are eight bytes: settled, and no receipts.
  const vector = JSON.parse(readFileSync(new URL("valid-finality.json", folder), "utf8"));
  const answer = ask(vector);
  assert.equal(answer.ledger.verified, true);
  assert.equal(answer.receipt.verified, false);
  assert.equal(answer.verified, false);
  assert.match(answer.knownSince, /^20\d\d-/);
  assert.equal(answer.entry.sequence, "521");
  assert.deepEqual(answer.words, []);
  assert.match(answer.chain, /^[0-9a-f]{64}$/);
});

test("a genuine receipt, alone and with its policy", () => {
  const file = new URL("../../../receipts/receipt/vectors/valid.json", import.meta.url);
  const vector = JSON.parse(readFileSync(file, "utf8"));
  const given = { receipt: vector.receipt.text, receiptPolicy: vector.policy, now: Date.parse(vector.context.now) };
  const answer = verifier.verify(given);
  assert.equal(answer.verified, true);
  assert.equal(answer.document, vector.receipt.text);
  assert.match(answer.words[0].words, /^A model read \d+ tokens/);
  assert.equal(verifier.verify({ ...given, receiptPolicy: null }).verified, false);
});

test("nothing given, and what is no genesis or no time, verify nothing", () => {
  assert.equal(verifier.verify({ now: 0 }).verified, false);
  const [, vector] = vectors.find(([name]) => name === "valid-finality");
  assert.equal(ask({ ...vector, genesis: "format = 1" }).refused.part, "genesis");
  assert.equal(ask({ ...vector, policy: "nonsense" }).refused.part, "policy");
  assert.equal(ask({ ...vector, now: "not a time" }).verified, false);
});

test("what is asked next does not depend on what was asked before", () => {
  const [, vector] = vectors.find(([name]) => name === "valid-finality");
  const before = ask(vector);
  ask({ ...vector, proof: "00" });
  assert.deepEqual(ask(vector), before);
});

test("how long a check takes", (context) => {
  const [, vector] = vectors.find(([name]) => name === "valid-finality");
  for (let round = 0; round < 20; round++) ask(vector);
  const rounds = 100;
  const start = process.cpuUsage();
  for (let round = 0; round < rounds; round++) ask(vector);
  const { user, system } = process.cpuUsage(start);
  context.diagnostic(`${((user + system) / 1000 / rounds).toFixed(2)} ms of processor time; the module has ${wasm.length} bytes`);
});
