// What the benchmark of the engine starts: four cheap host calls, then a reply. The same in Rust: ../bench-guest.
import { agent, log, now, random, setting } from "./sdk/tally-agent.js";

export const handler = agent((input) => {
  const at = Math.floor(now() / 1000);
  const chance = random(8);
  const name = setting("name") ?? "";
  log(input.text);
  return name + chance.reduce((sum, byte) => (Math.imul(sum, 31) + byte) >>> 0, at);
});
