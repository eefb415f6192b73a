// One chart: curves of one figure, drawn by uPlot, with a cursor that reads all of them.

import * as scale from "./scale.js";

const HEIGHT = 250;
/** Dashes of the curves of validation, set by set, pixels. */
const DASHES = [[7, 4], [2, 3], [10, 3, 2, 3], [4, 2]];

/** Colours of the page, read again when the system changes between light and dark. */
export const theme = { colours: [], grid: "", soft: "", text: "", card: "" };

export function readTheme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  theme.colours = Array.from({ length: 10 }, (_, i) => colour(`--run-${i}`));
  for (const name of ["grid", "soft", "text", "card", "accent"]) theme[name] = colour(`--${name}`);
}

/** Index of the last of `steps` at or before `step`, else the first; -1 without steps. */
function at(steps, step) {
  let [low, high] = [0, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle + 1;
    else high = middle;
  }
  return steps.length === 0 ? -1 : Math.max(0, low - 1);
}

/** What a set of curves is called. */
export const setName = (set) => set || "training";

export class Chart {
  /** `figure`: id, title and note; `events`: zoom(from, to), reset(), read(chart, step). */
  constructor(figure, events) {
    this.figure = figure;
    this.events = events;
    this.curves = [];
    this.focus = null;
    this.visible = false;
    this.build();
  }

