// Ranges of axes, and numbers as text.

/** Share of the points of a curve that may lie outside at each end. */
const OUTLIERS = 0.015;
/** A curve may widen the range of the others by this factor at most; beyond, it leaves the picture and a mark says so. */
const WIDER = 10;

/** Least and greatest value of what is drawn, with outliers or without; null if there is nothing. */
export function range(curves, { outliers, log }) {
  const spans = curves.map((curve) => span(curve, outliers, log)).filter(Boolean);
  if (spans.length === 0) return null;
  spans.sort((a, b) => a[1] - a[0] - (b[1] - b[0]));
  let [low, high] = spans[0];
  const distance = (a, b) => (log ? Math.log(b) - Math.log(a) : b - a);
  // From the narrowest to the widest. Curves that lie within each other's reach join.
  for (const [l, h] of spans.slice(1)) {
    const joined = [Math.min(low, l), Math.max(high, h)];
    // A constant curve has no range of its own, but a size.
    const room = Math.max(distance(low, high), (Math.abs(high) + Math.abs(low)) * 0.25);
    if (outliers || log || distance(...joined) <= WIDER * room) [low, high] = joined;
  }
  if (log) {
    const pad = Math.max(Math.pow(high / low, 0.05), 1.02);
    // uPlot counts its ticks from the lower end: a round number.
    const unit = Math.pow(10, Math.floor(Math.log10(low / pad)));
    return [Math.floor(low / pad / unit) * unit, high * pad];
  }
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  // Figures that can't be negative do not need a margin below 0.
  return [low >= 0 && low - pad < 0 ? 0 - (low === 0 ? pad * 0.2 : 0) : low - pad, high + pad];
}

function span(curve, outliers, log) {
  const usable = (value) => Number.isFinite(value) && (!log || value > 0);
  const low = curve.low.filter(usable).sort((a, b) => a - b);
  const high = curve.high.filter(usable).sort((a, b) => a - b);
  if (low.length === 0 || high.length === 0) return null;
  // The few points of a validation are no outliers.
  const leave = outliers || curve.set !== "" || high.length < 20 ? 0 : Math.ceil(high.length * OUTLIERS);
  return [low[Math.min(leave, low.length - 1)], high[Math.max(high.length - 1 - leave, 0)]];
}

/** A value with about four digits. */
export function text(value) {
  if (value === null || value === undefined) return "–";
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2).replace("e+", "e");
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

/** Steps, and other whole numbers. */
export const whole = (value) => Math.round(value).toLocaleString("en");

/** A time span, in its two largest units. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Labels of an axis: as many digits as tell its ticks apart. */
export function labels(ticks, log) {
  if (log) return ticks.map((tick) => (tick === null ? "" : text(tick)));
  const step = Math.abs((ticks[1] ?? 0) - (ticks[0] ?? 0)) || 1;
  return ticks.map((tick) => {
    if (tick === null) return "";
    const size = Math.abs(tick);
    if (size !== 0 && (size < 1e-4 || size >= 1e6)) return tick.toExponential(Math.abs(tick) / step > 20 ? 2 : 1).replace("e+", "e").replace(".0e", "e");
    // As many as a step has: 2.5 has one.
    let digits = 0;
    const isWhole = (value) => Math.round(value) >= 1 && Math.abs(value - Math.round(value)) < 1e-3;
    while (digits < 6 && !isWhole(step * 10 ** digits)) digits++;
    return tick.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  });
}
