// What agents and plugins share: checked values, errors, time, chance, settings, log, models.
//
// A value of the wrong type that reaches the host ends the run without a word, so everything is checked here first.

import env from "tally:agent/env@0.1.0";
import inference from "tally:agent/inference@0.1.0";

const KINDS = ["denied", "invalid", "exhausted", "unavailable", "failed", "cancelled"];
const RESOURCES = ["tokens", "output-bytes", "handles", "request-bytes", "calls", "wall-time"];
const LEVELS = ["debug", "info", "warn", "error"];
const ROLES = ["system", "user", "assistant", "tool"];
const LANES = ["exact", "throughput"];
const DEFAULT_MAX_TOKENS = 512;
const MAX_JSON_DEPTH = 100;

/**
 * Why a call did not succeed. `kind` says who can do something about it: "denied" (not granted; who granted),
 * "invalid" (whoever made the request), "exhausted" (a limit of this run), "unavailable" (asking again may help),
 * "failed", "cancelled".
 */
export class TallyError extends Error {
  constructor(kind, message = "") {
    super(String(message));
    this.name = "TallyError";
    this.kind = oneOf(kind, KINDS, "an error's kind");
  }

  /** Whether a model that asked for a tool can do something about it. A refusal is not for it to work around. */
  get isForTheModel() {
    return this.kind === "invalid" || this.kind === "unavailable" || this.kind === "failed";
  }
}

/** Calls the host; its refusals become `TallyError`. */
export function call(run) {
  try {
    return run();
  } catch (error) {
    const refusal = error?.payload;
    if (refusal && KINDS.includes(refusal.tag)) throw new TallyError(refusal.tag, refusal.val ?? "");
    throw error;
  }
}

/** Runs an author's function for the host: whatever it throws becomes an outcome that the host understands. */
export function guarded(run) {
  try {
    return run();
  } catch (error) {
    if (error instanceof TallyError) throw toHost(error);
    const what = error instanceof Error ? `${error.name}: ${error.message}` : `thrown: ${String(error)}`;
    log(error instanceof Error && error.stack ? `${what}\n${error.stack}` : what, "error");
    throw { tag: "failed", val: wellFormed(what) };
  }
}

function toHost(error) {
  if (error.kind === "cancelled") return { tag: "cancelled" };
  if (error.kind !== "exhausted") return { tag: error.kind, val: wellFormed(error.message) };
  if (RESOURCES.includes(error.message)) return { tag: "exhausted", val: error.message };
  return { tag: "failed", val: wellFormed(`limit used up: ${error.message}`) };
}

export function text(value, what) {
  if (typeof value !== "string") throw new TypeError(`${what} must be a string, not ${kindOf(value)}`);
  return wellFormed(value);
}

export function kindOf(value) {
  if (value === null) return "null";
  return value instanceof Promise ? "a promise" : typeof value;
}

// Half of a surrogate pair has no UTF-8 form.
function wellFormed(value) {
  return value.toWellFormed();
}

function whole(value, what) {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) {
    throw new TypeError(`${what} must be a whole number from 0 to 4294967295`);
  }
  return value;
}

function finite(value, what) {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new TypeError(`${what} must be a number`);
  return value;
}

export function oneOf(value, names, what) {
  if (!names.includes(value)) throw new TypeError(`${what} must be one of ${names.join(", ")}`);
  return value;
}

export function json(value, what) {
  const written = JSON.stringify(value);
  if (written === undefined) throw new TypeError(`${what} cannot be written as JSON`);
  return wellFormed(written);
}

/** Parses JSON text. The engine's parser follows nesting with the stack, and a stack that is used up ends the run. */
export function parseJson(written) {
  let depth = 0;
  for (const [bracket] of text(written, "JSON").replace(/"(?:[^"\\]|\\.)*"/gs, "").matchAll(/[[\]{}]/g)) {
    depth += bracket === "[" || bracket === "{" ? 1 : -1;
    if (depth > MAX_JSON_DEPTH) throw new SyntaxError(`nested deeper than ${MAX_JSON_DEPTH}`);
  }
  return JSON.parse(written);
}

export function spec(tool) {
  return {
    name: text(tool?.name, "a tool's name"),
    description: text(tool?.description, "a tool's description"),
    parametersSchema: text(tool?.parametersSchema, "a tool's parametersSchema"),
  };
}

// Time, chance, settings, log

/** Milliseconds since 1970. Never goes back within a run. */
export function now() {
  const at = env.now();
  return at.seconds * 1000 + Math.floor(at.nanoseconds / 1e6);
}

