// The page: follows the news of the server, and keeps charts, recipes and pictures up to date with what is chosen.

import { Chart, readTheme } from "./chart.js";
import { png, svg } from "./export.js";
import { Pictures } from "./pictures.js";
import { Recipes } from "./recipes.js";
import { Runs } from "./runs.js";
import * as scale from "./scale.js";

const FIGURES = [
  { id: "loss", title: "Loss" },
  { id: "error", title: "Error", note: "share of decisions that are wrong", of: "accuracy" },
  { id: "accuracy", title: "Accuracy", note: "share of decisions that are right" },
  { id: "ap_h20", title: "Average precision", note: "faces from 20 pixels" },
  { id: "ap_h40", title: "Average precision", note: "faces from 40 pixels" },
  { id: "recall_h20", title: "Recall", note: "faces from 20 pixels" },
  { id: "gradient_norm", title: "Gradient norm" },
  { id: "rate", title: "Learning rate", plain: true },
  { id: "samples_per_second", title: "Samples per second" },
];
/** Steps that the places of the slider smooth over. */
const SMOOTH = [0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];

const byId = (id) => document.getElementById(id);
const controls = { stage: byId("stage"), smooth: byId("smooth"), log: byId("log"), outliers: byId("outliers") };
const runs = new Runs(byId("run-list"), () => refresh());
const charts = FIGURES.map((figure) => new Chart(figure, { zoom, reset: () => zoom(null, null), read }));
const recipes = new Recipes(byId("recipes"));
const pictures = new Pictures(byId("pictures"));
/** The steps that are shown; null: all. */
let shown = { from: null, to: null };
/** All steps of the runs that are shown. */
let whole = [0, 1];
let chosenStage = "";

function view() {
  const smooth = SMOOTH[controls.smooth.value];
  return { stage: controls.stage.value, smooth, log: controls.log.checked, outliers: controls.outliers.checked };
}

// What is chosen stands in the address, so that it stays when the page is loaded again.
function remember() {
  const { stage, smooth, log, outliers } = view();
  const parts = new URLSearchParams({ smooth });
  if (chosenStage) parts.set("stage", stage);
  if (log) parts.set("log", "1");
  if (outliers) parts.set("outliers", "1");
  history.replaceState(null, "", `#${parts}`);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  chosenStage = parts.get("stage") ?? "";
  const place = SMOOTH.indexOf(Number(parts.get("smooth") ?? -1));
  if (place >= 0) controls.smooth.value = place;
  controls.log.checked = parts.has("log");
  controls.outliers.checked = parts.has("outliers");
}

function say() {
  const { smooth } = view();
  const text = smooth === 0 ? "off" : `${scale.whole(smooth)} steps`;
  byId("smooth-text").textContent = text;
  controls.smooth.setAttribute("aria-valuetext", smooth === 0 ? "off" : `over ${text}`);
  const [from, to] = [shown.from ?? whole[0], shown.to ?? whole[1]];
  byId("range").textContent = shown.from === null ? "" : `steps ${scale.whole(from)} to ${scale.whole(to)}`;
  byId("reset").disabled = shown.from === null;
}

/** Shows a part of the steps, at first of what is there already, then finer. */
function zoom(from, to) {
  if (from !== null) {
    from = Math.max(whole[0], from);
    to = Math.min(whole[1], to);
    if (to - from < 2) return;
    if (from <= whole[0] && to >= whole[1]) [from, to] = [null, null];
  }
  shown = { from, to };
  for (const chart of charts.filter((chart) => chart.u)) {
    [chart.from, chart.to] = [from ?? whole[0], to ?? whole[1]];
    chart.u.setScale("x", { min: chart.from, max: chart.to });
  }
  say();
  refresh();
}

/** Puts all cursors where one was moved to. */
function read(source, step, byKey = false) {
  for (const chart of charts.filter((chart) => chart.visible)) chart.read(step, chart !== source || byKey);
  if (byKey) byId("spoken").textContent = source.spoken();
}

/** Marks all charts as old and loads those that can be seen. */
function refresh() {
  for (const chart of charts) chart.stale = true;
  load();
}

function load() {
  const wanted = charts.filter((chart) => chart.visible && chart.stale && !chart.element.hidden);
  byId("charts").ariaBusy = wanted.length > 0 || charts.some((chart) => chart.loading);
  if (document.hidden || !controls.stage.value) return;
  wanted.filter((chart) => !chart.loading).forEach(loadChart);
}

