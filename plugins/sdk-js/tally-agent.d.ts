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

export type Voice = "user" | "person" | "assistant" | "tool" | "document";
export type Layer = "episode" | "fact";

export interface Turn {
  voice?: Voice;
  /** Needed for a person, and not to be given for the user. */
  speaker?: string | null;
  /** RFC 3339. Not to be given for the user, who spoke in this run. */
  at?: string | null;
  thread?: string;
  key?: string | null;
  text: string;
}

export interface Remembered { ids: string[]; known: number; forgotten: number; empty: number; secrets: string[] }

export interface Cited { episode: string; words?: string; speaker?: string; saidAt?: string; app?: string }

/** Where a memory comes from: who heard it, and the operation of the vault that wrote it, with the key that signed that. */
export interface Source { app: string; thread: string; operation: string; author: string; run?: string; receipt?: string }

/** A memory that may answer. */
export interface Hit {
  id: string;
  layer: Layer;
  /** Whether it stands in the place of a fact that was corrected. */
  corrected: boolean;
  text: string;
  speaker: string;
  voice: Voice;
  saidAt: string;
  begins?: string;
  ends?: string;
  categories: string[];
  confidence?: number;
  evidence: Cited[];
  source: Source;
  score: number;
  tokens: number;
}

export interface Recalled {
  /** The memories as a model reads them. */
  context: string;
  hits: Hit[];
  tokens: number;
  /** Whether to say "I do not know" rather than to answer from them. */
  abstain: boolean;
}

export interface ProfileLine {
  id: string;
  part: "lasting" | "recent" | "other";
  subject: string;
  text: string;
  categories: string[];
  saidBy: string;
  saidAt: string;
  begins?: string;
  planned: boolean;
  times: number;
  confidence: number;
  evidence: string[];
}

/** A memory of the person. Every method throws `TallyError` where the agent may not do it. */
export interface Memory {
  readonly namespace: string;
  remember(turns: Iterable<Turn>): Remembered;
  recall(question: string, options?: {
    asOf?: string | null;
    everything?: boolean;
    hits?: number;
    tokens?: number;
    only?: Layer | null;
    categories?: Iterable<string>;
    apps?: Iterable<string>;
    threads?: Iterable<string>;
    speakers?: Iterable<string>;
  }): Recalled;
  profile(): { bio: string; lines: ProfileLine[] };
  correct(id: string, text: string, why?: string): string;
  forget(ids: Iterable<string>, reason?: string): { ids: string[]; unproved: string[]; remains: string[] };
}

/** The person's long-term memory in the namespace of that name. Nothing is asked of the host yet. */
export function memory(namespace?: string): Memory;

/** Something that was said, or read. A turn of the user is the text of the run's input, whole. */
export function turn(text: string, options?: Omit<Turn, "text">): Turn;

export type Reply = string | { text: string; data?: unknown };

/** Makes a function the agent of this component: `export const handler = agent((input) => ...)`. */
export function agent(handle: (input: Input) => Reply): { handle(input: Input): { text: string; dataJson: string | null } };
