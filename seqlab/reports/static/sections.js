"use strict";
// The sections of the page: each function takes the runs and returns nodes, or null if there is nothing to show.

/** Put the content of each run beside that of the others, under its name; runs without content are left out. */
function beside(runs, content) {
  const parts = runs.map((run) => [run, content(run)]).filter(([, node]) => node != null);
  if (!parts.length) return null;
  if (runs.length === 1) return parts[0][1];
  return el("div", { class: "beside" }, parts.map(([run, node]) => el("div", {}, el("h3", {}, run.name), node)));
}

function overview(run) {
  const { summary } = run;
  const cards = (run.predictions?.scores ?? []).map((score) => [score.name, number(score.value),
    `95% interval ${number(score.interval[0])} to ${number(score.interval[1])}`]);
  if (!cards.length && summary.best)
    cards.push(...Object.entries(summary.best.scores).map(([name, value]) => [name, number(value), `validation, step ${number(summary.best.step)}`]));
  const steps = summary.max_steps ? `${number(summary.step)} of ${number(summary.max_steps)}` : number(summary.step);
  cards.push(["steps", steps, `${number(summary.minutes, 3)} minutes of training`]);
  const kept = Object.entries(summary.kept).map(([split, count]) => `${number(count)} ${split}`).join(", ");
  if (kept) cards.push([summary.rows_name, kept, null, "words"]);
  const size = summary.parameters ? `${number(summary.parameters)} parameters` : null;
  cards.push(["model", summary.family, size, "words"]);
  const list = el("dl", { class: "cards" }, cards.map(([name, value, note, kind]) =>
    el("div", {}, el("dt", {}, name), el("dd", { class: kind ?? null }, value, note ? el("small", {}, note) : null))));
  const count = run.predictions?.count;
  const source = count ? `Scores of the best checkpoint on ${number(count)} validation examples. The interval shows how much a score depends on the choice of these examples.` : null;
  return el("div", {}, list, source ? el("p", { class: "soft small" }, source) : null);
}

/** Create the figures of all curves, with the choice of the horizontal axis. */
function curves(runs) {
  if (!runs.some((run) => run.curves.length)) return null;
  const choice = { axis: "step", log: false };
  const panels = [...new Set(runs.flatMap((run) => run.curves.map((each) => each.panel)))];
  const first = panels.filter((panel) => panel === "loss" || panel.startsWith("validation"));
  const order = [...first, ...panels.filter((panel) => !first.includes(panel))];
  const body = el("div", { class: "charts" });
  const dashes = { training: "none", validation: runs.length > 1 ? "6 3" : "none" };
  const linesOf = (panel) => runs.flatMap((run, index) => run.curves.filter((each) => each.panel === panel).map((each, order) => ({
    label: runs.length > 1 ? `${run.name}, ${each.name}` : each.name, x: each[choice.axis], y: each.y,
    color: runColor(runs.length > 1 ? index : order), dash: dashes[each.name] ?? "2 3" })));
  const draw = () => {
    const end = Math.max(...runs.flatMap((run) => run.curves.flatMap((each) => each[choice.axis])));
    const range = () => [0, end];
    const xLabel = choice.axis === "step" ? "steps" : "minutes";
    body.replaceChildren(...order.map((panel) => {
      const lines = linesOf(panel);
      const figure = chart(lines, { title: panel, xLabel, log: () => choice.log && panel === "loss", range });
      if (lines.length > 1) figure.insertBefore(legend(lines), figure.children[1]);
      return figure;
    }));
  };
  const radio = (value, label, checked) => {
    const input = el("input", { type: "radio", name: "axis", value, checked: checked ? "" : null });
    input.addEventListener("change", () => { choice.axis = value; draw(); });
    return el("label", {}, input, ` ${label}`);
  };
  const log = el("input", { type: "checkbox" });
  log.addEventListener("change", () => { choice.log = log.checked; draw(); });
  draw();
  return el("div", {}, el("fieldset", {}, el("legend", {}, "Horizontal axis"), radio("step", "steps", true),
    radio("minutes", "minutes", false), el("label", {}, log, " logarithmic loss")), body);
}

