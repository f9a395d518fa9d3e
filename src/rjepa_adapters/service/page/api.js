// Requests to the service. Its errors become errors whose message can be shown.

import { get } from "./dom.js";

export async function ask(path, body) {
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