async function loadChart(chart) {
  const now = view();
  const ids = runs.shown().map((run) => run.id);
  const query = new URLSearchParams({ stage: now.stage, figure: chart.figure.id, runs: ids.join(",") });
  query.set("from", shown.from ?? whole[0]);
  query.set("to", shown.to ?? whole[1]);
  chart.numbers.href = `/api/curves.csv?${query}`;
  query.set("points", Math.max(100, Math.round(chart.plot.clientWidth * 0.8)));
  query.set("smooth", chart.figure.plain ? 0 : now.smooth);
  chart.loading = true;
  chart.stale = false;
  try {
    const answer = await (await fetch(`/api/curves?${query}`)).json();
    // Another range may have been chosen meanwhile: then this answer is old, and the next one is on its way.
    if (!chart.stale) chart.update(answer, runs.looks(now.stage), now);
  } catch {
    // The server is gone: its next news bring this chart up to date.
    chart.stale = true;
    return;
  } finally {
    chart.loading = false;
  }
  say();
  load();
}

/** Takes in what the server knows of all runs. */
function take(summary) {
  runs.take(summary.runs);
  fillStages();
  const stage = controls.stage.value;
  const stages = runs.shown().flatMap((run) => run.stages.filter((s) => s.name === stage));
  whole = [0, Math.max(1, ...stages.map((s) => s.done))];
  const figures = new Set(stages.flatMap((s) => s.figures));
  for (const { figure, element } of charts) element.hidden = !figures.has(figure.of ?? figure.id);
  const query = new URLSearchParams({ stage, runs: runs.shown().map((run) => run.id).join(",") });
  byId("all-numbers").href = `/api/curves.csv?${query}`;
  byId("all-numbers").download = `${stage.replace(/[^\w.-]+/g, "_") || "run"}.csv`;
  byId("choose").hidden = summary.runs.length < 4;
  byId("controls").hidden = figures.size === 0;
  byId("empty").hidden = figures.size > 0;
  byId("empty").textContent = emptyText(summary.runs);
  document.title = runs.title() ?? "Training monitor";
  recipes.take(stage, runs);
  pictures.take(stage, runs);
  refresh();
}

function emptyText(all) {
  if (all.length === 0) return "There is no run yet.";
  if (runs.shown().length === 0) return "No run is chosen: tick one above.";
  const names = runs.shown().map((run) => run.folder);
  return `Waiting for the first event of ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}. Start it by: facecascade train … --run ${names[0]}`;
}

/** Lists the stages of the runs that are shown; chooses the one under way unless the reader has chosen. */
function fillStages() {
  const names = [...new Set(runs.shown().flatMap((run) => run.stages.filter((stage) => stage.figures.length > 0).map((stage) => stage.name)))];
  const { stage } = controls;
  const latest = runs.latestStage();
  const wanted = names.includes(chosenStage) ? chosenStage : latest;
  if (names.join("\n") !== [...stage.options].map((option) => option.value).join("\n")) {
    stage.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  if (wanted && stage.value !== wanted) {
    stage.value = wanted;
    shown = { from: null, to: null };
  }
}

function follow() {
  const connection = byId("connection");
  const set = (state, text) => {
    if (connection.textContent !== text) connection.textContent = text;
    connection.className = state;
  };
  const news = new EventSource("/api/news");
  news.onopen = () => set("live", "live");
  news.onmessage = (message) => take(JSON.parse(message.data));
  news.onerror = () => set("lost", "The monitor does not answer; trying again. What is shown is the last that it said.");
}

readTheme();
recall();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readTheme();
  runs.render();
  charts.forEach((chart) => chart.u?.redraw(false, true));
  refresh();
});
for (const chart of charts) {
  chart.element.hidden = true;
  chart.exports.PNG.addEventListener("click", () => png(chart));
  chart.exports.SVG.addEventListener("click", () => svg(chart));
  byId("charts").append(chart.element);
}
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) charts.find((chart) => chart.element === target).visible = isIntersecting;
  load();
}, { rootMargin: "200px" });
const sized = new ResizeObserver((entries) => entries.forEach(({ target }) => charts.find((chart) => chart.plot === target).resize()));
for (const chart of charts) seen.observe(chart.element), sized.observe(chart.plot);

controls.stage.addEventListener("change", () => {
  chosenStage = controls.stage.value;
  shown = { from: null, to: null };
  remember();
  runs.news && take(runs.news);
});
for (const name of ["smooth", "log", "outliers"]) {
  controls[name].addEventListener("input", () => {
    remember();
    say();
    refresh();
  });
}
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("reset").addEventListener("click", () => zoom(null, null));
byId("choose-all").addEventListener("click", () => runs.showAll(true));
byId("choose-none").addEventListener("click", () => runs.showAll(false));
document.addEventListener("visibilitychange", load);
setInterval(() => runs.renderStates(), 1000);
say();
follow();