/** That many random bytes, at most 65,536. */
export function random(length) {
  return Uint8Array.from(call(() => env.random(whole(length, "a length"))));
}

/** A setting given when the run was started (`--set name=value`), or null. */
export function setting(name) {
  return env.setting(text(name, "a setting's name")) ?? null;
}

/** Writes a line into the run's log. */
export function log(message, level = "info") {
  env.log(oneOf(level, LEVELS, "a level"), wellFormed(String(message)));
}

// The engine's own clock, generator and console are not there; these are the journaled ones.
const EngineDate = Date;
globalThis.Date = class Date extends EngineDate {
  constructor(...when) {
    super(...(when.length === 0 ? [now()] : when));
  }
  static now() {
    return now();
  }
};
Math.random = () => {
  const view = new DataView(random(8).buffer);
  return (view.getUint32(0) * 2 ** 21 + (view.getUint32(4) >>> 11)) / 2 ** 53;
};
globalThis.performance = { now };
const line = (level) => (...values) =>
  log(values.map((value) => (typeof value === "string" ? value : (JSON.stringify(value) ?? String(value)))).join(" "), level);
globalThis.console = { debug: line("debug"), log: line("info"), info: line("info"), warn: line("warn"), error: line("error") };

// Models

/** The names of the models this run may use, the default one first. */
export function models() {
  return inference.models();
}

/** One vector of unit length for each text, in order; at most 256 texts. Without a name, of the default embedding model. */
export function embed(texts, model = "") {
  if (!Array.isArray(texts)) throw new TypeError(`texts must be an array, not ${kindOf(texts)}`);
  const checked = texts.map((one) => text(one, "a text"));
  return call(() => inference.embed(text(model, "a model's name"), checked));
}

/** What a finished generation gave. */
export class Answer {
  constructor(parts) {
    Object.assign(this, parts);
  }

  /** The text, parsed as JSON. */
  json() {
    try {
      return parseJson(this.text);
    } catch (error) {
      const cut = this.finish === "length" ? " (it was cut at the token limit)" : "";
      throw new TallyError("failed", `the model's answer is not the JSON that was asked for: ${error.message}${cut}`);
    }
  }
}

/** A running generation: iterate over it for `{tag: "text" | "tool-call" | "done", val}`. */
export class Generation {
  #handle;

  constructor(handle) {
    this.#handle = handle;
  }

