// Stored solutions, found by id or by words, some at a time; none are asked for before the first look.

import { ask } from "./api.js";
import { counted, get, make, shortened } from "./dom.js";

const COUNT = 20;
const PAUSE = 200; // Milliseconds without a key until it searches.
let timer = 0;
let asked = 0; // The last search counts, whichever is answered last.
let listed = 0;
let last = null;

export function picker(pick, fail) {
  const search = (more) => look(more, pick).catch((error) => fail(error.message));
  get("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE, false);
  });
  get("search").addEventListener("focus", () => { if (!asked) search(false); });
  get("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      clearTimeout(timer);
      search(false);
    }
  });
  get("more").addEventListener("click", () => search(true));
}

async function look(more, pick) {
  const number = ++asked;
  const words = get("search").value.trim();
  const query = new URLSearchParams({ count: String(COUNT) });
  if (words) {
    query.set("search", words);
    if (more) query.set("first", String(listed));
  } else if (more && last) {
    query.set("after", last.problem_id);
    query.set("sample", String(last.sample));
  }
  const found = await ask(`/records?${query}`);
  if (number !== asked) return;
  const items = found.records.map((record) => item(record, pick));
  listed = items.length + (more ? listed : 0);
  last = found.records.at(-1) ?? null;
  if (more) get("records").append(...items);
  else get("records").replaceChildren(...items);
  get("found").textContent = words ? told(found) : `${counted(found.total, "solution")}, the first ${listed} listed.`;
  get("more").hidden = !items.length || listed >= found.total;
  if (more) items[0]?.firstChild.focus();
}

function told(found) {
  const all = found.searched === undefined ? "" : ` of ${found.searched.toLocaleString("en")} searched`;
  return found.total ? `${counted(found.total, "solution")}${all}; ${listed} listed.` : `Nothing found${all}.`;
}

function item(record, pick) {
  const name = record.sample ? `${record.problem_id}#${record.sample}` : record.problem_id;
  const button = make("button", "record", make("b", "", name), ` ${record.split}, ${counted(record.steps, "step")} `, make("span", "", shortened(record.problem, 110)));
  button.type = "button";
  button.addEventListener("click", () => pick(record));
  return make("li", "", button);
}