function samples(runs) {
  return beside(runs, (run) => (run.samples.length ? samplesOverTime(run.samples, run.output_kind) : null));
}

/** Create a table of groups with bars, one column of scores for each run. */
function groupTable(runs, key, title, nameOfGroup) {
  const shown = runs.filter((run) => run.predictions?.[key]);
  if (!shown.length) return null;
  const first = shown[0].predictions[key];
  const isSame = shown.every((run) => run.predictions[key].groups.length === first.groups.length
    && run.predictions[key].groups.every((group, index) => group.group === first.groups[index].group));
  const sets = isSame ? [shown] : shown.map((run) => [run]);
  return el("div", {}, el("h3", {}, title), sets.map((set) => {
    const values = set.flatMap((run) => run.predictions[key].groups.map((group) => group.value));
    const top = Math.max(1e-12, ...values);
    const own = set[0].predictions[key];
    const rows = own.groups.map((group, index) => [group.group, group.count, ...set.map((run) => {
      const { value } = run.predictions[key].groups[index];
      const bar = el("span", {});
      bar.style.width = `${Math.max(0, Math.min(100, (100 * value) / top))}%`;
      bar.style.background = runColor(runs.length > 1 ? runs.indexOf(run) : 0);
      return el("span", { class: "number" }, number(value), el("span", { class: "bar", "aria-hidden": "true" }, bar));
    })]);
    const names = runs.length > 1 ? set.map((run) => run.name) : [own.metric];
    const caption = `${own.metric} by ${nameOfGroup(own)}`;
    return table(caption, [nameOfGroup(own), "count", ...names], rows);
  }));
}

function quality(runs) {
  const parts = [
    groupTable(runs, "by_length", "By length", (own) => own.unit),
    groupTable(runs, "by_frequency", "By frequency of the word in the training data", () => "occurrences in training"),
    labels(runs),
    beside(runs, (run) => (run.predictions?.numbers ? scatter(run.predictions.numbers) : null)),
  ].filter((part) => part != null);
  return parts.length ? el("div", {}, parts) : null;
}

function labels(runs) {
  const content = beside(runs, (run) => {
    const rows = run.predictions?.by_label ?? [];
    if (!rows.length) return null;
    const shown = rows.slice(0, 50).map((row) => [quoted(row.label), row.count, row.precision, row.recall, row.f1]);
    const left = rows.length > 50 ? el("p", { class: "soft small" }, `The 50 most frequent of ${number(rows.length)} labels.`) : null;
    return el("div", {}, table("percent, most frequent labels first", ["label", "count", "precision", "recall", "F1"], shown), left);
  });
  return content ? el("div", {}, el("h3", {}, "By label"), content) : null;
}

function confusion(runs) {
  return beside(runs, (run) => {
    const matrix = run.predictions?.confusion;
    if (!matrix) return null;
    const rows = matrix.counts.map((counts, row) => {
      const total = counts.reduce((sum, each) => sum + each, 0) || 1;
      return el("tr", {}, el("th", { scope: "row" }, quoted(matrix.labels[row])), counts.map((count, column) => {
        const name = `${matrix.labels[row]} predicted as ${matrix.labels[column]}: ${count}`;
        const cell = el("td", { class: row === column ? "right" : null, title: visible(name) }, count === 0 ? "·" : number(count));
        cell.style.background = `rgb(var(--accent-rgb) / calc(var(--shade) * ${count / total}))`;
        return cell;
      }));
    });
    const head = el("tr", {}, el("th", { scope: "col" }, "true label"), matrix.labels.map((label) => el("th", { scope: "col" }, quoted(label))));
    return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "confusion matrix" }, el("table", { class: "confusion" },
      el("caption", {}, "Rows: true labels. Columns: predicted labels. The darker, the larger the share of the row."),
      el("thead", {}, head), el("tbody", {}, rows)));
  });
}

