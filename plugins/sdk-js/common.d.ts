export type ErrorKind = "denied" | "invalid" | "exhausted" | "unavailable" | "failed" | "cancelled";
export type Level = "debug" | "info" | "warn" | "error";
export type Role = "system" | "user" | "assistant" | "tool";
export type FinishReason = "stop" | "stop-string" | "length" | "tool-calls" | "cancelled";

/** Why a call did not succeed. `kind` says who can do something about it. */
export class TallyError extends Error {
  constructor(kind: ErrorKind, message?: string);
  readonly kind: ErrorKind;
  /** Whether a model that asked for a tool can do something about it. */
  readonly isForTheModel: boolean;
}

export interface ToolSpec { name: string; description: string; parametersSchema: string }
export interface ToolCall { id: string; name: string; argumentsJson: string }
export interface Usage { promptTokens: number; cachedTokens: number; completionTokens: number }
export interface ReceiptRef { digest: string; signer: string }
export interface Attachment { name: string; mediaType: string; text: string }
export interface Input { text: string; attachments: Attachment[] }

/** Parses JSON text; nesting deeper than 100 is a SyntaxError, because the engine's own parser would end the run. */
export function parseJson(text: string): any;
/** Milliseconds since 1970. Never goes back within a run. */
export function now(): number;
/** That many random bytes, at most 65,536. */
export function random(length: number): Uint8Array;
/** A setting given when the run was started (`--set name=value`), or null. */
export function setting(name: string): string | null;
/** Writes a line into the run's log. */
export function log(message: unknown, level?: Level): void;
/** The names of the models this run may use, the default one first. */
export function models(): string[];
/** One vector of unit length for each text, in order; at most 256 texts. Without a name, of the default embedding model. */
export function embed(texts: string[], model?: string): number[][];

/** What a finished generation gave. */
export class Answer {
  readonly text: string;
  readonly toolCalls: ToolCall[];
  readonly finish: FinishReason;
  readonly usage: Usage;
  readonly receipt: ReceiptRef;
  /** The text, parsed as JSON. */
  json<T = unknown>(): T;
}

export type Event =
  | { tag: "text"; val: string }
  | { tag: "tool-call"; val: ToolCall }
  | { tag: "done"; val: { finish: FinishReason; usage: Usage } };

/** A running generation. */
export class Generation implements Iterable<Event> {
  [Symbol.iterator](): Iterator<Event>;
  cancel(): void;
  receipt(): ReceiptRef;
  finish(onText?: (piece: string) => void): Answer;
  release(): void;
}

export interface Sampling {
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repeatPenalty?: number;
  repeatLastN?: number;
}

/** A request to a model, being described; its last method runs it. */
export class Chat {
  system(text: string): this;
  message(role: Role, text: string): this;
  model(name: string): this;
  tool(tool: ToolSpec): this;
  tools(tools: Iterable<ToolSpec>): this;
  jsonSchema(schema: object | string): this;
  gbnf(grammar: string): this;
  sampling(values: Sampling): this;
  maxTokens(tokens: number): this;
  stop(text: string): this;
  lane(name: "exact" | "throughput"): this;
  emit(): this;
  start(): Generation;
  send(): Answer;
  stream(onText: (piece: string) => void): Answer;
  json<T = unknown>(): T;
  runWithTools(rounds: number): Answer;
  runWith(rounds: number, callTool: (asked: ToolCall) => string): Answer;
}

/** Starts a request whose last message is from the user. */
export function chat(user?: string): Chat;