  build() {
    const make = (tag, properties = {}, ...children) => {
      const element = Object.assign(document.createElement(tag), properties);
      element.append(...children);
      return element;
    };
    const { id, title, note } = this.figure;
    const heading = make("h2", { id: `title-${id}` }, title);
    if (note) heading.append(make("small", {}, note));
    this.exports = {};
    const button = (name, label) => {
      this.exports[name] = make("button", { type: "button", textContent: name, title: `${label} of ${title}` });
      this.exports[name].setAttribute("aria-label", `${title}: ${label}`);
      return this.exports[name];
    };
    this.numbers = make("a", { className: "button", textContent: "CSV", download: `${id}.csv`, title: `Numbers of ${title}` });
    this.numbers.setAttribute("aria-label", `${title}: numbers as CSV`);
    const exports = make("div", { className: "exports" }, button("PNG", "picture"), button("SVG", "drawing"), this.numbers);
    this.plot = make("div", { className: "plot", tabIndex: 0 });
    this.plot.setAttribute("role", "group");
    this.plot.setAttribute("aria-roledescription", "chart");
    this.reading = make("div", { className: "reading" });
    this.element = make("article", { className: "chart", id: `chart-${id}` }, make("div", { className: "heading" }, heading, exports), this.plot, this.reading);
    this.element.setAttribute("aria-labelledby", heading.id);
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => this.events.read(this, null));
  }

  /** Shows curves: the answer of /api/curves, with the runs' names and colours, and what the controls say. */
  update(answer, runs, view) {
    this.view = view;
    this.answer = answer;
    this.curves = answer.curves.map((curve) => ({ ...curve, ...runs.get(curve.run) })).filter((curve) => curve.name !== undefined);
    const sets = [...new Set(this.curves.map((curve) => curve.set))].filter(Boolean).sort();
    for (const curve of this.curves) curve.dash = curve.set === "" ? undefined : DASHES[sets.indexOf(curve.set) % DASHES.length];
    // uPlot scales later; what is read from the curves before must know it already.
    this.range = scale.range(this.curves, { ...view, outliers: view.outliers || this.figure.plain }) ?? (view.log ? [0.1, 1] : [0, 1]);
    this.from = answer.from;
    this.to = Math.max(answer.to, answer.from + 1);
    const visible = (list) => (view.log ? list.map((value) => (value > 0 ? value : null)) : list);
    const tables = this.curves.map((curve) => [curve.x, visible(curve.low), visible(curve.high), visible(curve.smooth.length ? curve.smooth : curve.high)]);
    const data = tables.length ? uPlot.join(tables) : [[], []];
    const layout = JSON.stringify([view.log, this.curves.map((curve) => [curve.run, curve.set, curve.colour, curve.smooth.length > 0, curve.x.length < 60])]);
    if (this.u && layout === this.layout) {
      this.u.setData(data, false);
      this.u.setScale("x", { min: this.from, max: this.to });
    } else {
      this.layout = layout;
      this.create(data);
    }
    this.plot.setAttribute("aria-label", this.summary());
    this.read(this.step ?? null);
  }

  create(data) {
    this.u?.destroy();
    const colour = (curve, alpha) => () => fade(theme.colours[curve.colour], this.focus === null || this.focus === curve.run ? alpha : alpha * 0.15);
    const series = [{}];
    const bands = [];
    // Of many runs the bands would cover each other.
    const faint = Math.min(1, 3 / new Set(this.curves.map((curve) => curve.run)).size);
    for (const curve of this.curves) {
      const training = curve.set === "";
      const smoothed = curve.smooth.length > 0;
      const raw = training ? (smoothed ? 0.28 * faint : 0.85) : 1;
      const points = { show: !training || curve.x.length === 1, size: 5, stroke: colour(curve, 1), fill: colour(curve, 1) };
      const width = training ? 1 : 1.5;
      const first = series.length;
      series.push({ stroke: colour(curve, raw), width, dash: curve.dash, points: { show: false } });
      series.push({ stroke: colour(curve, raw), width, dash: curve.dash, points });
      series.push({ stroke: colour(curve, 1), width: 2, show: smoothed, points: { show: smoothed && curve.x.length === 1, size: 5 } });
      bands.push({ series: [first + 1, first], fill: colour(curve, (smoothed ? 0.16 : 0.3) * faint) });
    }
    if (series.length === 1) series.push({});
    const axis = { stroke: () => theme.soft, grid: { stroke: () => theme.grid, width: 1 }, ticks: { stroke: () => theme.grid, width: 1, size: 4 }, font: "12px system-ui, sans-serif" };
    this.u = new uPlot({
      width: this.plot.clientWidth || 400,
      height: HEIGHT,
      padding: [10, 26, 0, 0],
      legend: { show: false },
      focus: { alpha: 1 },
      cursor: { drag: { x: true, y: false, setScale: false, dist: 4 }, points: { show: false }, y: false, bind: { dblclick: () => () => this.events.reset() } },
      scales: { x: { time: false, range: () => [this.from, this.to] }, y: { distr: this.view.log ? 3 : 1, range: () => this.range } },
      axes: [
        { ...axis, size: 30, space: 70, values: (_, ticks) => scale.labels(ticks) },
        { ...axis, size: (u, values) => 16 + 7 * Math.max(2, ...(values ?? []).map((value) => value?.length ?? 0)), values: (_, ticks) => scale.labels(ticks, this.view.log) },
      ],
      series,
      bands,
      hooks: {
        setSelect: [(u) => this.selected(u)],
        setCursor: [(u) => u.cursor.event && this.events.read(this, u.cursor.left >= 0 ? u.posToVal(u.cursor.left, "x") : null)],
        draw: [(u) => this.marks(u)],
      },
    }, data, this.plot);
    this.u.over.addEventListener("mouseleave", () => this.events.read(this, null));
    this.fingers(this.u);
  }

  /** Lets a finger do what the mouse does: dragged across the chart it zooms, put down it reads. Dragged up or down, it scrolls the page. */
  fingers(u) {
    let from = null;
    const at = (event) => Math.min(u.over.clientWidth, Math.max(0, event.clientX - u.over.getBoundingClientRect().left));
    const on = (kind, act) => u.over.addEventListener(kind, (event) => event.pointerType === "touch" && event.isPrimary && act(event));
    const select = (to) => {
      u.setSelect({ left: Math.min(from, to), width: Math.abs(to - from), top: 0, height: u.over.clientHeight }, false);
      this.events.read(this, Math.round(u.posToVal(to, "x")), true);
    };
    on("pointerdown", (event) => select((from = at(event))));
    on("pointermove", (event) => from !== null && select(at(event)));
    on("pointerup", () => from !== null && this.selected(u));
    on("pointercancel", () => u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false));
    for (const kind of ["pointerup", "pointercancel"]) on(kind, () => (from = null));
  }

  /** Marks what the curves themselves do not show: values that are no numbers (×), parts beyond the scale (a bar at the edge), resumptions. */
  marks(u) {
    const { ctx } = u;
    const ratio = devicePixelRatio;
    const { left, top, width, height } = u.bbox;
    const inside = (x) => x >= left && x <= left + width;
    ctx.save();
    for (const curve of this.curves) {
      const faint = this.focus !== null && this.focus !== curve.run;
      ctx.strokeStyle = ctx.fillStyle = fade(theme.colours[curve.colour], faint ? 0.15 : 1);
      ctx.lineWidth = 2 * ratio;
      for (const [step] of curve.odd) {
        const x = u.valToPos(step, "x", true);
        if (!inside(x)) continue;
        const [y, size] = [top + height - 7 * ratio, 4 * ratio];
        ctx.beginPath();
        ctx.moveTo(x - size, y - size), ctx.lineTo(x + size, y + size), ctx.moveTo(x + size, y - size), ctx.lineTo(x - size, y + size);
        ctx.stroke();
      }
      const { min, max } = u.scales.y;
      curve.x.forEach((step, i) => {
        const x = u.valToPos(step, "x", true);
        if (!inside(x)) return;
        if (curve.high[i] > max) ctx.fillRect(x - ratio, top, 2 * ratio, 5 * ratio);
        if (curve.low[i] < min) ctx.fillRect(x - ratio, top + height - 5 * ratio, 2 * ratio, 5 * ratio);
      });
      if (curve.set !== "") continue;
      ctx.lineWidth = ratio;
      ctx.setLineDash([2 * ratio, 4 * ratio]);
      for (const step of curve.resumed) {
        const x = u.valToPos(step, "x", true);
        if (!inside(x)) continue;
        ctx.beginPath();
        ctx.moveTo(x, top), ctx.lineTo(x, top + height);
        ctx.stroke();
      }
      ctx.setLineDash([]);
    }
    ctx.restore();
  }

  selected(u) {
    const { left, width } = u.select;
    if (width < 4) return;
    const [from, to] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")].map(Math.round);
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.events.zoom(from, to);
  }

  key(event) {
    if (!this.u || event.ctrlKey || event.metaKey || event.altKey) return;
    const span = this.to - this.from;
    const stride = Math.max(this.answer.bucket, Math.round(span / (event.shiftKey ? 10 : 100)));
    const here = this.step ?? this.to;
    const move = { ArrowLeft: here - stride, ArrowRight: here + stride, Home: this.from, End: this.to }[event.key];
    if (move !== undefined) {
      this.events.read(this, Math.min(this.to, Math.max(this.from, move)), true);
    } else if (event.key === "+" || event.key === "=") {
      this.events.zoom(Math.round(Math.max(this.from, here - span / 4)), Math.round(Math.min(this.to, here + span / 4)));
    } else if (event.key === "-") {
      this.events.zoom(Math.round(this.from - span / 2), Math.round(this.to + span / 2));
    } else if (event.key === "Escape") {
      this.events.reset();
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Puts the cursor at `step` (unless the mouse has it) and writes what all curves hold there; null: the last values. */
  read(step, place = true) {
    this.step = step ?? undefined;
    if (this.u && place) {
      const left = step === null ? -10 : this.u.valToPos(step, "x");
      this.u.setCursor({ left, top: step === null ? -10 : 10 }, false);
    }
    this.table(step);
  }

  /** The value of a curve at a step: [smoothed or plain, plain as text]. */
  value(curve, step) {
    if (step === null) return [curve.smooth_last, curve.last === null ? (curve.odd.at(-1)?.[1] ?? "–") : scale.text(curve.last)];
    const i = at(curve.x, step);
    if (i < 0) return [null, "–"];
    const beyond = step > curve.x[curve.x.length - 1] + this.answer.bucket * 2 && curve.set === "";
    if (beyond) return [null, "–"];
    const [low, high] = [scale.text(curve.low[i]), scale.text(curve.high[i])];
    return [curve.smooth[i] ?? null, low === high ? low : `${low} – ${high}`];
  }

  table(step) {
    const sets = [...new Set(this.curves.map((curve) => curve.set))].sort();
    const smoothed = this.curves.some((curve) => curve.smooth.length > 0);
    const columns = sets.flatMap((set) => (set === "" && smoothed ? [["", "smoothed", 0], ["", "training", 1]] : [[set, setName(set), 1]]));
    const cell = (tag, text, properties) => Object.assign(document.createElement(tag), { textContent: text, ...properties });
    const table = document.createElement("table");
    table.append(cell("caption", step === null ? "Latest" : `At step ${scale.whole(step)}`));
    const head = document.createElement("tr");
    head.append(cell("th", "Run", { scope: "col" }));
    for (const [set, name] of columns) {
      const column = cell("th", "", { scope: "col" });
      const dash = this.curves.find((curve) => curve.set === set).dash;
      if (dash) column.append(key(dash));
      column.append(name);
      head.append(column);
    }
    table.createTHead().append(head);
    const body = table.createTBody();
    for (const run of new Set(this.curves.map((curve) => curve.run))) {
      const own = this.curves.filter((curve) => curve.run === run);
      const row = body.insertRow();
      const name = cell("th", "", { scope: "row" });
      name.append(key(undefined, theme.colours[own[0].colour]), own[0].name);
      const odd = own.reduce((sum, curve) => sum + curve.odd.reduce((n, [, , count]) => n + count, 0), 0);
      if (odd > 0) name.append(cell("span", `× ${scale.whole(odd)} not a number`, { className: "note" }));
      const beyond = this.beyond(own);
      if (beyond) name.append(cell("span", beyond, { className: "note" }));
      row.append(name);
      for (const [set, , which] of columns) {
        const curve = own.find((curve) => curve.set === set);
        const value = curve && this.value(curve, step);
        row.append(cell("td", value ? (which === 0 ? scale.text(value[0]) : value[1]) : "–", { className: which === 0 ? "strong" : "" }));
      }
      row.addEventListener("mouseenter", () => this.highlight(run));
      row.addEventListener("mouseleave", () => this.highlight(null));
    }
    this.reading.replaceChildren(table);
  }

  /** Says if all that is drawn of a run lies beyond the scale. */
  beyond(curves) {
    if (!this.u || curves.every((curve) => curve.x.length === 0)) return "";
    const [min, max] = this.range;
    if (curves.every((curve) => curve.low.every((value) => value > max))) return "▲ above the picture";
    if (curves.every((curve) => curve.high.every((value) => value < min))) return "▼ below the picture";
    return "";
  }

  highlight(run) {
    if (this.focus === run) return;
    this.focus = run;
    this.u?.redraw(false, false);
  }

  /** What a screen reader says of the chart. */
  summary() {
    const last = (curve) => `${curve.name} ${setName(curve.set)} ${scale.text(curve.smooth_last ?? curve.last)}`;
    const range = `steps ${scale.whole(this.from)} to ${scale.whole(this.to)}`;
    return `${this.figure.title}, ${range}. Latest: ${this.curves.map(last).join("; ") || "nothing yet"}.`;
  }

  /** What a screen reader says at the cursor. */
  spoken() {
    if (this.step === undefined) return "";
    const values = this.curves.map((curve) => {
      const [smooth, plain] = this.value(curve, this.step);
      return `${curve.name} ${setName(curve.set)} ${smooth === null ? plain : scale.text(smooth)}`;
    });
    return `${this.figure.title}, step ${scale.whole(this.step)}: ${values.join("; ")}`;
  }

  resize() {
    const width = this.plot.clientWidth;
    if (this.u && width > 0 && width !== this.u.width) this.u.setSize({ width, height: HEIGHT });
  }
}

/** A piece of a line, for legends. */
function key(dash, colour) {
  const element = Object.assign(document.createElement("span"), { className: "key" });
  if (colour) element.style.setProperty("--colour", colour);
  if (dash) element.style.setProperty("--on", `${dash[0]}px`), element.style.setProperty("--all", `${dash[0] + dash[1]}px`);
  return element;
}

/** A colour `#rrggbb` with an opacity. */
export function fade(colour, alpha) {
  return `${colour}${Math.round(255 * Math.min(1, alpha)).toString(16).padStart(2, "0")}`;
}