function worst(runs) {
  return beside(runs, (run) => {
    if (!run.predictions) return null;
    if (!run.predictions.worst.length) return el("p", {}, "No example is wrong.");
    return worstRows(run.predictions.worst, run.output_kind);
  });
}

/** Write a value of JSON as one line of text. */
function inline(value) {
  if (value == null || value === "") return "–";
  if (typeof value === "number") return number(value);
  if (Array.isArray(value)) return value.map(inline).join(value.some((each) => typeof each === "object") ? "; " : ", ") || "–";
  if (typeof value === "object") return Object.entries(value).map(([key, each]) => `${key.replaceAll("_", " ")} ${inline(each)}`).join(", ") || "–";
  return String(value);
}

/** Show a value of JSON: a list of objects as a table, an object as fields, other values as text. */
function generic(value, name) {
  if (value === null || typeof value !== "object") return quoted(inline(value));
  if (Array.isArray(value)) {
    if (!value.length) return null;
    if (value.every((each) => each && typeof each === "object" && !Array.isArray(each))) {
      const columns = [...new Set(value.flatMap(Object.keys))];
      const rows = value.map((each) => columns.map((key) => (typeof each[key] === "number" ? each[key] : quoted(inline(each[key])))));
      return table(name.replaceAll("_", " "), columns.map((key) => key.replaceAll("_", " ")), rows);
    }
    return quoted(inline(value));
  }
  const entries = Object.entries(value).map(([key, each]) => [key, generic(each, key)]).filter(([, node]) => node != null);
  if (!entries.length) return null;
  return el("dl", { class: "fields" }, entries.flatMap(([key, node]) => [el("dt", {}, key.replaceAll("_", " ")), el("dd", {}, node)]));
}

function data(runs) {
  return beside(runs, (run) => {
    const entries = Object.entries(run.data).map(([key, value]) => [key, generic(value, key)]).filter(([, node]) => node != null);
    const simple = entries.filter(([key]) => run.data[key] === null || typeof run.data[key] !== "object");
    const nested = entries.filter(([key]) => !simple.some(([other]) => other === key));
    const notes = run.data_notes.length ? el("ul", {}, run.data_notes.map((note) => el("li", {}, note))) : null;
    return el("div", {}, notes,
      nested.map(([key, node]) => (node.className === "scroll" ? node : el("dl", { class: "fields" }, el("dt", {}, key.replaceAll("_", " ")), el("dd", {}, node)))),
      simple.length ? el("dl", { class: "fields" }, simple.flatMap(([key, node]) => [el("dt", {}, key.replaceAll("_", " ")), el("dd", {}, node)])) : null);
  });
}

function diagnosis(runs) {
  return beside(runs, (run) => {
    if (!run.diagnosis) return null;
    const findings = run.diagnosis.findings.map((finding) => el("div", { class: "finding" },
      el("h3", {}, finding.title ?? finding.cause),
      el("p", { class: "soft small" }, [finding.level, finding.confidence == null ? null : `confidence ${number(finding.confidence)}`].filter((each) => each).join(", ")),
      el("p", {}, generic(finding.evidence ?? null, "evidence")),
      finding.command ? el("pre", { tabindex: "0" }, el("code", {}, finding.command)) : null,
      finding.page ? el("p", { class: "soft small" }, `Explained in ${finding.page}`) : null));
    const measured = run.diagnosis.measurements ?? [];
    const tables = [...new Set(measured.map((each) => each.topic))].map((topic) => table(topic, ["", "value", "standard error"],
      measured.filter((each) => each.topic === topic).map((each) => [each.name, each.value, each.standard_error ?? "–"])));
    const left = generic(run.diagnosis.left_out ?? [], "left out");
    return el("div", {}, findings.length ? findings : el("p", {}, "The diagnosis found nothing."),
      tables, left ? el("details", {}, el("summary", {}, "Questions that were left out"), left) : null);
  });
}

