// Scored solutions: a sentence, a bar for each step, and what was expected where one stands out.

import { above, bar, digits, get, make, percent, shortened } from "./dom.js";

const EDGES = [75, 90]; // Percentiles where the colour changes, below the one that stands out.
let high = 95;

// Whether there is a verdict, and whether it names a step; services without verifiers have no such fields.
const verified = (answer) => typeof answer.right === "number";
const hasWrong = (answer) => typeof answer.wrong_step === "number";
const known = (answer) => answer.steps.every((step) => step.percentile !== null);
// Whether the most surprising step is worth pointing out.
export const standsOut = (answer) => known(answer) && answer.steps[answer.worst].percentile >= high;

export function show(info, answers, solutions) {
  high = info.high_percentile ?? high;
  get("intro").hidden = true;
  get("shown").hidden = false;
  document.body.classList.add("scored");
  get("shown-problem").textContent = answers[0].problem;
  get("columns").replaceChildren(...answers.map((one, i) => column(one, solutions[i], answers.length > 1 ? "AB"[i] : "")));
  legend(answers);
}

// The result in a sentence.
export function told(answers) {
  const each = answers.map((one, i) => (answers.length > 1 ? `${"AB"[i]}: ` : "") + sentence(one));
  return each.join(" ");
}

function sentence(answer) {
  const worst = answer.steps[answer.worst];
  const name = `step ${answer.worst + 1} of ${answer.steps.length}`;
  let found;
  if (!known(answer)) found = `The most surprising is ${name}; there is too little to compare it with.`;
  else if (standsOut(answer)) found = `${capital(name)} stands out, ${above(worst.percentile)} ${answer.compared}.`;
  else found = `No step stands out; the most surprising is ${name}, ${above(worst.percentile)} ${answer.compared}.`;
  if (!verified(answer)) return found;
  return `${found} Probably wrong: ${hasWrong(answer) ? `step ${answer.wrong_step + 1}` : "none"}.`;
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function column(answer, solution, name) {
  const found = make("section", "column", make("h2", "", name ? `Solution ${name}` : "Solution"));
  found.append(make("p", "lead", sentence(answer)));
  if (solution.foreign !== null) found.append(make("p", "foreign", foreign(answer, solution)));
  if (verified(answer)) {
    found.append(make("p", "verdict", make("span", "number", `Probability that the answer is right: ${percent(answer.right)}`), bar(answer.right)));
  }
  const list = make("ol", "steps");
  const wrong = hasWrong(answer) ? answer.wrong_step : -1;
  answer.steps.forEach((step, i) => list.append(row(step, i, i === answer.worst && standsOut(answer), i === wrong, i === solution.foreign)));
  found.append(list);
  if (answer.given || answer.reference) found.append(ending(answer));
  if (answer.split) found.append(make("p", "hint", `${part(answer.split)} Mean surprise ${digits(answer.surprise)}.`));
  if (standsOut(answer) && answer.expected.length) found.append(expected(answer));
  return found;
}

function foreign(answer, solution) {
  const step = answer.steps[solution.foreign];
  const from = solution.from_problem ? ` (“${shortened(solution.from_problem, 90)}”)` : "";
  const put = `Step ${solution.foreign + 1} was taken from another problem${from}: `;
  if (!known(answer) || !step) return `${put}nothing can be said of it.`;
  const noticed = step.percentile >= high;
  if (noticed) return `${put}the world model noticed.`;
  return `${put}the world model did not notice, ${above(step.percentile)}.`;
}

function row(step, i, worst, wrong, isForeign) {
  const none = step.percentile === null;
  const level = none ? "none" : [...EDGES, high].filter((edge) => step.percentile >= edge).length;
  const found = make("li", `step level-${level}${worst ? " worst" : ""}`);
  found.dataset.step = String(i + 1);
  found.append(make("div", "words", step.text.trim() || "(no text is known)"));
  const facts = make("div", "facts", make("span", "which-step", `Step ${i + 1}${step.thinking ? ", thinking" : ""}`));
  if (none) facts.append(make("span", "number", `surprise ${digits(step.surprise)}`));
  else facts.append(bar(step.percentile / 100), make("span", "number place", above(step.percentile)));
  if (worst) facts.append(make("span", "mark", "▲ the most surprising"));
  if (isForeign) facts.append(make("span", "", "from another problem"));
  if (!none) facts.title = `surprise ${digits(step.surprise)}`;
  found.append(facts);
  if (typeof step.wrong === "number") {
    const verdict = make("div", "facts verdict", make("span", "number", `probably wrong: ${percent(step.wrong)}`), bar(step.wrong));
    if (wrong) verdict.append(make("span", "mark", "✗ probably the wrong step"));
    found.append(verdict);
    found.classList.toggle("wrong", wrong);
  }
  return found;
}

function ending(answer) {
  const { given, reference } = answer;
  const found = make("p", "answer number", "Answer given: ", make("b", "", given || "none found"));
  found.append("; expected: ", reference ? make("b", "", reference) : "not stored");
  if (given && reference && same(given) === same(reference)) found.append(" ✓ the same");
  return found;
}

const same = (answer) => answer.replace(/[\s,$.]+$|[\s,$]/g, "").toLowerCase();

function part(split) {
  if (split === "train") return "A problem of the training part: a world model trained on this store has seen it.";
  return `A problem of the ${split} part, which the world model was not trained on.`;
}

function expected(answer) {
  const found = make("div", "expected", make("h3", "", `Expected at step ${answer.worst + 1} instead`));
  found.append(make("p", "hint", "The steps of other stored problems that are nearest to what was predicted there:"));
  const list = make("ol");
  for (const near of answer.expected) {
    const from = `${near.split} part, step ${near.step + 1} of ${near.problem_id}, distance ${digits(near.distance)}: ${shortened(near.problem, 140)}`;
    list.append(make("li", "", near.text.trim() || "(no text is known)", make("span", "from", from)));
  }
  found.append(list);
  return found;
}

function legend(answers) {
  const edges = [...EDGES, high];
  if (!answers.every(known)) {
    get("legend").replaceChildren(make("p", "hint", "No percentage: validation had too few solutions of this length to compare with."));
    return;
  }
  const names = [`below ${edges[0]} %`, `${edges[0]}–${edges[1]} %`, `${edges[1]}–${high} %`, `from ${high} %: stands out`];
  const words = [...new Set(answers.map((one) => one.compared))].join(", and ");
  get("legend").replaceChildren(make("span", "", `Bar and colour: surprise above … ${words}:`), ...names.map((name, i) => make("span", `swatch level-${i}`, name)));
}
