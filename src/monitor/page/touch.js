// Zooming by fingers: one that is drawn across a chart chooses steps as the mouse does; two spread or move what is shown.

/** Pixels that a finger must move, or the distance that two must keep, to be meant. */
const LEAST = 8;

/** Lets fingers zoom a chart: its plot, its uPlot (`u`), the steps it shows (`from`, `to`) and `events.zoom`. */
export function zoomByFingers(chart) {
  const { plot } = chart;
  /** Where each finger is, pixels from the left edge of the curves. */
  const fingers = new Map();
  /** Where the fingers were and what was shown when the last one was put down. */
  let begun = null;

  const place = (event) => event.clientX - chart.u.over.getBoundingClientRect().left;
  const select = (left, width) => chart.u.setSelect({ left, width, top: 0, height: width && chart.u.over.clientHeight }, false);
  const show = (from, to) => {
    [chart.from, chart.to] = [from, to];
    chart.u.setScale("x", { min: from, max: to });
  };

  /** The steps to show so that those under two fingers stay under them. */
  function spread() {
    const { from, to, places, width } = begun;
    const [a, b] = [...fingers.values()];
    const perPixel = (to - from) / width;
    if (Math.abs(places[1] - places[0]) < LEAST || Math.abs(b - a) < LEAST || (b - a) * (places[1] - places[0]) < 0) return null;
    const now = (perPixel * (places[1] - places[0])) / (b - a);
    const first = from + perPixel * places[0] - now * a;
    return [first, first + now * width];
  }

  /** The steps that one finger was drawn across; null if it hardly moved. */
  function drawn() {
    const width = begun.width;
    const [a, b] = [begun.places[0], [...fingers.values()][0]].map((x) => Math.min(width, Math.max(0, x))).sort((x, y) => x - y);
    return b - a < LEAST ? null : [a, b];
  }

  plot.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "touch" || !chart.u || fingers.size === 2) return;
    fingers.set(event.pointerId, place(event));
    select(0, 0);
    begun = { from: chart.from, to: chart.to, places: [...fingers.values()], width: chart.u.over.clientWidth };
  });
  plot.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 2) {
      const steps = spread();
      if (steps) show(...steps);
    } else {
      const range = drawn();
      if (range) select(range[0], range[1] - range[0]);
    }
  });
  plot.addEventListener("pointerup", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const { from, to, width } = begun;
    const range = fingers.size === 1 ? drawn()?.map((x) => from + (x / width) * (to - from)) : spread();
    end();
    if (range) chart.events.zoom(...range.map(Math.round));
  });
  // The browser took the finger to scroll the page.
  plot.addEventListener("pointercancel", (event) => {
    if (!fingers.has(event.pointerId)) return;
    if (fingers.size === 2) show(begun.from, begun.to);
    end();
  });

  function end() {
    fingers.clear();
    select(0, 0);
  }
}
