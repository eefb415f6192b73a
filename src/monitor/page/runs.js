// The list of runs: which are shown, in which colour, and how each is doing.

import * as scale from "./scale.js";

/** A run that said nothing for so long is called silent, seconds. */
const SILENT = 60;

export class Runs {
  /** `changed` is called when other runs are chosen. */
  constructor(list, changed) {
    this.list = list;
    this.changed = changed;
    this.all = [];
    this.hidden = new Set();
    this.rows = new Map();
    this.received = Date.now();
  }

  take(all) {
    this.news = { runs: all };
    this.all = all;
    this.received = Date.now();
    this.render();
  }

  shown() {
    return this.all.filter((run) => !this.hidden.has(run.id));
  }

  colour(run) {
    return this.all.findIndex((other) => other.id === run.id) % 10;
  }

  /** How the curves of each run look: name, colour, place and resumptions, by the run's number. */
  looks(stage) {
    return new Map(this.all.map((run, order) => {
      const resumed = run.stages.find((s) => s.name === stage)?.resumed ?? [];
      return [run.id, { name: run.name, colour: order % 10, resumed }];
    }));
  }

  /** The last stage with curves of the run that was written to last. */
  latestStage() {
    const begun = this.shown().filter((run) => run.stages.some((stage) => stage.figures.length > 0));
    begun.sort((a, b) => (a.quiet ?? Infinity) - (b.quiet ?? Infinity));
    return begun[0]?.stages.filter((stage) => stage.figures.length > 0).at(-1).name;
  }

  /** How far a single run is, for the title of the window. */
  title() {
    const run = this.shown().length === 1 ? this.shown()[0] : null;
    const stage = run?.stages.at(-1);
    return stage?.steps ? `${Math.floor((100 * stage.done) / stage.steps)}% ${stage.name} – ${run.name}` : null;
  }

  showAll(show) {
    this.hidden = new Set(show ? [] : this.all.map((run) => run.id));
    this.render();
    this.changed();
  }

  render() {
    const ids = new Set(this.all.map((run) => run.id));
    for (const [id, row] of this.rows) {
      if (!ids.has(id)) row.item.remove(), this.rows.delete(id);
    }
    for (const run of this.all) {
      if (!this.rows.has(run.id)) this.rows.set(run.id, this.row(run));
      const { item, box, progress } = this.rows.get(run.id);
      box.checked = !this.hidden.has(run.id);
      item.classList.toggle("off", !box.checked);
      item.style.setProperty("--colour", `var(--run-${this.colour(run)})`);
      const stage = run.stages.at(-1);
      progress.hidden = !stage?.steps;
      progress.max = stage?.steps || 1;
      progress.value = stage?.done ?? 0;
      progress.setAttribute("aria-label", `${run.name}: ${stage?.name ?? ""}`);
    }
    this.renderStates();
  }

  row(run) {
    const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
    const item = make("li");
    const box = make("input", { type: "checkbox" });
    const label = make("label", { title: run.folder });
    label.append(box, make("span", { className: "name", textContent: run.name }));
    const state = make("p", { className: "state" });
    const progress = make("progress");
    item.append(label, state, progress);
    this.list.append(item);
    box.addEventListener("change", () => {
      box.checked ? this.hidden.delete(run.id) : this.hidden.add(run.id);
      this.render();
      this.changed();
    });
    return { item, box, state, progress };
  }

  /** Writes how each run is doing now. */
  renderStates() {
    const passed = (Date.now() - this.received) / 1000;
    for (const run of this.all) {
      const parts = this.state(run, run.quiet === null ? null : run.quiet + passed);
      const { state } = this.rows.get(run.id);
      const text = parts.map(([text]) => text).join(" · ");
      if (state.textContent === text) continue;
      state.replaceChildren(...parts.flatMap(([text, kind], i) => {
        const span = Object.assign(document.createElement("span"), { textContent: text, className: kind ?? "" });
        return i === 0 ? [span] : [" · ", span];
      }));
    }
  }

  state(run, quiet) {
    if (run.fault) return [[run.fault, "warn"]];
    if (quiet === null) return [[`waiting for the first event of ${run.folder}`]];
    if (run.read < 0.999) return [[`reading, ${Math.floor(100 * run.read)}%`]];
    const stage = run.stages.at(-1);
    const warnings = [];
    const odd = run.stages.reduce((sum, stage) => sum + stage.odd, 0);
    if (odd > 0) warnings.push([`${scale.whole(odd)} ${odd === 1 ? "value is" : "values are"} NaN or infinite`, "warn"]);
    if (run.unreadable > 0) warnings.push([`${scale.whole(run.unreadable)} ${run.unreadable === 1 ? "line" : "lines"} could not be read`, "warn"]);
    if (!stage) return [[`no event yet in ${run.folder}`], ...warnings];
    const parts = [[stage.name]];
    if (stage.seconds !== null) {
      parts.push([`done in ${scale.duration(stage.seconds)}`]);
    } else if (stage.steps > 0) {
      parts.push([`step ${scale.whole(stage.done)} of ${scale.whole(stage.steps)}`]);
      if (stage.done >= stage.steps) parts.push(["all steps made"]);
      else if (quiet > SILENT) parts.push([`silent for ${scale.duration(quiet)}`, "warn"]);
      else if (stage.samples_per_second > 0 && stage.done > 0) {
        const left = ((stage.steps - stage.done) * stage.samples) / stage.done / stage.samples_per_second;
        parts.push([`${scale.whole(stage.samples_per_second)} samples/s`], [`about ${scale.duration(left)} left`]);
      }
    }
    if (stage.resumed.length > 0) parts.push([`resumed at step ${stage.resumed.map(scale.whole).join(", ")}`]);
    for (const [set, balanced, auc] of stage.held) parts.push([`${set}: balanced accuracy ${scale.text(balanced)}, AUC ${scale.text(auc)}`]);
    return [...parts, ...warnings];
  }
}
