// Write a tool plugin for Tally in JavaScript:
//
//     import { plugin } from "./sdk/tally-plugin.js";
//
//     export const tools = plugin({
//       shout: {
//         description: "Writes a text in capitals.",
//         parameters: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
//         run: ({ text }) => text.toUpperCase(),
//       },
//     });
//
// A plugin is built for the world `tool`: say so in tally.toml. The model's arguments are whatever it wrote, as an
// object: check them.

import { Chat, TallyError, guarded, json, parseJson, text } from "./common.js";

export { Answer, Chat, Generation, TallyError, embed, log, models, now, parseJson, random, setting } from "./common.js";

const MAX_ARGUMENT_CHARACTERS = 256 * 1024;

/** Starts a request whose last message is from the user. */
export function chat(user = "") {
  const request = new Chat({});
  return user === "" ? request : request.message("user", user);
}

/** Makes an object of tools the tools of this component: `export const tools = plugin({...})`. */
export function plugin(tools) {
  const known = new Map(Object.entries(tools));
  const specs = [...known].map(([name, tool]) => ({
    name: text(name, "a tool's name"),
    description: text(tool.description, "a tool's description"),
    parametersSchema: json(tool.parameters, "a tool's parameters"),
  }));
  return {
    list: () => specs,
    call: (name, argumentsJson) => guarded(() => run(known, name, argumentsJson)),
  };
}

function run(known, name, argumentsJson) {
  const tool = known.get(name);
  if (!tool) throw new TallyError("invalid", `there is no tool of this name; there are: ${[...known.keys()].join(", ")}`);
  if (argumentsJson.length > MAX_ARGUMENT_CHARACTERS) {
    throw new TallyError("invalid", `arguments longer than the ${MAX_ARGUMENT_CHARACTERS} characters a tool reads`);
  }
  let args;
  try {
    args = parseJson(argumentsJson);
  } catch (error) {
    throw new TallyError("invalid", `arguments of ${name}: ${error.message}`);
  }
  if (args === null || typeof args !== "object" || Array.isArray(args)) {
    throw new TallyError("invalid", `arguments of ${name}: not a JSON object`);
  }
  return text(tool.run(args), "a tool's answer");
}
