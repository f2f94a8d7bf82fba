// Write an agent for Tally in JavaScript. An agent is one function:
//
//     import { agent, chat } from "./sdk/tally-agent.js";
//
//     export const handler = agent((input) =>
//       chat(input.text).system("You answer in one sentence.").emit().send().text);
//
// Everything here is a call into the host, which writes it into the run's journal; there is no other way out of the
// component. A failed call throws `TallyError`; whatever the agent does not catch becomes the run's outcome.
// Nothing is asynchronous: a generation is pulled, and several may run at once.

import output from "tally:agent/output@0.1.0";
import hostTools from "tally:agent/tools@0.1.0";
import hostVault from "tally:agent/vault@0.1.0";

import { Chat, call, guarded, json, kindOf, text } from "./common.js";

export { Answer, Chat, Generation, TallyError, embed, log, models, now, parseJson, random, setting } from "./common.js";

/** Shows text to whoever started the run, at once. */
export function emit(shown) {
  const checked = text(shown, "what is emitted");
  call(() => output.emit(checked));
}

/** The tools this run may call, each with name, description and parametersSchema. */
export function tools() {
  return call(() => hostTools.list());
}

/** Calls a tool. The arguments are an object or JSON text. */
export function callTool(name, args) {
  const written = typeof args === "string" ? text(args) : json(args, "arguments");
  return call(() => hostTools.call(text(name, "a tool's name"), written));
}

/** The namespaces of the person's vault that may be used: `[{name, access}]`, access "read", "append" or "curate". */
export function namespaces() {
  return call(() => hostVault.namespaces());
}

/** The namespace of that name. Nothing is asked of the host yet. */
export function namespace(name) {
  return new Namespace(text(name, "a namespace's name"));
}

/** A part of the vault. Records are never changed: a version is written in place of others, or one is hidden. */
class Namespace {
  constructor(name) {
    this.name = name;
  }

  /** Adds one record, durably, and gives its id. The content is a string or a `Uint8Array`. */
  add(content, { type = "text/plain", receipt = null } = {}) {
    return call(() => hostVault.append(this.name, [draft(content, type, receipt)]))[0];
  }

  /** Adds records, all or none, and gives their ids. */
  append(contents, { type = "text/plain" } = {}) {
    const drafts = contents.map((content) => draft(content, type, null));
    return call(() => hostVault.append(this.name, drafts));
  }

  /** Writes a version in place of others. Those of other authors need "curate". */
  supersede(targets, content, { type = "text/plain", receipt = null } = {}) {
    return call(() => hostVault.supersede(this.name, [...targets], draft(content, type, receipt)));
  }

  /** Hides versions; they stay in the vault's history. */
  retract(targets, reason = "") {
    return call(() => hostVault.retract(this.name, [...targets], text(reason, "a reason")));
  }

  /** One current version, by its own id or its lineage; null if there is none. */
  get(id) {
    return item(call(() => hostVault.get(this.name, text(id, "a record's id"))) ?? null);
  }

  /** Current records whose type begins so, the oldest first. */
  *items(typePrefix = "") {
    let after = null;
    do {
      const page = call(() => hostVault.list(this.name, text(typePrefix, "a type"), after, 256));
      yield* page.items.map(item);
      after = page.next ?? null;
    } while (after !== null);
  }
}

function draft(content, type, receipt) {
  const bytes = typeof content === "string" ? utf8(text(content)) : content;
  if (!(bytes instanceof Uint8Array)) throw new TypeError(`a record's content is a string or a Uint8Array, not ${kindOf(content)}`);
  return { type: text(type, "a type"), content: bytes, receipt };
}

function item(found) {
  return found && { ...found, text: () => fromUtf8(found.content) };
}

// The guests' engine has no TextEncoder; URI encoding is UTF-8 by definition (ECMAScript, 19.2.6).
function utf8(value) {
  const bytes = encodeURIComponent(value).match(/%[0-9A-F]{2}|[^%]/g) ?? [];
  return Uint8Array.from(bytes, (part) => (part.length === 3 ? parseInt(part.slice(1), 16) : part.charCodeAt(0)));
}

/** Throws `URIError` for bytes that are no UTF-8. */
function fromUtf8(bytes) {
  return decodeURIComponent(Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, "0")}`).join(""));
}

/** Starts a request whose last message is from the user. Without a text, add messages yourself. */
export function chat(user = "") {
  const request = new Chat({ emit, callTool });
  return user === "" ? request : request.message("user", user);
}

/**
 * Makes a function the agent of this component: `export const handler = agent((input) => ...)`.
 * It takes `{text, attachments: [{name, mediaType, text}]}` and returns a string or `{text, data}`.
 */
export function agent(handle) {
  return { handle: (input) => guarded(() => reply(handle(input))) };
}

function reply(value) {
  if (typeof value === "string") return { text: text(value), dataJson: null };
  if (value === null || typeof value !== "object" || value instanceof Promise) {
    throw new TypeError(`an agent returns a string or {text, data}, not ${kindOf(value)}`);
  }
  const dataJson = value.data == null ? null : json(value.data, "a reply's data");
  return { text: text(value.text, "a reply's text"), dataJson };
}
