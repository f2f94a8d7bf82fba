// Stands in for the host: `tally:agent/*` becomes a module of functions that a test sets through `globalThis.host`.
import { register } from "node:module";

// The guests' engine has this (ECMAScript 2024); Node 18, which Debian 12 has, does not.
String.prototype.toWellFormed ??= function () {
    return this.replace(/\p{Surrogate}/gu, "\uFFFD");
};

globalThis.host = {};

const resolver = `
const PREFIX = "tally:agent/";
export async function resolve(specifier, context, next) {
  if (!specifier.startsWith(PREFIX)) return next(specifier, context);
  return { url: "fake:" + specifier.slice(PREFIX.length).split("@")[0], shortCircuit: true };
}
export async function load(url, context, next) {
  if (!url.startsWith("fake:")) return next(url, context);
  const name = url.slice("fake:".length);
  const source = "export default new Proxy({}, { get: (_, key) => (...args) => globalThis.host." + name + "[key](...args) });";
  return { format: "module", source, shortCircuit: true };
}
`;
register(`data:text/javascript,${encodeURIComponent(resolver)}`);
