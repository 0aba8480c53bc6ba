"use strict";
// Text of the data enters the page here only, as text nodes and attribute values, never as markup.

const VISIBLE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Return text with control characters and invisible marks as their codes, so that they can be seen. */
function visible(text) {
  return String(text).replace(VISIBLE, (mark) => `\u27e8${mark.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

/** Create an element with attributes and children; a child that is no node becomes text. */
function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value != null && value !== false) element.setAttribute(key, value);
  element.append(...children.flat().filter((each) => each != null).map((each) => (each instanceof Node ? each : visible(each))));
  return element;
}

/** Create an SVG element. */
function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.map((each) => (each instanceof Node ? each : visible(each))));
  return element;
}

/** Create an element with a text of the data, in its own direction. */
const quoted = (text, name = "span") => el(name, { class: "text", dir: "auto" }, text === "" ? "(empty)" : text);

/** Format a number with about `digits` significant digits, without exponents in the usual range. */
function number(value, digits = 4) {
  if (value == null || typeof value !== "number") return value == null ? "–" : String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size < 1e-3 || size >= 1e7) return value.toExponential(2);
  return Number(value.toPrecision(digits)).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

/** Create a table in a region that scrolls on its own: `rows` of cells; cells that are numbers are aligned. */
function table(caption, head, rows, name = "") {
  const cell = (each, index) => {
    const attributes = typeof each === "number" ? { class: "number" } : {};
    const content = typeof each === "number" ? number(each) : each;
    return index === 0 ? el("th", { scope: "row", ...attributes }, content) : el("td", attributes, content);
  };
  const isNumber = head.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === "number"));
  const heading = head.map((each, column) => el("th", { scope: "col", class: isNumber[column] ? "number" : null }, each));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": visible(caption) },
    el("table", { class: name || null }, el("caption", {}, caption), el("thead", {}, el("tr", {}, heading)),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
}

const runColor = (index) => `var(--run${index % 6})`;
