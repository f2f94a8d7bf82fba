// Loads the verifier and asks it. Nothing leaves the page, and the module can call nothing outside itself.
//
//   const verifier = await load(bytesOrResponseOfTheWasm);
//   const answer = verifier.verify({ proof, receipt, genesis, policy, receiptPolicy, now: Date.now() });
//
// Each part is a Uint8Array or a string, or left out. What the answer has is in src/lib.rs.

const PARTS = ["proof", "receipt", "genesis", "policy", "receiptPolicy"];

export async function load(source) {
  const imports = {};
  const { instance } =
    source instanceof Response
      ? await WebAssembly.instantiateStreaming(source, imports)
      : await WebAssembly.instantiate(source, imports);
  const { memory, tally_part, tally_verify, tally_answer_length, tally_reset } = instance.exports;
  return {
    verify(given) {
      tally_reset();
      PARTS.forEach((name, part) => {
        if (given[name] == null) return;
        const bytes =
          typeof given[name] === "string" ? new TextEncoder().encode(given[name]) : given[name];
        const address = tally_part(part, bytes.length);
        if (address === 0) throw new RangeError(`${name} is too long to be one: ${bytes.length} bytes`);
        new Uint8Array(memory.buffer, address, bytes.length).set(bytes);
      });
      const address = tally_verify(given.now);
      const answer = new Uint8Array(memory.buffer, address, tally_answer_length());
      return JSON.parse(new TextDecoder().decode(answer));
    },
  };
}
