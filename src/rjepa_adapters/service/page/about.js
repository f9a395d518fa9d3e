// What is served, in a sentence; its hashes in the details; what is not there, and how to get it.

import { counted, get, make } from "./dom.js";

const LLM = "--model LLM";
const STORE = "--store STORE";

export function about(info) {
  const knows = info.verifies
    ? "This world model marks the steps of a solution that it did not expect, and says how probably they are wrong."
    : "This world model marks the steps of a solution that it did not expect.";
  get("about").textContent = `${knows} ${has(info)}`;
  get("too-little").hidden = !info.too_little;
  get("too-little").textContent = info.too_little ? `${info.too_little[0].toUpperCase()}${info.too_little.slice(1)}.` : "";
  if (info.verifies) {
    get("meaning").textContent = "The surprise says how unexpected a step is to this world model; how probably it is wrong, and the answer right, says the verifier.";
  }
  get("facts").replaceChildren(...facts(info).flatMap(([name, value]) => [make("dt", "", name), make("dd", "", String(value))]));
  get("own").disabled = !info.llm;
  needs(get("needs-llm"), !info.llm, "To score texts of your own, start the service with the LLM that the world model was trained on:", command(info, LLM));
  get("picker").hidden = false;
  if (!info.store && !info.llm) get("intro").hidden = true;
  get("found").textContent = info.records ? `${counted(info.records, "solution")}; type to search them.` : "";
  get("picker-body").hidden = !info.store;
  needs(get("needs-store"), !info.store, "To search solutions, and to see what was expected in place of a step, start the service with a store:", command(info, STORE));
}

function has(info) {
  const stored = info.store ? `has ${counted(info.records ?? 0, "stored solution")} to pick from` : "";
  const texts = info.llm ? `reads your own with the LLM ${info.llm.split(/[\\/]/).pop()}` : "";
  const both = [stored, texts].filter(Boolean).join(", and ");
  return both ? `It ${both}.` : "It has neither stored solutions nor an LLM to read texts with, and takes only latents, as /docs describes.";
}

function facts(info) {
  const space = info.space ?? {};
  return [
    ["Objective", info.objective],
    ["Network", info.network || "not known"],
    ["Latent space", info.fingerprint],
    ["LLM of the latents", space.model],
    ["LLM loaded", info.llm ?? "none"],
    ["Layer", (space.layers ?? []).join(", ")],
    ["Width", info.hidden_size],
    ["Pooling", space.pooling],
    ["Steps", space.steps],
    ["Stands out from", `${info.high_percentile} % of validation’s steps on`],
  ].filter(([, value]) => value !== undefined && value !== null);
}

function command(info, missing) {
  const words = ["rjepa-cli serve", "--world-model RUN"];
  if (info.store) words.push(STORE);
  if (info.llm) words.push(LLM);
  return [...words, missing];
}

// Lines are broken between options alone.
function needs(element, hidden, words, line) {
  element.hidden = !hidden;
  const parts = line.flatMap((part, i) => [i ? " " : "", make("span", "option", part)]);
  if (hidden) element.replaceChildren(`${words} `, make("code", "", ...parts));
}
