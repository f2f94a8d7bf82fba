import type { Input, ToolSpec } from "./common.js";
export * from "./common.js";

/** Shows text to whoever started the run, at once. */
export function emit(text: string): void;
/** The tools this run may call. */
export function tools(): ToolSpec[];
/** Calls a tool. The arguments are an object or JSON text. */
export function callTool(name: string, args: object | string): string;

export interface Item {
  id: string;
  /** The operation that added the record; the same for all its versions. */
  lineage: string;
  type: string;
  content: Uint8Array;
  /** Who wrote it: the public key that signed. */
  author: string;
  written: { seconds: number; nanoseconds: number };
  run?: string;
  receipt?: string;
  /** Other current versions of the same record. */
  conflicts: string[];
  /** The content as UTF-8. */
  text(): string;
}

/** A part of the person's vault. Every method throws `TallyError` where the agent may not do it. */
export interface Namespace {
  readonly name: string;
  add(content: string | Uint8Array, options?: { type?: string; receipt?: string | null }): string;
  append(contents: (string | Uint8Array)[], options?: { type?: string }): string[];
  supersede(targets: string[], content: string | Uint8Array, options?: { type?: string; receipt?: string | null }): string;
  retract(targets: string[], reason?: string): string;
  get(id: string): Item | null;
  items(typePrefix?: string): Generator<Item>;
}

/** The namespaces of the person's vault that may be used. */
export function namespaces(): { name: string; access: "read" | "append" | "curate" }[];

/** The namespace of that name. Nothing is asked of the host yet. */
export function namespace(name: string): Namespace;

export type Reply = string | { text: string; data?: unknown };

/** Makes a function the agent of this component: `export const handler = agent((input) => ...)`. */
export function agent(handle: (input: Input) => Reply): { handle(input: Input): { text: string; dataJson: string | null } };