  *[Symbol.iterator]() {
    for (;;) {
      const event = call(() => this.#handle.next());
      if (event == null) return;
      yield event;
      if (event.tag === "done") return;
    }
  }

  /** Stops it. What was generated so far is still pulled, and still has a receipt. */
  cancel() {
    this.#handle.cancel();
  }

  /** The receipt, once "done" was pulled. */
  receipt() {
    return call(() => this.#handle.receipt());
  }

  /** Pulls it to the end, gives its `Answer`, and releases it. */
  finish(onText = () => {}) {
    try {
      let answer = "";
      const toolCalls = [];
      for (const event of this) {
        if (event.tag === "text") {
          onText(event.val);
          answer += event.val;
        } else if (event.tag === "tool-call") {
          toolCalls.push(event.val);
        } else {
          return new Answer({ text: answer, toolCalls, ...event.val, receipt: this.receipt() });
        }
      }
      throw new TallyError("failed", "the generation ended without saying why");
    } finally {
      this.release();
    }
  }

  /** Gives it back to the host; one that still runs is cancelled. */
  release() {
    this.#handle[Symbol.dispose]?.();
  }
}

/** A request to a model, being described; its last method runs it. */
export class Chat {
  #host;
  #emit = false;
  #messages = [];
  #tools = [];
  #request = {
    model: "",
    response: { tag: "text" },
    sampling: {
      temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, repeatLastN: 64,
      maxTokens: DEFAULT_MAX_TOKENS, stop: [],
    },
    lane: "exact",
  };

  /** `host` has `emit` and `callTool` where the world has them. */
  constructor(host) {
    this.#host = host;
  }

  /** What the model is told before the conversation. */
  system(content) {
    const firstOther = this.#messages.findIndex((one) => one.role !== "system");
    const place = firstOther < 0 ? this.#messages.length : firstOther;
    this.#messages.splice(place, 0, message("system", content));
    return this;
  }

  /** Adds a message at the end. */
  message(role, content) {
    this.#messages.push(message(role, content));
    return this;
  }

  /** The model's name. Without it, the run's default model. */
  model(name) {
    this.#request.model = text(name, "a model's name");
    return this;
  }

  /** Lets the model ask for this tool. */
  tool(tool) {
    this.#tools.push(spec(tool));
    return this;
  }

  /** Lets the model ask for these tools. */
  tools(tools) {
    for (const tool of tools) this.tool(tool);
    return this;
  }

  /** The answer will be JSON that this JSON Schema (an object or JSON text) describes. */
  jsonSchema(schema) {
    this.#request.response = { tag: "json-schema", val: typeof schema === "string" ? text(schema) : json(schema, "a schema") };
    return this;
  }

  /** The answer will match this llama.cpp GBNF grammar, whose start rule is `root`. */
  gbnf(grammar) {
    this.#request.response = { tag: "gbnf", val: text(grammar, "a grammar") };
    return this;
  }

  /** How tokens are chosen. The default temperature is 0, which takes the likeliest token. There is no seed. */
  sampling(values) {
    const checks = { temperature: finite, topP: finite, minP: finite, repeatPenalty: finite, topK: whole, repeatLastN: whole };
    for (const [name, value] of Object.entries(values)) {
      if (!Object.hasOwn(checks, name)) throw new TypeError(`sampling has no ${name}`);
      this.#request.sampling[name] = checks[name](value, name);
    }
    return this;
  }

  /** The answer's greatest length. */
  maxTokens(tokens) {
    this.#request.sampling.maxTokens = whole(tokens, "maxTokens");
    return this;
  }

  /** The answer ends before this text. At most 16. */
  stop(ending) {
    this.#request.sampling.stop.push(text(ending, "a stop text"));
    return this;
  }

  /** How the request is scheduled: exact (the default) or throughput. */
  lane(name) {
    this.#request.lane = oneOf(name, LANES, "a lane");
    return this;
  }

  /** Also shows the text, as it comes, to whoever started the run. */
  emit() {
    this.#emit = true;
    return this;
  }

  /** Starts the generation. Several may run at once: start all, then iterate over each. */
  start() {
    return this.#start(this.#messages, this.#tools);
  }

  /** Runs to the end and gives the `Answer`. */
  send() {
    return this.#turn(this.#messages, this.#tools);
  }

  /** Runs to the end and hands over each piece of text as it comes. */
  stream(onText) {
    return this.#turn(this.#messages, this.#tools, onText);
  }

  /** Runs to the end and parses the answer; use it after `jsonSchema`. */
  json() {
    return this.send().json();
  }

  /**
   * Runs, calls the tools the model asks for, and runs again, until the model answers: at most `rounds` times with
   * tools, then once more without, so that there always is an answer. What a tool answers, including that it could
   * not, is told to the model; a call that was not granted is the agent's error.
   */
  runWithTools(rounds) {
    return this.runWith(rounds, (asked) => this.#host.callTool(asked.name, asked.argumentsJson));
  }

  /** As `runWithTools`, with `callTool` in place of the run's tools. */
  runWith(rounds, callTool) {
    whole(rounds, "rounds");
    const messages = [...this.#messages];
    const earlier = new Map();
    for (let round = 0; round < rounds; round += 1) {
      const answer = this.#turn(messages, this.#tools);
      if (answer.toolCalls.length === 0) return answer;
      messages.push({ role: "assistant", content: answer.text, toolCalls: answer.toolCalls, toolCallId: null });
      let repeated = true;
      for (const asked of answer.toolCalls) {
        const key = JSON.stringify([asked.name, asked.argumentsJson]);
        if (!earlier.has(key)) {
          repeated = false;
          earlier.set(key, answered(() => callTool(asked)));
        }
        messages.push({ role: "tool", content: earlier.get(key), toolCalls: [], toolCallId: asked.id });
      }
      if (repeated) break; // A model that only repeats itself has all the answers it will get.
    }
    return this.#turn(messages, []);
  }

  #start(messages, tools) {
    const request = { ...this.#request, messages: [...messages], tools: [...tools] };
    return new Generation(call(() => inference.chat(request)));
  }

  #turn(messages, tools, onText = () => {}) {
    return this.#start(messages, tools).finish((piece) => {
      if (this.#emit) this.#host.emit(piece);
      onText(piece);
    });
  }
}

function answered(callTool) {
  try {
    return text(callTool(), "a tool's answer");
  } catch (error) {
    if (!(error instanceof TallyError) || !error.isForTheModel) throw error;
    return `error: ${error.message}`;
  }
}

function message(role, content) {
  return { role: oneOf(role, ROLES, "a role"), content: text(content, "a message"), toolCalls: [], toolCallId: null };
}
