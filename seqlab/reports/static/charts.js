"use strict";
// Line charts in SVG that a pointer and the arrow keys read.

const MARGIN = { left: 58, right: 12, top: 10, bottom: 38 };
const HEIGHT = 220;

/** Return about `count` round numbers between two values. */
function ticks(low, high, count = 5) {
  const raw = (high - low) / count || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= raw);
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) found.push(index * step || 0);  // not -0
  return found;
}

/** Return the scale of an axis: value -> pixels, with its ticks. */
function scale(values, from, to, isLog = false) {
  let low = Math.min(...values), high = Math.max(...values);
  if (low === high) { const room = Math.abs(low) * 0.1 || 1; low -= isLog ? low / 2 : room; high += room; }
  const map = isLog ? Math.log10 : (value) => value;
  const at = (value) => from + ((map(value) - map(low)) / (map(high) - map(low))) * (to - from);
  let marks = ticks(low, high);
  if (isLog) {
    marks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      marks.push(...[1, 2, 5].map((each) => each * 10 ** power).filter((each) => each >= low * 0.999 && each <= high * 1.001));
  }
  return { at, marks };
}

/**
 * Create a figure of curves. `lines`: {label, x, y, color, dash}; `options`: {title, xLabel, log(), range()}.
 * The figure draws itself in the width that it has.
 */
function chart(lines, options) {
  const reading = el("output", { "aria-live": "polite" });
  const picture = svg("svg", { tabindex: 0, role: "img" });
  const figure = el("figure", {}, el("figcaption", {}, options.title), picture, reading);
  const positions = [...new Set(lines.flatMap((line) => line.x))].sort((a, b) => a - b);
  let axes = null, chosen = -1;

  function draw() {
    const width = Math.max(260, figure.clientWidth);
    const isLog = options.log() && lines.every((line) => line.y.every((value) => value == null || value > 0));
    const x = scale(options.range(), MARGIN.left, width - MARGIN.right);
    const finite = lines.flatMap((line) => line.y).filter((value) => value != null);
    if (!finite.length) return reading.replaceChildren("No value is finite.");
    const y = scale(finite, HEIGHT - MARGIN.bottom, MARGIN.top, isLog);
    axes = { x, y };
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    picture.setAttribute("aria-label", describe());
    picture.replaceChildren(axis(x, y, width), ...lines.flatMap((line) => path(line, x, y)));
    show(chosen);
  }

  function axis(x, y, width) {
    const group = svg("g", { class: "axis" });
    for (const mark of y.marks) {
      group.append(svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y.at(mark), y2: y.at(mark) }));
      group.append(svg("text", { x: MARGIN.left - 8, y: y.at(mark) + 4, "text-anchor": "end" }, number(mark, 3)));
    }
    for (const mark of x.marks.filter((each, index, all) => all.length < 7 || width > 400 || index % 2 === 0))
      group.append(svg("text", { x: x.at(mark), y: HEIGHT - MARGIN.bottom + 18, "text-anchor": "middle" }, number(mark, 3)));
    group.append(svg("text", { x: width - MARGIN.right, y: HEIGHT - 2, "text-anchor": "end" }, options.xLabel));
    return group;
  }

  function path(line, x, y) {
    let text = "", isDown = false;
    line.x.forEach((value, index) => {
      if (line.y[index] == null) { isDown = false; return; }
      text += `${isDown ? "L" : "M"}${x.at(value).toFixed(1)} ${y.at(line.y[index]).toFixed(1)}`;
      isDown = true;
    });
    const curve = svg("path", { d: text, class: "curve", "stroke-dasharray": line.dash });
    curve.style.stroke = line.color;
    const isSparse = line.y.filter((value) => value != null).length < 40;
    const dots = !isSparse ? [] : line.x.flatMap((value, index) => {
      if (line.y[index] == null) return [];
      const dot = svg("circle", { cx: x.at(value).toFixed(1), cy: y.at(line.y[index]).toFixed(1), r: 3 });
      dot.style.fill = line.color;
      return [dot];
    });
    return [curve, ...dots];
  }

  function describe() {
    const parts = lines.map((line) => {
      const known = line.y.filter((value) => value != null);
      return `${line.label}: from ${number(known[0])} to ${number(known[known.length - 1])}`;
    });
    return visible(`${options.title} over ${options.xLabel}. ${parts.join("; ")}. Left and right arrow keys read values.`);
  }

  function show(index) {
    picture.querySelector(".cursor")?.remove();
    chosen = index;
    if (!axes || index < 0) return reading.replaceChildren();
    const position = positions[index], left = axes.x.at(position);
    picture.append(svg("line", { class: "cursor", x1: left, x2: left, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }));
    const values = lines.flatMap((line) => {
      const nearest = nearestIndex(line.x, position);
      return nearest < 0 ? [] : [`${line.label} ${number(line.y[nearest])}`];
    });
    reading.replaceChildren(visible(`${options.xLabel} ${number(position)}: ${values.join(", ")}`));
  }

  picture.addEventListener("pointermove", (event) => {
    if (!axes) return;
    const box = picture.getBoundingClientRect();
    const left = ((event.clientX - box.left) / box.width) * picture.viewBox.baseVal.width;
    show(nearestIndex(positions.map(axes.x.at), left));
  });
  picture.addEventListener("pointerleave", () => show(-1));
  picture.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: chosen - 1, ArrowRight: chosen + 1, Home: 0, End: positions.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(Math.min(positions.length - 1, Math.max(0, moves[event.key])));
  });
  new ResizeObserver(draw).observe(figure);
  return figure;
}

