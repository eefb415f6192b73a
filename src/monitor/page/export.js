// Charts as files: pictures (PNG) and drawings (SVG).

import { fade, setName, theme } from "./chart.js";

const LINE = 18;

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Names of the curves, one entry for each that is drawn. */
const entries = (chart) => chart.curves.map((curve) => ({ text: `${curve.name}, ${setName(curve.set)}`, colour: theme.colours[curve.colour], dash: curve.dash ?? [] }));

const title = (chart) => {
  const { stage, smooth } = chart.view;
  const smoothed = chart.curves.some((curve) => curve.smooth.length > 0);
  return `${chart.figure.title} – ${stage}${smoothed ? `, smoothed over ${smooth} steps` : ""}`;
};

const fileName = (chart, ending) => `${chart.figure.id}-${chart.view.stage}`.replace(/[^\w.-]+/g, "_") + ending;

/** Saves a chart as it is seen, with title and legend, in the resolution of the screen. */
export function png(chart) {
  const source = chart.u.ctx.canvas;
  const ratio = devicePixelRatio;
  const lines = entries(chart);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [source.width, source.height + (34 + LINE * lines.length + 10) * ratio];
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = theme.card;
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(source, 0, 34 * ratio);
  ctx.scale(ratio, ratio);
  ctx.font = "600 15px system-ui, sans-serif";
  ctx.fillStyle = theme.text;
  ctx.fillText(title(chart), 12, 24);
  ctx.font = "12px system-ui, sans-serif";
  lines.forEach(({ text, colour, dash }, i) => {
    const y = 34 + source.height / ratio + LINE * i + 9;
    ctx.strokeStyle = colour;
    ctx.lineWidth = 2;
    ctx.setLineDash(dash);
    ctx.beginPath();
    ctx.moveTo(14, y), ctx.lineTo(34, y);
    ctx.stroke();
    ctx.fillText(text, 42, y + 4);
  });
  canvas.toBlob((blob) => save(blob, fileName(chart, ".png")), "image/png");
}

/** Saves a chart as a drawing of lines and text. */
export function svg(chart) {
  const { u } = chart;
  const space = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, text) => {
    const element = document.createElementNS(space, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const ratio = devicePixelRatio;
  const [left, top, width, height] = [u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height].map((v) => v / ratio);
  const lines = entries(chart);
  const all = { w: u.width, h: 34 + u.height + LINE * lines.length + 10 };
  const root = make("svg", { xmlns: space, width: all.w, height: all.h, viewBox: `0 0 ${all.w} ${all.h}`, "font-family": "system-ui, sans-serif", "font-size": 12 });
  root.append(make("rect", { width: all.w, height: all.h, fill: theme.card }));
  root.append(make("text", { x: 12, y: 24, "font-size": 15, "font-weight": 600, fill: theme.text }, title(chart)));
  const clip = make("clipPath", { id: "plot" });
  clip.append(make("rect", { x: left, y: top, width, height }));
  const plot = make("g", { transform: "translate(0 34)" });
  plot.append(clip);
  // The ticks are those that uPlot last drew.
  for (const [axis, horizontal] of [[u.axes[0], true], [u.axes[1], false]]) {
    (axis._splits ?? []).forEach((split, i) => {
      const label = axis._values?.[i];
      const at = horizontal ? left + u.valToPos(split, "x") : top + u.valToPos(split, "y");
      if (!label || !Number.isFinite(at)) return;
      plot.append(make("line", horizontal ? { x1: at, x2: at, y1: top, y2: top + height, stroke: theme.grid } : { x1: left, x2: left + width, y1: at, y2: at, stroke: theme.grid }));
      plot.append(make("text", horizontal ? { x: at, y: top + height + 18, "text-anchor": "middle", fill: theme.soft } : { x: left - 8, y: at + 4, "text-anchor": "end", fill: theme.soft }, label));
    });
  }
  const curves = make("g", { "clip-path": "url(#plot)", fill: "none", "stroke-linejoin": "round" });
  const log = chart.view.log;
  for (const curve of chart.curves) {
    const colour = theme.colours[curve.colour];
    const place = (step, value) => `${(left + u.valToPos(step, "x")).toFixed(1)},${(top + u.valToPos(value, "y")).toFixed(1)}`;
    const points = (values) => curve.x.flatMap((step, i) => (log && !(values[i] > 0) ? [] : [place(step, values[i])]));
    const smoothed = curve.smooth.length > 0;
    if (curve.set === "") {
      const [low, high] = [points(curve.low), points(curve.high)];
      curves.append(make("polygon", { points: [...high, ...low.reverse()].join(" "), fill: fade(colour, smoothed ? 0.16 : 0.3), stroke: fade(colour, smoothed ? 0.28 : 0.85), "stroke-width": 1 }));
    } else {
      curves.append(make("polyline", { points: points(curve.high).join(" "), stroke: colour, "stroke-width": 1.5, "stroke-dasharray": curve.dash.join(" ") }));
    }
    if (smoothed) curves.append(make("polyline", { points: points(curve.smooth).join(" "), stroke: colour, "stroke-width": 2 }));
    // The same marks as on the screen.
    const x = (step) => left + u.valToPos(step, "x");
    const path = (d, width, more) => d && curves.append(make("path", { d, stroke: colour, "stroke-width": width, ...more }));
    const bottom = top + height;
    path(curve.odd.map(([step]) => `M${x(step) - 4} ${bottom - 11}l8 8m0 -8l-8 8`).join(""), 2);
    path(curve.x.map((step, i) => (curve.high[i] > chart.range[1] ? `M${x(step)} ${top}v5` : "") + (curve.low[i] < chart.range[0] ? `M${x(step)} ${bottom}v-5` : "")).join(""), 2);
    if (curve.set === "") path(curve.resumed.map((step) => `M${x(step)} ${top}V${bottom}`).join(""), 1, { "stroke-dasharray": "2 4" });
  }
  plot.append(curves);
  root.append(plot);
  lines.forEach(({ text, colour, dash }, i) => {
    const y = 34 + u.height + LINE * i + 9;
    root.append(make("line", { x1: 14, x2: 34, y1: y, y2: y, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash.join(" ") || "none" }));
    root.append(make("text", { x: 42, y: y + 4, fill: theme.text }, text));
  });
  save(new Blob([new XMLSerializer().serializeToString(root)], { type: "image/svg+xml" }), fileName(chart, ".svg"));
}
