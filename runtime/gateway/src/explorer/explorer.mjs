// What the explorer's pages do where scripts run: the overview keeps itself new, and a receipt's page checks the proof.
// Nothing here draws from texts as markup, and nothing leaves the page.
import { load } from "./verifier.mjs";

const at = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// --- The overview: the part that changes is fetched and put in the place of the old one.

const EVERY_MS = 2000;

async function renew() {
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      if (answer.ok && fresh) at("live").replaceWith(document.adoptNode(fresh));
    } catch {
      // The server is away: what stands there says when it was asked.
    }
  }
  setTimeout(renew, EVERY_MS);
}

// --- A receipt.

const MARKS = { pass: "holds", fail: "FAILS", "not-established": "not known" };

async function bytes(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

function say(good, sentence) {
  const verdict = at("verdict");
  verdict.className = good ? "notice" : "notice bad";
  verdict.textContent = sentence;
}

const CLASSES = { pass: "mark own", fail: "mark past", "not-established": "mark" };

function list(title, verdict) {
  const lines = verdict.checks.map((check) =>
    element("li", { class: `check ${check.status}` },
      element("span", { class: CLASSES[check.status] }, MARKS[check.status]),
      element("span", {}, check.sentence)));
  return [element("h3", {}, title), element("ul", { class: "checks" }, ...lines)];
}

function show(answer, page, ownGenesis) {
  const asked = answer.entry?.receipt === page.dataset.receipt;
  if (answer.refused) say(false, `Not checked: the ${answer.refused.part} is none: ${answer.refused.reason}.`);
  else if (answer.entry && !asked) say(false, "Checked here, and it does NOT hold: the proof is of another receipt.");
  else if (answer.verified) say(true, `Checked here, in your browser: it holds. The receipt existed by ${answer.knownSince}.`);
  else say(false, "Checked here, in your browser, and it does NOT hold.");

  const judged = [["That it was settled", answer.ledger], ["The receipt itself", answer.receipt]].filter(([, verdict]) => verdict);
  at("checks").replaceChildren(...judged.flatMap(([title, verdict]) => list(title, verdict)));
  const whose = ownGenesis ? "your own genesis file" : "the genesis file that this server gave";
  at("believed").textContent = answer.chain
    ? `Believed was a quorum of the validators of ${whose}, which begins the chain ${answer.chain}. Compare that name with the one you know.`
    : "";
  at("unproved").replaceChildren(element("details", {},
    element("summary", {}, "What this does not prove"),
    element("ul", { class: "trace" }, ...judged.flatMap(([, verdict]) => verdict.notProved.map((sentence) => element("li", {}, sentence))))));
  at("report").hidden = false;
  if (answer.words.length > 0) {
    at("said-none")?.remove();
    at("said").replaceChildren(...answer.words.map(({ about, words }) =>
      element("div", {}, element("dt", {}, about), element("dd", {}, words))));
  }
}

async function check(page) {
  const [verifier, proof, genesis] = await Promise.all([
    fetch(page.dataset.module).then(load),
    bytes(page.dataset.proof),
    bytes(page.dataset.genesis),
  ]);
  const own = {};
  const judge = () =>
    show(verifier.verify({ proof, genesis: own.genesis ?? genesis, receipt: own.receipt, now: Date.now() }), page, own.genesis != null);
  for (const name of ["receipt", "genesis"]) {
    at(`own-${name}`).addEventListener("change", async (event) => {
      const [chosen] = event.target.files;
      own[name] = chosen ? new Uint8Array(await chosen.arrayBuffer()) : null;
      judge();
    });
  }
  at("own").hidden = false;
  judge();
}

const page = at("check");
if (page?.dataset.module) {
  check(page).catch((error) => say(false, `Not checked: ${error.message}.`));
} else if (at("live")) {
  setTimeout(renew, EVERY_MS);
}
