// Reads a text into a form given as a JSON Schema, and says what is missing, wrong or not in the text.
//
// The model only copies: a grammar made from the schema lets it write nothing but the form. Code does the rest: it
// looks each value up in the text, checks it against the schema, and has a tool count words and check dates.
import { TallyError, agent, callTool, chat, emit, log, parseJson } from "./sdk/tally-agent.js";
import { problems, typed, unchecked } from "./schema.js";

const DEFAULT_SCHEMA = {
  title: "Announcement",
  type: "object",
  properties: { city: { type: "string" }, date: { type: "string" }, name: { type: "string" }, time: { type: "string", format: "time" } },
  required: ["city", "date", "time"],
};
// A small model fills four fields well, of a text of this length.
const FIELDS_AT_ONCE = 4;
const MAX_CHARACTERS = 1_500;

export const handler = agent((input) => {
  const [schema, text] = read(input);
  const names = Object.keys(schema.properties).sort();
  const asked = [...text].slice(0, MAX_CHARACTERS).join("");
  const fields = {};
  const receipts = [];
  for (let at = 0; at < names.length; at += FIELDS_AT_ONCE) {
    const group = names.slice(at, at + FIELDS_AT_ONCE);
    const answer = chat(`Form: ${group.join(", ")}\nText: ${asked}`)
      .system("Fill the form from the text as JSON.")
      .jsonSchema(formOf(group))
      .maxTokens(400)
      .send();
    receipts.push(answer.receipt.digest);
    // Even a constrained answer is no form when it was cut at the token limit.
    if (answer.finish === "stop") Object.assign(fields, answer.json());
    else log(`${group.join(", ")}: the model's form ended early (${answer.finish})`, "warn");
  }

  const findings = names.flatMap((name) => review(name, schema, fields, text));
  const statistics = count(text);
  for (const date of statistics?.dates ?? []) {
    if (date.problem) findings.push({ field: null, value: date.text, problem: date.problem });
  }
  const limit = schema.maxWords;
  if (statistics && limit && statistics.words > limit) {
    findings.push({ field: null, value: statistics.words, problem: `the text has more than ${limit} words` });
  }
  const lines = findings.map(({ field, value, problem }) => `- ${field ?? "text"}: ${problem} (${shortened(value)})`);
  const verdict = findings.length === 0 ? "holds" : `${findings.length} finding${findings.length === 1 ? "" : "s"}`;
  const report = [`${schema.title ?? "Review"}: ${verdict}`, ...lines].join("\n");
  emit(`${report}\n`);
  return { text: report, data: { holds: findings.length === 0, fields, findings, statistics, receipts } };
});

/** The schema (an attachment named *.json, or the default) and the text (the input, then the other attachments). */
function read(input) {
  const form = input.attachments.find((one) => one.name.endsWith(".json"));
  const texts = [input.text, ...input.attachments.filter((one) => one !== form).map((one) => one.text)];
  const text = texts.filter((one) => one.trim() !== "").join("\n");
  if (text === "") throw new TallyError("invalid", "give a text to review, with --input or --attach");
  let schema = DEFAULT_SCHEMA;
  try {
    if (form) schema = parseJson(form.text);
  } catch (error) {
    throw new TallyError("invalid", `${form.name} is not JSON: ${error.message}`);
  }
  const properties = Object.values(schema?.properties ?? {});
  if (properties.length === 0 || properties.some((one) => one === null || typeof one !== "object" || one.properties || one.items)) {
    throw new TallyError("invalid", "the schema must be of a flat object: properties of texts, numbers or booleans");
  }
  return [schema, text];
}

/** What the model may write: these keys, with texts copied from the text, empty where there is none. */
function formOf(names) {
  const properties = Object.fromEntries(names.map((name) => [name, { type: "string" }]));
  return { type: "object", properties, required: names, additionalProperties: false };
}

/** What is wrong with one field; its value becomes what the schema asks for. */
function review(name, schema, fields, text) {
  const copied = String(fields[name] ?? "").trim();
  const finding = (problem) => ({ field: name, value: fields[name], problem });
  for (const keyword of unchecked(schema.properties[name])) log(`${name}: ${keyword} is not checked`, "warn");
  if (!Object.hasOwn(fields, name)) return [finding("was not read: the model's form ended early")];
  if (copied !== "" && !plain(text).includes(plain(copied))) return [finding("is not in the text")];
  fields[name] = copied === "" ? null : typed(schema.properties[name], copied);
  if (fields[name] === null) return (schema.required ?? []).includes(name) ? [finding("is missing")] : [];
  return problems(schema.properties[name], fields[name]).map(finding);
}

const shortened = (value) => JSON.stringify(value === undefined ? null : typeof value === "string" ? [...value].slice(0, 60).join("") : value);
const plain = (text) => text.toLowerCase().replace(/\s+/g, " ");

function count(text) {
  try {
    return parseJson(callTool("text_statistics", { text }));
  } catch (error) {
    if (error.kind !== "denied" && error.kind !== "unavailable") throw error;
    log(`the text is not counted: ${error.message}`, "warn");
    return null;
  }
}
