"use strict";
// Examples: inputs, targets and predictions, with marked differences and the attention of translators.

/** Create the tokens of one side of an alignment; tokens without an equal partner are marked. */
function aligned(pairs, side, separator) {
  const tokens = pairs.filter((pair) => pair[side] != null);
  const name = side === 0 ? "missing" : "wrong";
  const nodes = tokens.map((pair) => (pair[0] === pair[1] ? visible(pair[side]) : el("span", { class: name }, pair[side])));
  return el("span", { class: "text", dir: "auto" }, nodes.flatMap((node, index) => (index ? [separator, node] : [node])));
}

/** Show an output: numbers with few digits, other outputs as they are. */
function output(text, kind) {
  return quoted(kind === "numbers" ? text.split(" ").map((each) => number(Number(each), 5)).join(" ") : text);
}

/** Whether outputs are short, so that examples fit into the rows of a table. */
const isShort = (kind) => ["label", "set of labels", "numbers"].includes(kind);

/** Create the list of the worst examples of a run. */
function worstRows(rows, kind) {
  if (isShort(kind)) {
    const head = ["row", "input", "target", "prediction", ...(kind === "label" ? [] : [kind === "numbers" ? "error" : "wrong labels"])];
    return table("Examples with the largest errors", head, rows.map((row) => [row.row, quoted(row.input), output(row.target, kind),
      output(row.predicted, kind), ...(kind === "label" ? [] : [row.errors])]));
  }
  const unit = (row) => `${number(row.errors)} wrong ${row.unit ?? "label"}${row.errors === 1 ? "" : "s"}`;
  return el("ol", { class: "examples" }, rows.map((row) => el("li", {},
    el("span", { class: "soft small" }, `Row ${number(row.row)}: ${unit(row)}`),
    el("dl", {},
      el("dt", {}, "input"), el("dd", {}, quoted(row.input)),
      el("dt", {}, "target"), el("dd", {}, row.alignment ? aligned(row.alignment, 0, row.separator) : quoted(row.target)),
      el("dt", {}, "prediction"), el("dd", {}, !row.alignment ? quoted(row.predicted)
        : row.predicted === "" ? "(empty)" : aligned(row.alignment, 1, row.separator))),
    ...(row.pieces ?? []).map(attention))));
}

/** Create the attention of a translation: a chosen output token shows its weights above the source tokens. */
function attention(piece) {
  const reading = el("output", { class: "soft small", "aria-live": "polite" }, "Point at an output token, or choose one with the arrow keys.");
  const bars = piece.src.map(() => el("i", {}));
  const sources = el("div", { class: "tokens", "aria-hidden": "true", dir: "auto" }, piece.src.map((token, index) =>
    el("span", {}, el("span", { class: "weight" }, bars[index]), el("span", { class: "text" }, token))));
  const options = piece.tgt.map((token, index) =>
    el("span", { role: "option", tabindex: index ? -1 : 0, "aria-selected": "false" }, el("span", { class: "text" }, token)));
  const outputs = el("div", { class: "tokens", role: "listbox", "aria-label": "output tokens", "aria-orientation": "horizontal" }, options);

  function choose(index) {
    const weights = piece.weights[index];
    bars.forEach((bar, column) => { bar.style.height = `${100 * weights[column]}%`; });
    options.forEach((option, each) => {
      option.setAttribute("aria-selected", each === index);
      option.tabIndex = each === index ? 0 : -1;
    });
    const order = weights.map((_, column) => column).sort((a, b) => weights[b] - weights[a]).slice(0, 3);
    const parts = order.map((column) => `${visible(piece.src[column])} ${weights[column].toFixed(2)}`);
    reading.replaceChildren(`${visible(piece.tgt[index])} attends to ${parts.join(", ")}`);
  }
  options.forEach((option, index) => {
    option.addEventListener("pointerenter", () => choose(index));
    option.addEventListener("focus", () => choose(index));
    option.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: options.length - 1 };
      if (!(event.key in moves)) return;
      event.preventDefault();
      options[Math.min(options.length - 1, Math.max(0, moves[event.key]))].focus();
    });
  });
  return el("details", { class: "attention" }, el("summary", {}, "Attention"), sources, outputs, reading);
}

/** Create the outputs for the same inputs by each checkpoint of a run. */
function samplesOverTime(samples, kind) {
  const first = samples[samples.length - 1].outputs;
  if (isShort(kind)) {
    const head = ["input", "target", ...samples.map((sample) => `step ${number(sample.step)}`)];
    return table("Outputs of each checkpoint", head, first.map((record, row) => [quoted(record.src ?? record.audio ?? record.example ?? `row ${row + 1}`),
      output(record.target, kind), ...samples.map((sample) => (sample.outputs[row] ? output(sample.outputs[row].prediction, kind) : "–"))]));
  }
  return el("ol", { class: "examples" }, first.map((record, row) => {
    const input = record.src ?? record.audio ?? record.example;
    const fields = input == null ? [] : [el("dt", {}, "input"), el("dd", {}, quoted(input))];
    if (record.target != null) fields.push(el("dt", {}, "target"), el("dd", {}, quoted(record.target)));
    for (const sample of samples) {
      if (sample.outputs[row] == null) continue;
      fields.push(el("dt", {}, `step ${number(sample.step)}`), el("dd", {}, quoted(sample.outputs[row].prediction)));
    }
    return el("li", {}, el("dl", {}, fields));
  }));
}
