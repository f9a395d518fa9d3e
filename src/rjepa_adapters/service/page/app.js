// The page of `rjepa-cli serve`. Everything that comes from a text is set as text, never as markup.

const get = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const LEVELS = [50, 75, 90, 97]; // Percentiles; their colours are in style.css.
const NEAREST = 3;
const LISTED = 50; // Stored records at a time.
let info = null;
let picked = null; // The stored record that the fields hold, until they are changed.
let records = [];

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

async function ask(path, body) {
  const headers = { accept: "application/json" };
  if (get("token").value) headers.authorization = `Bearer ${get("token").value}`;
  const options = { headers };
  if (body) {
    options.method = "POST";
    options.body = JSON.stringify(body);
    headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The service does not answer; is it still running?");
  }
  const facts = await answer.json().catch(() => ({}));
  if (answer.status === 401) get("token-row").hidden = false;
  if (!answer.ok) {
    const where = facts.pointer ? ` (${facts.pointer.replace(/^\//, "")})` : "";
    throw new Error(`${facts.title || answer.status}${where}: ${facts.detail || "no reason was given"}`);
  }
  return facts;
}

function say(status, error = "") {
  get("status").textContent = status;
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
  const llm = info.llm ? `texts are encoded with ${info.llm}` : "no LLM is loaded: pick a stored solution";
  get("about").textContent = `World model of latent space ${info.fingerprint}, objective ${info.objective}; ${llm}.`;
  if (info.verifies) {
    get("meaning").textContent = "The surprise says how unexpected a step is to this world model; how probably it is wrong, and the answer right, says the verifier.";
  }
  const pasted = Boolean(info.llm);
  for (const id of ["problem", "solution-a", "solution-b"]) get(id).readOnly = !pasted;
  get("compare").disabled = !pasted;
  if (info.store && !records.length) await list();
  say("");
}

async function list() {
  const last = records.at(-1);
  const behind = last ? `&after=${encodeURIComponent(last.problem_id)}&sample=${last.sample}` : "";
  const found = await ask(`/records?count=${LISTED}${behind}`);
  get("pick-row").hidden = false;
  get("more")?.remove();
  for (const record of found.records) {
    option(String(records.length), `${record.problem_id}: ${record.problem.slice(0, 90)}`);
    records.push(record);
  }
  if (found.records.length === LISTED && records.length < found.total) {
    option("more", `… more, of ${found.total}`).id = "more";
  }
}

function option(value, text) {
  const found = make("option", "", text);
  found.value = value;
  get("pick").append(found);
  return found;
}

async function pick() {
  if (get("pick").value === "more") {
    const next = records.length;
    try {
      await list();
    } catch (error) {
      say("", error.message);
      return;
    }
    get("pick").value = next < records.length ? String(next) : "";
  }
  picked = get("pick").value === "" ? null : records[Number(get("pick").value)];
  if (!picked) return;
  get("problem").value = picked.problem;
  get("solution-a").value = picked.solution;
}

function scored(solution) {
  const shared = { context: get("past").checked ? "past" : "others", expected: info.store ? NEAREST : 0 };
  if (picked && solution === picked.solution) {
    return ask("/score_record", { ...shared, problem_id: picked.problem_id, sample: picked.sample });
  }
  return ask("/score_text", { ...shared, problem: get("problem").value, solution });
}

async function submit(event) {
  event.preventDefault();
  if (!info) await start();
  if (!info) return;
  const solutions = [get("solution-a").value];
  if (get("compare").checked) solutions.push(get("solution-b").value);
  if (!get("problem").value.trim() || solutions.some((text) => !text.trim())) {
    say("", "A problem and each solution are needed.");
    return;
  }
  get("score").disabled = true;
  say("Scoring …");
  try {
    const answers = await Promise.all(solutions.map(scored));
    show(answers);
    const each = (words) => answers.map((one, i) => (answers.length > 1 ? `${"AB"[i]}: ` : "") + words(one)).join("; ");
    const worst = `The most surprising: ${each((one) => `step ${one.worst + 1} of ${one.steps.length}`)}.`;
    say(answers.every(verified) ? `${worst} Probably wrong: ${each((one) => (hasWrong(one) ? `step ${one.wrong_step + 1}` : "none"))}.` : worst);
    get("results").focus({ preventScroll: true });
  } catch (error) {
    say("", error.message);
  } finally {
    get("score").disabled = false;
  }
}

// Whether there is a verdict, and whether it names a step; services without verifiers have no such fields.
function verified(answer) {
  return typeof answer.right === "number";
}

