// What is shown, as the address's fragment, which stays in the browser: texts are not sent with it.

const LETTERS = ["a", "b"];
const NUMBERS = ["sample", "foreign_at", "foreign_sample", "foreign_step"];

export function toFragment(shown) {
  const fields = new URLSearchParams();
  if (shown.solutions.some((one) => one.path === "/score_text")) fields.set("problem", shown.problem);
  shown.solutions.forEach((one, i) => {
    if (one.path === "/score_text") {
      fields.set(LETTERS[i], one.text);
      if (Array.isArray(one.body.solution)) fields.set(`${LETTERS[i]}.steps`, JSON.stringify(one.body.solution));
      if (one.foreign !== null) fields.set(`${LETTERS[i]}.foreign`, String(one.foreign));
      return;
    }
    for (const [name, value] of Object.entries(one.body)) fields.set(`${LETTERS[i]}.${name}`, String(value));
  });
  if (shown.context === "past") fields.set("context", "past");
  return `#${fields}`;
}

export function fromFragment(fragment) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  const problem = fields.get("problem") ?? "";
  const solutions = LETTERS.map((letter) => solution(fields, letter, problem)).filter(Boolean);
  const context = fields.get("context") === "past" ? "past" : "others";
  return solutions.length ? { problem, solutions, context } : null;
}

function solution(fields, letter, problem) {
  const text = fields.get(letter);
  if (text !== null) {
    const foreign = fields.get(`${letter}.foreign`);
    return ofText(problem, text, steps(fields.get(`${letter}.steps`)), foreign === null ? null : Number(foreign));
  }
  const body = {};
  for (const [name, value] of fields) {
    if (name.startsWith(`${letter}.`)) {
      const field = name.slice(letter.length + 1);
      body[field] = NUMBERS.includes(field) ? Number(value) : value;
    }
  }
  if (!("problem_id" in body)) return null;
  return { text: null, path: "/score_record", body, foreign: body.foreign_at ?? null, from_problem: null };
}

function steps(json) {
  try {
    return json === null ? null : JSON.parse(json);
  } catch {
    return null;
  }
}

export function ofText(problem, text, given = null, foreign = null) {
  const body = { problem, solution: given ?? text };
  return { text, path: "/score_text", body, foreign, from_problem: null };
}
