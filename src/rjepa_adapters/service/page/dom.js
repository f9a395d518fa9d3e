// Elements, and numbers as words. Everything that comes from a text is set as text, never as markup.

export const get = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

export function make(tag, className, ...parts) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...parts.filter((part) => part !== "" && part !== null && part !== undefined));
  return element;
}

export function bar(share) {
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("viewBox", "0 0 100 1");
  const filled = document.createElementNS(SVG, "rect");
  filled.setAttribute("width", String(100 * share));
  filled.setAttribute("height", "1");
  picture.append(filled);
  const found = make("div", "bar", picture);
  found.setAttribute("aria-hidden", "true");
  return found;
}

// Only what is certain is 0 or 100 %.
export function percent(share) {
  const rounded = Math.round(100 * share);
  if (rounded === 0 && share > 0) return "< 1 %";
  if (rounded === 100 && share < 1) return "> 99 %";
  return `${rounded} %`;
}

// A percentile: how many are below it.
export function above(percentile) {
  if (percentile >= 100) return "above all";
  return percentile <= 0 ? "above none" : `above ${Math.max(1, Math.floor(percentile))} %`;
}

export const digits = (value) => value.toPrecision(3);

export const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

export function shortened(text, most) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most).replace(/\s\S*$/, "")} …` : line;
}