function config(runs) {
  return beside(runs, (run) => {
    const rows = run.config.changed.map(([key, value]) => [el("code", {}, key), el("code", {}, JSON.stringify(value))]);
    return el("div", {}, rows.length ? table("Fields that differ from their defaults", ["field", "value"], rows) : null,
      el("details", {}, el("summary", {}, "The complete config"), el("pre", { tabindex: "0" }, run.config.text)));
  });
}

/** Create a small plot of a difference with its interval beside 0. */
function interval(score, reach) {
  const at = (value) => 60 + (55 * value) / (reach || 1);
  const [low, high] = score.interval;
  const line = svg("line", { x1: at(low), x2: at(high), y1: 9, y2: 9, "stroke-width": 3 });
  const dot = svg("circle", { cx: at(score.difference), cy: 9, r: 4.5 });
  const zero = svg("line", { x1: 60, x2: 60, y1: 0, y2: 18, "stroke-width": 1 });
  line.style.stroke = dot.style.fill = runColor(1);
  zero.style.stroke = "var(--soft)";
  const picture = svg("svg", { viewBox: "0 0 120 18", "aria-hidden": "true" }, zero, line, dot);
  picture.style.width = "7.5rem";
  return picture;
}

/** Say in words what a difference and its interval mean. */
function verdict(score) {
  const [low, high] = score.interval;
  if (low <= 0 && high >= 0) return el("span", {}, "no clear difference");
  const isBetter = (score.difference > 0) === score.system.higher_is_better;
  return el("span", { class: isBetter ? "better" : "worse" }, isBetter ? "better" : "worse");
}

function comparison(each) {
  const scores = Object.values(each.scores);
  const rows = scores.map((score) => {
    const reach = Math.max(...score.interval.map(Math.abs), Math.abs(score.difference));
    return [score.system.name, score.baseline.value, score.system.value, score.difference,
      el("span", {}, `${number(score.interval[0])} to ${number(score.interval[1])}`), interval(score, reach), el("span", { class: "number" }, score.p_value.toFixed(4)), verdict(score)];
  });
  const head = ["metric", each.baseline, each.run, "difference", "95% interval", "", "p", "verdict"];
  const same = (values) => values.map((value) => (value === null ? "–" : el("code", {}, JSON.stringify(value))));
  return el("div", {}, el("h3", {}, `${each.run} against ${each.baseline}`),
    each.notes.map((note) => el("p", {}, `Note: ${note}.`)),
    rows.length ? table(`Paired bootstrap over the same examples (${scores[0].num_samples} samples, seed ${scores[0].seed})`, head, rows)
      : el("p", {}, "There are no predictions to resample: only the best validations are compared."),
    table("Best validation", ["metric", each.baseline, each.run], each.validations.map(([name, ...values]) => [name, ...values.map((value) => value ?? "–")])),
    each.config.length ? table("Config fields that differ", ["field", each.baseline, each.run], each.config.map(([key, ...values]) => [el("code", {}, key), ...same(values)]))
      : el("p", {}, "The configs do not differ."),
    each.rows.length ? el("details", {}, el("summary", {}, "Examples that only one of them predicts exactly"),
      table("Examples that only one run predicts exactly", ["row", "input", "target", each.baseline, each.run],
        each.rows.map((row) => [row.row, quoted(row.input), quoted(row.target), quoted(row.baseline), quoted(row.run)]))) : null);
}

function comparisons(found) {
  if (!found) return null;
  return el("div", {}, found.compared.map(comparison), found.apart.map((each) => el("p", {},
    el("strong", {}, each.run), ` is shown apart, not compared: ${each.reason}.`)));
}

function leftOut(runs) {
  return beside(runs, (run) => {
    const entries = Object.entries(run.left_out);
    return entries.length ? el("dl", { class: "fields" }, entries.flatMap(([name, reason]) => [el("dt", {}, name), el("dd", {}, reason)])) : null;
  });
}