/** Return the index of the value that is nearest to another; -1 for no values. */
function nearestIndex(values, value) {
  let best = -1;
  values.forEach((each, index) => { if (best < 0 || Math.abs(each - value) < Math.abs(values[best] - value)) best = index; });
  return best;
}

/** Create the legend of curves, with their colors and dashes. */
function legend(lines) {
  return el("ul", { class: "legend" }, lines.map((line) => {
    const sample = svg("line", { x1: 0, x2: 28, y1: 5, y2: 5, "stroke-width": 2.5, "stroke-dasharray": line.dash });
    sample.style.stroke = line.color;
    return el("li", {}, svg("svg", { viewBox: "0 0 28 10", "aria-hidden": true }, sample), line.label);
  }));
}

/** Create a figure of predicted against true numbers. */
function scatter(pairs) {
  const size = 300, values = pairs.flat(), at = scale(values, 56, size - 10), up = scale(values, size - 40, 10);
  const group = svg("g", { class: "axis" });
  for (const mark of at.marks) {
    group.append(svg("text", { x: at.at(mark), y: size - 22, "text-anchor": "middle" }, number(mark, 3)));
    group.append(svg("text", { x: 48, y: up.at(mark) + 4, "text-anchor": "end" }, number(mark, 3)));
  }
  const low = Math.min(...values), high = Math.max(...values);
  group.append(svg("line", { x1: at.at(low), y1: up.at(low), x2: at.at(high), y2: up.at(high) }));
  group.append(svg("text", { x: size - 10, y: size - 4, "text-anchor": "end" }, "true"));
  const dots = pairs.map(([x, y]) => {
    const dot = svg("circle", { cx: at.at(x).toFixed(1), cy: up.at(y).toFixed(1), r: 2.5, "fill-opacity": 0.6 });
    dot.style.fill = runColor(0);
    return dot;
  });
  const label = `Predicted against true numbers of ${pairs.length} examples; points on the line are right.`;
  const picture = svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label }, group, ...dots);
  picture.style.maxWidth = "26rem";
  return el("figure", {}, el("figcaption", {}, "Predicted (up) against true (right)"), picture, el("p", { class: "soft small" }, label));
}
