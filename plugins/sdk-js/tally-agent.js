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

import hostMemory from "tally:agent/memory@0.1.0";
import output from "tally:agent/output@0.1.0";
import hostTools from "tally:agent/tools@0.1.0";
import hostVault from "tally:agent/vault@0.1.0";

import { Chat, call, guarded, json, kindOf, oneOf, text } from "./common.js";

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

const VOICES = ["user", "person", "assistant", "tool", "document"];
const LAYERS = ["episode", "fact"];

/** The person's long-term memory in the namespace of that name. Nothing is asked of the host yet. */
export function memory(namespace = "memory") {
  return new Memory(text(namespace, "a namespace's name"));
}

/**
 * Something that was said, or read. Voices: user, person, assistant, tool, document. A turn of the user is the text of the run's
 * input, whole: an agent quotes the person and does not speak for them. `at` is a moment in RFC 3339.
 */
export function turn(said, { voice = "user", speaker = null, at = null, thread = "", key = null } = {}) {
  return {
    voice: oneOf(voice, VOICES, "a voice"),
    speaker: optional(speaker, "a speaker"),
    at: optional(at, "a moment"),
    thread: text(thread, "a thread"),
    key: optional(key, "a key"),
    text: text(said, "a turn"),
  };
}

/** A memory of the person: what was said, what was learnt from it, and when it holds. */
class Memory {
  constructor(namespace) {
    this.namespace = namespace;
  }

  /** Takes in turns (see `turn`), durably. Those that are known already add nothing. */
  remember(turns) {
    const checked = [...turns].map(({ text: said, ...rest }) => turn(said, rest));
    return call(() => hostMemory.remember(this.namespace, checked));
  }

  /**
   * Answers a question: `hits`, the best first, and `context`, all of them as a text for a model. Where `abstain` is true it is
   * better to say "I do not know". About what holds now, or held `asOf` a moment (RFC 3339), or `everything`.
   */
  recall(question, options = {}) {
    const { asOf = null, everything = false, hits = 0, tokens = 0, only = null } = options;
    const names = (list = []) => [...list].map((name) => text(name, "a name"));
    const asked = {
      text: text(question, "a question"),
      state: everything ? { tag: "everything" } : asOf === null ? { tag: "current" } : { tag: "as-of", val: text(asOf, "a moment") },
      hits: whole(hits, "hits"),
      tokens: whole(tokens, "tokens"),
      only: only === null ? null : oneOf(only, LAYERS, "a layer"),
      categories: names(options.categories),
      apps: names(options.apps),
      threads: names(options.threads),
      speakers: names(options.speakers),
    };
    return call(() => hostMemory.recall(this.namespace, asked));
  }

  /** Who the person is, by what they said: `bio` and `lines`. */
  profile() {
    return call(() => hostMemory.profile(this.namespace));
  }

  /** Puts the text of the run's input in the place of a fact, or "", which says that it is wrong. Gives the correction's id. */
  correct(id, words, why = "") {
    return call(() => hostMemory.correct(this.namespace, text(id, "an id"), text(words, "a correction"), text(why, "a reason")));
  }

  /** Destroys memories and what is derived from them. */
  forget(ids, reason = "") {
    const named = [...ids].map((id) => text(id, "an id"));
    return call(() => hostMemory.forget(this.namespace, named, text(reason, "a reason")));
  }
}

function optional(value, what) {
  return value == null ? null : text(value, what);
}

function whole(value, what) {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new TypeError(`${what} is a whole number, not ${value}`);
  return value;
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
