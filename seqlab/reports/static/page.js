"use strict";
// The page: its header, its sections with a list of links, and reloading while a training is watched.

const contents = JSON.parse(document.getElementById("contents").textContent);
const { runs } = contents;

const SECTIONS = [
  ["overview", "Overview", "", () => beside(runs, overview)],
  ["comparison", "Comparison", "Differences of the runs to the first one.", () => comparisons(contents.comparison)],
  ["diagnosis", "Diagnosis", "Findings of seqlab diagnose.", () => diagnosis(runs)],
  ["curves", "Curves", "Training values are means since the last point, with dropout; validation is without dropout. The nll has no label smoothing and no other extra terms. Point at a chart, or move with the arrow keys, to read its values.", () => curves(runs)],
  ["samples", "Samples over time", "Outputs for the same inputs by each checkpoint. A run stores its best and its last one; with --watch, the page keeps those of deleted ones.", () => samples(runs)],
  ["quality", "Quality by group", "Where the predictions for the validation set are right and wrong.", () => quality(runs)],
  ["confusion", "Confusion", "Which labels are predicted for which.", () => confusion(runs)],
  ["worst", "Worst examples", "Validation examples with the largest errors.", () => worst(runs)],
  ["data", "Data", "What was read, dropped and found before training.", () => data(runs)],
  ["config", "Config", "", () => config(runs)],
  ["left-out", "Left out", "Sections that this page does not have, and why.", () => leftOut(runs)],
];

function build() {
  const title = runs.map((run) => run.name).join(", ");
  document.title = visible(`${title} – seqlab report`);
  const kinds = [...new Set(runs.map((run) => run.model_noun))].join("; ");
  document.querySelector("header > div").append(el("h1", {}, title), el("p", { class: "soft" }, describe(kinds)));
  const links = document.querySelector("nav ul"), main = document.querySelector("main");
  for (const [id, name, explanation, create] of SECTIONS) {
    const node = create();
    if (node == null) continue;
    links.append(el("li", {}, el("a", { href: `#${id}` }, name)));
    main.append(el("section", { id, "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, name),
      explanation ? el("p", { class: "soft small" }, explanation) : null, node));
  }
}

function describe(kinds) {
  if (runs.length > 1) return `${runs.length} runs: ${kinds}.`;
  const { summary } = runs[0];
  const isDone = !summary.max_steps || summary.step >= summary.max_steps;
  const state = contents.reload_seconds ? "It is training now." : isDone ? "Its training has finished." : "Its training ended, or was stopped, before its last step.";
  return `This run is ${kinds} (${summary.kind}). ${state} Folder: ${runs[0].path}`;
}

/** Reload the page at intervals, unless that is switched off; keep the position and the choices. */
function reload(seconds) {
  const store = { read: (key) => { try { return sessionStorage.getItem(key); } catch { return null; } },
    write: (key, value) => { try { sessionStorage.setItem(key, value); } catch { /* a browser without storage */ } } };
  const isOn = el("input", { type: "checkbox", id: "reloading" });
  isOn.checked = store.read("reloading") !== "off";
  isOn.addEventListener("change", () => store.write("reloading", isOn.checked ? "on" : "off"));
  document.querySelector("header > div").append(el("p", { class: "screen small" }, el("label", {}, isOn, ` Reload every ${seconds} seconds`)));
  history.scrollRestoration = "manual";
  const inputs = () => [...document.querySelectorAll("fieldset input")], details = () => [...document.querySelectorAll("details")];
  const kept = JSON.parse(store.read("kept") ?? "null");
  if (kept) {
    inputs().forEach((input, index) => { if (input.checked !== kept.inputs[index] && (input.type !== "radio" || kept.inputs[index])) input.click(); });
    details().forEach((each, index) => { each.open = kept.details[index] ?? false; });
    requestAnimationFrame(() => requestAnimationFrame(() => window.scrollTo(0, kept.top)));
  }
  setInterval(() => {
    if (!isOn.checked) return;
    store.write("kept", JSON.stringify({ top: window.scrollY, inputs: inputs().map((each) => each.checked), details: details().map((each) => each.open) }));
    location.reload();
  }, 1000 * seconds);
}

build();
if (contents.reload_seconds) reload(contents.reload_seconds);
