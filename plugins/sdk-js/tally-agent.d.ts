import type { Input, ToolSpec } from "./common.js";
export * from "./common.js";

/** Shows text to whoever started the run, at once. */
export function emit(text: string): void;
/** The tools this run may call. */
export function tools(): ToolSpec[];
/** Calls a tool. The arguments are an object or JSON text. */
export function callTool(name: string, args: object | string): string;

export type Reply = string | { text: string; data?: unknown };

/** Makes a function the agent of this component: `export const handler = agent((input) => ...)`. */
export function agent(handle: (input: Input) => Reply): { handle(input: Input): { text: string; dataJson: string | null } };
