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
