// {{name}}: answers a question, from the attached texts if there are any.
import { TallyError, agent, chat, log } from "./sdk/tally-agent.js";

// What a small model reads well.
const MAX_CONTEXT_CHARACTERS = 4_000;

export const handler = agent((input) => {
  if (input.text.trim() === "") throw new TallyError("invalid", 'ask something: tally run ... --input "..."');
  log(`${input.attachments.length} attachments`);

  const context = numbered(input.attachments);
  const question = context
    ? chat(`Context:\n${context}Question: ${input.text}`).system("Answer from the context and name the source.")
    : chat(input.text).system("You are a helpful assistant.");
  let answer;
  try {
    // `emit` shows the text as it comes. An error that is not caught becomes the run's outcome.
    answer = question.maxTokens(200).emit().send();
  } catch (error) {
    if (error.kind !== "denied") throw error;
    return `I may not use a model here (${error.message}). Grant it and ask again.`;
  }
  if (answer.text.trim() === "") return "I don't know.";
  return { text: answer.text, data: { tokens: answer.usage.completionTokens, receipt: answer.receipt.digest } };
});

/** The attachments' lines, numbered. */
function numbered(attachments) {
  const lines = attachments.flatMap((one) => one.text.split("\n")).filter((line) => line.trim() !== "");
  const text = lines.map((line, at) => `[${at + 1}] ${line}\n`).join("");
  return [...text].slice(0, MAX_CONTEXT_CHARACTERS).join("");
}
