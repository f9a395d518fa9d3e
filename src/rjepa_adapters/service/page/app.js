// The page of `rjepa-cli serve`: what can be scored is chosen, scored, shown, and kept in the address.

import { about } from "./about.js";
import { ask } from "./api.js";
import { get, make, shortened } from "./dom.js";
import { fromFragment, ofText, toFragment } from "./link.js";
import { picker } from "./picker.js";
import { show, told } from "./results.js";

const NEAREST = 3;
let info = null;
let shown = null; // Problem, solutions with the requests that score them, context.
let turn = 0; // What was chosen last is shown, whatever is answered last.

// The results say what the status says of them; only while they are awaited is it seen.
function say(status, error = "", seen = false) {
  get("status").textContent = status;
  get("status").classList.toggle("quiet", !seen);
  get("error").textContent = error;
}

async function start() {
  try {
    info = await ask("/info");
  } catch (error) {
    get("about").textContent = "";
    say("", error.message);
    return;
  }
  get("token-row").hidden = !get("token").value;
  about(info);
  say("");
  await Promise.all([restore(), examples()]);
}

async function examples() {
  get("examples").hidden = false;
  try {
    const found = (await ask("/examples")).examples;
    get("cards").replaceChildren(...found.map(card));
    get("no-examples").hidden = found.length > 0;
    get("no-examples").textContent = info.store
      ? "This store has no two short solutions with texts to make examples of."
      : "There are none without stored solutions or an LLM.";
  } catch (error) {
    say("", error.message);
  }
}

function card(example) {
  const button = make("button", "card", example.title);
  button.type = "button";
  button.dataset.example = example.name;
  const note = make("p", "hint", example.note);
  note.id = `note-${example.name}`;
  button.setAttribute("aria-describedby", note.id);
  button.addEventListener("click", () => score({ ...example, context: context() }));
  return make("li", "", button, make("p", "excerpt", shortened(example.problem, 90)), note);
}

const context = () => (get("past").checked ? "past" : "others");

async function score(wanted, remember = true) {
  const mine = ++turn;
  say("Scoring …", "", true);
  get("score").disabled = true;
  try {
    const more = { context: wanted.context, expected: info.store ? NEAREST : 0 };
    const answers = await Promise.all(wanted.solutions.map((one) => ask(one.path, { ...one.body, ...more })));
    if (mine !== turn) return;
    shown = { ...wanted, problem: answers[0].problem };
    fill(answers);
    show(info, answers, shown.solutions);
    say(told(answers));
    if (remember) history.pushState(null, "", toFragment(shown));
    get("results").focus({ preventScroll: true });
    get("status").scrollIntoView({ block: "nearest" });
  } catch (error) {
    if (mine === turn) say("", error.message);
  } finally {
    if (mine === turn) get("score").disabled = false;
  }
}

// The form holds what is shown, to be changed and scored again.
function fill(answers) {
  get("past").checked = shown.context === "past";
  get("problem").value = shown.problem;
  shown.solutions.forEach((one, i) => {
    one.text ??= answers[i].steps.map((step) => step.text.trim()).join("\n");
  });
  get("solution-a").value = shown.solutions[0].text;
  get("solution-b").value = shown.solutions[1]?.text ?? "";
  get("compare").checked = shown.solutions.length > 1;
  compare();
}

async function submit(event) {
  event?.preventDefault();
  if (!info) await start();
  if (!info?.llm) return;
  const problem = get("problem").value;
  const texts = [get("solution-a").value];
  if (get("compare").checked) texts.push(get("solution-b").value);
  if (!problem.trim() || texts.some((text) => !text.trim())) {
    say("", "A problem and each solution are needed.");
    return;
  }
  // What was not changed is scored as it was.
  const kept = shown && problem === shown.problem ? shown.solutions : [];
  const solutions = texts.map((text) => kept.find((one) => one.text === text) ?? ofText(problem, text));
  await score({ problem, solutions, context: context() });
}

async function restore() {
  const wanted = fromFragment(location.hash);
  if (wanted) await score(wanted, false);
}

function pick(record) {
  const body = { problem_id: record.problem_id, sample: record.sample };
  const solution = { text: record.solution, path: "/score_record", body, foreign: null, from_problem: null };
  score({ problem: record.problem, solutions: [solution], context: context() });
}

async function copy() {
  try {
    await navigator.clipboard.writeText(location.href);
    get("link").textContent = "Copied";
  } catch {
    get("link").textContent = "Copy it from the address bar";
  }
  setTimeout(() => { get("link").textContent = "Copy link"; }, 2000);
}

function compare() {
  const two = get("compare").checked;
  get("second").hidden = !two;
  document.body.classList.toggle("single", !two);
}

get("form").addEventListener("submit", submit);
get("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) get("form").requestSubmit();
});
get("compare").addEventListener("change", compare);
get("past").addEventListener("change", () => { if (shown) score({ ...shown, context: context() }); });
get("link").addEventListener("click", copy);
get("token-row").addEventListener("submit", (event) => event.preventDefault());
get("token").addEventListener("change", start);
window.addEventListener("popstate", restore);
picker(pick, (message) => say("", message));
compare();
start();
