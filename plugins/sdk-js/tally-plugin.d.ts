import type { ToolSpec } from "./common.js";
export * from "./common.js";

export interface Tool {
  description: string;
  /** A JSON Schema of the arguments object. */
  parameters: object;
  /** The arguments are whatever the model wrote, as an object: check them. */
  run(args: Record<string, unknown>): string;
}

/** Makes an object of tools the tools of this component: `export const tools = plugin({...})`. */
export function plugin(tools: Record<string, Tool>): {
  list(): ToolSpec[];
  call(name: string, argumentsJson: string): string;
};
