// The last hour: one plot a figure, one line a node or lane, drawn by uPlot.

import { h, number, show } from "./dom.js";

const KEPT = 720;
const HEIGHT = 130;
const COLOURS = 8;

let at = [];
let series = [];
const drawn = new Map();

/** What `/api/v1/history` gives. */
export function history(all) {
  at = all.at_ms;
  series = all.series;
}

/** One more sample. */
export function sample({ at_ms, points }) {
  if (at.length > 0 && at_ms <= at.at(-1)) return;
  at.push(at_ms);
  for (const one of series) one.values.push(null);
  for (const { value, ...of } of points) {
    const same = (one) => ["role", "name", "of", "figure"].every((key) => one[key] === of[key]);
    let known = series.find(same);
    if (!known) series.push((known = { ...of, values: Array(at.length).fill(null) }));
    known.values[at.length - 1] = value;
  }
  if (at.length > KEPT) {
    at.shift();
    for (const one of series) one.values.shift();
  }
  series = series.filter((one) => one.values.some((value) => value !== null));
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Draws all plots of a role into `place`. */
export function draw(place, role, name) {
  const own = series.filter((one) => one.role === role && one.name === name);
  const figures = [...new Set(own.map((one) => one.figure))];
  show(place, figures.map((figure) => h("figure", { "data-key": figure, "data-keep": true })));
  for (const figure of place.children) {
    plot(figure, `${role} ${name} ${figure.dataset.key}`, own.filter((one) => one.figure === figure.dataset.key));
  }
}

function plot(place, key, lines) {
  const { figure, unit } = lines[0];
  const title = unit === "" ? figure : `${figure}, ${unit}`;
  const width = Math.floor(place.clientWidth);
  if (width === 0) return;
  if (place.childElementCount === 0) {
    place.append(h("h4", null, title), h("div", { class: "canvas", role: "img" }), h("ul", null));
    drawn.delete(key);
  }
  const [, canvas, legend] = place.children;
  const summary = lines.map((line) => {
    const values = line.values.filter((value) => value !== null);
    return { of: line.of, now: line.values.at(-1), most: Math.max(...values) };
  });
  canvas.setAttribute("aria-label", `${title} over the last hour; the latest and the greatest are listed below`);
  show(legend, summary.map(({ of, now, most }, nth) => h("li", null,
    h("span", { class: `swatch c${nth % COLOURS}` }), of === "" ? "" : `${of}: `, now === null ? "none now" : `${number(now)} now`, `, ${number(most)} at most`)));

  const data = [at.map((time) => time / 1000), ...lines.map((line) => line.values)];
  const shape = lines.map((line) => line.of).join("\n");
  const known = drawn.get(key);
  if (known?.shape === shape && known.place === place) {
    if (known.plot.width !== width) known.plot.setSize({ width, height: HEIGHT });
    known.plot.setData(data);
    return;
  }
  known?.plot.destroy();
  canvas.replaceChildren();
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") }, font: "11px system-ui" };
  const made = new uPlot({
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, least, most) => [Math.min(0, least ?? 0), most > 0 ? most * 1.1 : 1] } },
    axes: [axis, { ...axis, size: 46 }],
    series: [{}, ...lines.map((line, nth) => ({ label: line.of, stroke: colour(`--c${nth % COLOURS}`), width: 1.5, points: { show: at.length < 2 } }))],
  }, data, canvas);
  drawn.set(key, { plot: made, shape, place });
}

/** Wires what changes colours and sizes; `again` draws anew. */
export function start(again) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const { plot } of drawn.values()) plot.destroy();
    drawn.clear();
    for (const canvas of document.querySelectorAll(".plots .canvas")) canvas.replaceChildren();
    again();
  });
  addEventListener("resize", again);
}
