// Enrollments over time: a bar chart for each sequence, stacked by status; and the same figures as a table.
import { Card, Note, Table, h, useWidth } from "./elements.js";
import { STATUSES, count, formatCounts, parts, statusLabel } from "./formatting.js";

const HOUR = 3_600_000;
const MOST_PANELS = 6;
const OTHERS = "other sequences";

export function Enrollments({ response: { data, problem }, days, aside }) {
  const series = data ? bySequence(data.runs, days) : null;
  return h(Card, { title: "Enrollments over time", aside },
    problem && h(Note, { kind: "error" }, problem),
    !series && !problem && h(Note, null, "Loading the runs …"),
    series?.panels.length === 0 && h(Note, null, "Airflow enrolled no contacts in this period."),
    series?.panels.length > 0 && [
      h(Legend, { key: "legend", panels: series.panels }),
      h("div", { key: "panels", className: "meisa-panels" },
        series.panels.map((panel) => h(Panel, { key: panel.sequence, panel, times: series.times }))),
      h("details", { key: "table" }, h("summary", null, "Show as a table"), h(Numbers, series)),
    ]);
}

// The bar of a date, in the chosen time zone: its hour, its day, or the Monday of its week.
function label(date, days) {
  const { year, month, day, hour } = parts(date);
  if (days <= 1) return `${month}-${day} ${hour}:00`;
  if (days <= 31) return `${month}-${day}`;
  const midnight = new Date(Date.UTC(year, month - 1, day));
  midnight.setUTCDate(midnight.getUTCDate() - ((midnight.getUTCDay() + 6) % 7));
  return midnight.toISOString().slice(5, 10);
}

function timesOf(days, now) {
  const hours = Array.from({ length: days * 24 + 1 }, (_, index) => new Date(now - (days * 24 - index) * HOUR));
  return [...new Set(hours.map((hour) => label(hour, days)))];
}

export function bySequence(runs, days, now = Date.now()) {
  const counted = runs.filter(({ summary }) => summary && summary.kind !== "preview" && Object.keys(summary.counts).length > 0);
  const totals = new Map();
  for (const { summary } of counted) totals.set(summary.sequence_slug, (totals.get(summary.sequence_slug) ?? 0) + summary.total);
  const ranked = [...totals.keys()].sort((one, other) => totals.get(other) - totals.get(one));
  const named = new Set(ranked.length > MOST_PANELS ? ranked.slice(0, MOST_PANELS - 1) : ranked);
  const panels = new Map([...named, ...(named.size < ranked.length ? [OTHERS] : [])].map((sequence) => [sequence, { sequence, counts: {}, bars: {} }]));
  for (const { summary, ended, begun } of counted) {
    const panel = panels.get(named.has(summary.sequence_slug) ? summary.sequence_slug : OTHERS);
    const bar = (panel.bars[label(new Date(ended ?? begun), days)] ??= {});
    for (const [status, number] of Object.entries(summary.counts))
      for (const sum of [panel.counts, bar]) sum[status] = (sum[status] ?? 0) + number;
  }
  return { times: timesOf(days, now), panels: [...panels.values()] };
}

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

const Legend = ({ panels }) =>
  h("ul", { className: "meisa-legend" },
    STATUSES.filter((status) => panels.some(({ counts }) => counts[status])).map((status) =>
      h("li", { key: status }, h("i", { className: `meisa-${status}`, "aria-hidden": true }), statusLabel(status))));

const HEIGHT = 120;
const LEFT = 48;
const BOTTOM = 20;

function Panel({ panel: { sequence, counts, bars }, times }) {
  const [frame, width] = useWidth();
  const top = ceiling(Math.max(...times.map((when) => sum(bars[when] ?? {})), 1));
  const step = Math.max(0, (width - LEFT) / times.length);
  const y = (number) => HEIGHT - BOTTOM - (number / top) * (HEIGHT - BOTTOM - 8);
  const skip = Math.max(1, Math.ceil((times[0].length * 7 + 12) / Math.max(step, 1)));
  return h("figure", { ref: frame, className: "meisa-panel" },
    h("figcaption", null, h("code", null, sequence), ` ${formatCounts(counts)}`),
    h("svg", { width, height: HEIGHT, role: "img", "aria-label": `${sequence}, from ${times[0]} to ${times.at(-1)}: ${formatCounts(counts)}` },
      [0, top / 2, top].map((number) => h("g", { key: number },
        h("line", { x1: LEFT, x2: width, y1: y(number), y2: y(number), className: "meisa-grid" }),
        h("text", { x: LEFT - 8, y: y(number) + 4, textAnchor: "end" }, short(number)))),
      times.map((when, index) => h("g", { key: when },
        h(Stack, { counts: bars[when] ?? {}, x: LEFT + index * step + step * 0.15, width: Math.max(1, step * 0.7), y, when }),
        index % skip === 0 && LEFT + index * step + times[0].length * 7 < width &&
          h("text", { x: LEFT + index * step + step * 0.15, y: HEIGHT - 4 }, when)))));
}

const GAP = 1; // pixels between the segments of a bar, so that they can be distinguished without colours

function Stack({ counts, x, width, y, when }) {
  let reached = 0;
  const pieces = STATUSES.filter((status) => counts[status]).map((status) => {
    const bottom = y(reached);
    reached += counts[status];
    const height = Math.max(1, bottom - y(reached) - GAP);
    return h("rect", { key: status, className: `meisa-${status}`, x, width, y: bottom - height, height });
  });
  return pieces.length > 0 && h("g", null, h("title", null, `${when}: ${formatCounts(counts)}`), pieces,
    h("path", { className: "meisa-outline", d: `M${x} ${y(reached)}h${width}V${y(0)}h${-width}z` }));
}

// The round number at the top of the scale: 1, 2 or 5, and zeros.
function ceiling(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= number);
}

const short = (number) => (number >= 1000 ? `${number / 1000}k` : number % 1 ? "" : String(number));

function Numbers({ panels, times }) {
  const statuses = STATUSES.filter((status) => panels.some(({ counts }) => counts[status]));
  const head = [["when", "When"], ["sequence", "Sequence"], ...statuses.map((status) => [`n_${status}`, statusLabel(status)])];
  const rows = times.flatMap((when) => panels.filter(({ bars }) => bars[when]).map(({ sequence, bars }) =>
    h("tr", { key: `${when} ${sequence}` }, h("th", { scope: "row" }, when), h("td", null, h("code", null, sequence)),
      statuses.map((status) => h("td", { key: status, className: "meisa-number" }, count(bars[when][status] ?? 0))))));
  return h(Table, { caption: "Enrollments by time, sequence and status", head, rows, empty: "No enrollments" });
}
