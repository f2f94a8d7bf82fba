// The part of JSON Schema (2020-12) that a flat form needs, checked by code after the model has filled it.

const CHECKS = {
  type: (value, type) => [type].flat().includes(typeOf(value)) || (type === "number" && typeOf(value) === "integer") || `is not of type ${type}`,
  enum: (value, allowed) => allowed.includes(value) || `is not one of ${allowed.join(", ")}`,
  const: (value, only) => value === only || `is not ${only}`,
  minLength: (value, least) => typeof value !== "string" || [...value].length >= least || `is shorter than ${least}`,
  maxLength: (value, most) => typeof value !== "string" || [...value].length <= most || `is longer than ${most}`,
  pattern: (value, pattern) => typeof value !== "string" || new RegExp(pattern, "u").test(value) || `does not match ${pattern}`,
  minimum: (value, least) => typeof value !== "number" || value >= least || `is less than ${least}`,
  maximum: (value, most) => typeof value !== "number" || value <= most || `is more than ${most}`,
  format: (value, format) => typeof value !== "string" || !FORMATS[format] || FORMATS[format].test(value) || `is not a ${format}`,
};
const SAYS_NOTHING = new Set(["title", "description", "default", "examples", "$comment"]);
const FORMATS = { date: /^\d{4}-\d{2}-\d{2}$/, email: /^[^@\s]+@[^@\s]+\.[^@\s]+$/, time: /^\d{1,2}:\d{2}(:\d{2})?$/ };

function typeOf(value) {
  if (value === null) return "null";
  return Number.isInteger(value) ? "integer" : typeof value;
}

/** What a field's schema asks that is not checked here: said, never silently skipped. */
export function unchecked(schema) {
  return Object.keys(schema).filter((key) => !Object.hasOwn(CHECKS, key) && !SAYS_NOTHING.has(key));
}

/** What is wrong with a field's value. */
export function problems(schema, value) {
  const wrong = Object.entries(schema).map(([key, rule]) => Object.hasOwn(CHECKS, key) && CHECKS[key](value, rule));
  return wrong.filter((problem) => typeof problem === "string");
}

/** The text that the model copied, as a value of the type that the schema asks for, if it is one. */
export function typed(schema, text) {
  const types = [schema.type ?? "string"].flat();
  const digits = text.replace(/[\s_']/g, "").replace(/\D+$/, "");
  if ((types.includes("number") || types.includes("integer")) && digits !== "" && Number.isFinite(Number(digits))) return Number(digits);
  if (types.includes("boolean") && /^(yes|true|no|false)$/i.test(text)) return /^(yes|true)$/i.test(text);
  return text;
}