function hasWrong(answer) {
  return typeof answer.wrong_step === "number";
}

function show(answers) {
  const largest = Math.max(...answers.flatMap((one) => one.steps.map((step) => step.surprise)));
  get("columns").replaceChildren(...answers.map((one, i) => column(one, answers.length > 1 ? "AB"[i] : "", largest)));
  legend(answers.every((one) => one.steps.every((step) => step.percentile === null)));
}

function legend(hidden) {
  get("legend").hidden = hidden;
  const names = LEVELS.map((edge, i) => (i ? `${LEVELS[i - 1]}–${edge} %` : `below ${edge} %`));
  names.push(`above ${LEVELS.at(-1)} %`);
  const swatches = names.map((name, i) => make("span", `swatch level-${i}`, name));
  get("legend").replaceChildren(get("legend").firstElementChild, ...swatches);
}

function column(answer, name, largest) {
  const found = make("section", "column");
  found.append(make("h2", "", name ? `Solution ${name}` : "Steps"));
  const ends = answer.answer ? ` Its answer: ${answer.answer}` : "";
  found.append(make("p", "number", `Mean surprise ${digits(answer.surprise)} over ${answer.steps.length} steps.${ends}`));
  if (verified(answer)) {
    const verdict = make("p", "verdict");
    verdict.append(make("span", "number", `Probability that the answer is right: ${percent(answer.right)}`), bar(answer.right));
    found.append(verdict);
  }
  const list = make("ol", "steps");
  const wrong = hasWrong(answer) ? answer.wrong_step : -1;
  answer.steps.forEach((step, i) => list.append(row(step, i, i === answer.worst, largest, i === wrong)));
  found.append(list);
  if (answer.expected.length) found.append(expected(answer));
  return found;
}

function row(step, i, worst, largest, wrong) {
  const level = step.percentile === null ? "none" : LEVELS.filter((edge) => step.percentile >= edge).length;
  const found = make("li", `step level-${level}${worst ? " worst" : ""}`);
  found.dataset.step = String(i + 1);
  found.append(make("div", "words", step.text.trim() || "(no text is known)"));
  const facts = make("div", "facts");
  facts.append(make("span", "", `Step ${i + 1}${step.thinking ? ", thinking" : ""}`));
  facts.append(bar(largest > 0 ? step.surprise / largest : 0));
  facts.append(make("span", "number", `surprise ${digits(step.surprise)}`));
  if (step.percentile !== null) {
    facts.append(make("span", "number", `above ${Math.round(step.percentile)} % of validation’s steps`));
  }
  if (worst) facts.append(make("span", "mark", "▲ the most surprising"));
  found.append(facts);
  if (typeof step.wrong === "number") {
    const verdict = make("div", "facts verdict");
    verdict.append(make("span", "number", `probably wrong: ${percent(step.wrong)}`), bar(step.wrong));
    if (wrong) verdict.append(make("span", "mark", "✗ probably the wrong step"));
    found.append(verdict);
    found.classList.toggle("wrong", wrong);
  }
  return found;
}

function bar(share) {
  const found = make("div", "bar");
  found.setAttribute("aria-hidden", "true");
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("viewBox", "0 0 100 1");
  const filled = document.createElementNS(SVG, "rect");
  filled.setAttribute("width", String(100 * share));
  filled.setAttribute("height", "1");
  picture.append(filled);
  found.append(picture);
  return found;
}

function expected(answer) {
  const found = make("div", "expected");
  found.append(make("h3", "", `Expected at step ${answer.worst + 1} instead`));
  found.append(make("p", "hint", "The stored steps nearest to what the world model predicted there:"));
  const list = make("ol");
  for (const near of answer.expected) {
    const item = make("li", "", near.text.trim() || "(no text is known)");
    item.append(make("span", "from", `step ${near.step + 1} of ${near.problem_id}, distance ${digits(near.distance)}: ${near.problem.slice(0, 140)}`));
    list.append(item);
  }
  found.append(list);
  return found;
}

// Only what is certain is 0 or 100 %.
function percent(share) {
  const rounded = Math.round(100 * share);
  if (rounded === 0 && share > 0) return "< 1 %";
  if (rounded === 100 && share < 1) return "> 99 %";
  return `${rounded} %`;
}

function digits(value) {
  return value.toPrecision(3);
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
get("pick").addEventListener("change", pick);
get("compare").addEventListener("change", compare);
get("token").addEventListener("change", start);
get("problem").addEventListener("input", () => { picked = null; });
compare();
start();
