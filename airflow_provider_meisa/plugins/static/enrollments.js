// Outcomes over time: a bar chart for each sequence and sync, stacked by status; and the same figures as a table.
// Known contacts hang below the line, on a scale of their own, so that they do not dwarf the new ones.
import { Card, Note, Table, h, useWidth } from "./elements.js";
import { KNOWN, STATUSES, count, formatCounts, jobLabel, parts, statusLabel } from "./formatting.js";

const HOUR = 3_600_000;
const MOST_PANELS = 6;
const OTHERS = "others";
const ALREADY = "Show known contacts";

export function Enrollments({ response: { data, problem }, days, hidesKnown, onHide }) {
  const series = data ? bySequence(data.runs, days, { hidesKnown }) : null;
  const aside = h("label", { className: "meisa-check" },
    h("input", { type: "checkbox", checked: !hidesKnown, onChange: (event) => onHide(!event.target.checked) }), ALREADY);
  return h(Card, { title: "Outcomes over time", aside },
    problem && h(Note, { kind: "error" }, problem),
    !series && !problem && h(Note, null, "Loading the runs …"),
    series?.panels.length === 0 && h(Note, null, "Airflow sent no contacts in this period."),
    series?.panels.length > 0 && [
      h(Legend, { key: "legend", panels: series.panels }),
      h("div", { key: "panels", className: "meisa-panels" },
        series.panels.map((panel) => h(Panel, { key: panel.key, panel, times: series.times }))),
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

const keyOf = ({ job, target }) => JSON.stringify([job, target]);
const withoutKnown = (counts) => Object.fromEntries(Object.entries(counts).filter(([status]) => !KNOWN.has(status)));

export function bySequence(runs, days, { hidesKnown = false, now = Date.now() } = {}) {
  const counted = runs.filter(({ summary }) => summary && summary.kind !== "preview" && Object.keys(summary.counts).length > 0);
  const totals = new Map();
  for (const { summary } of counted) totals.set(keyOf(summary), (totals.get(keyOf(summary)) ?? 0) + summary.total);
  const ranked = [...totals.keys()].sort((one, other) => totals.get(other) - totals.get(one));
  const named = new Set(ranked.length > MOST_PANELS ? ranked.slice(0, MOST_PANELS - 1) : ranked);
  const panels = new Map([...named, ...(named.size < ranked.length ? [OTHERS] : [])].map((key) => {
    const [job, sequence] = key === OTHERS ? ["", OTHERS] : JSON.parse(key);
    return [key, { key, job, sequence, counts: {}, bars: {} }];
  }));
  for (const { summary, ended, begun } of counted) {
    const panel = panels.get(named.has(keyOf(summary)) ? keyOf(summary) : OTHERS);
    const bar = (panel.bars[label(new Date(ended ?? begun), days)] ??= {});
    for (const [status, number] of Object.entries(hidesKnown ? withoutKnown(summary.counts) : summary.counts))
      for (const sum of [panel.counts, bar]) sum[status] = (sum[status] ?? 0) + number;
  }
  return { times: timesOf(days, now), panels: [...panels.values()] };
}

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

const isKnown = (status) => KNOWN.has(status);
const isNew = (status) => !KNOWN.has(status);
const part = (counts, belongs) => sum(Object.fromEntries(Object.entries(counts).filter(([status]) => belongs(status))));

const Legend = ({ panels }) => {
  const present = STATUSES.filter((status) => panels.some(({ counts }) => counts[status]));
  return h("ul", { className: "meisa-legend" },
    present.map((status) => h("li", { key: status }, h("i", { className: `meisa-${status}`, "aria-hidden": true }), statusLabel(status))),
    present.some(isKnown) && h("li", { key: "below", className: "meisa-muted" }, "Below the line, on a scale of its own: known contacts"));
};

const HEIGHT = 112; // of the bars above the line
const BELOW = 36; // of the bars below it
const DATES = 20;
const LEFT = 48;
const GAP = 1; // pixels between the segments of a bar, so that they can be distinguished without colours

const highest = (times, bars, belongs) => ceiling(Math.max(...times.map((when) => part(bars[when] ?? {}, belongs)), 1));

function Panel({ panel: { job, sequence, counts, bars }, times }) {
  const [frame, width] = useWidth();
  const hangs = STATUSES.some((status) => isKnown(status) && counts[status]);
  const [top, bottom] = [isNew, isKnown].map((belongs) => highest(times, bars, belongs));
  const height = HEIGHT + (hangs ? BELOW : 0) + DATES;
  const step = Math.max(0, (width - LEFT) / times.length);
  const up = (number) => HEIGHT - (number / top) * (HEIGHT - 8);
  const down = (number) => HEIGHT + 2 + (number / bottom) * (BELOW - 4);
  const skip = Math.max(1, Math.ceil((times[0].length * 7 + 12) / Math.max(step, 1)));
  const text = formatCounts(counts) || "nothing new";
  return h("figure", { ref: frame, className: "meisa-panel" },
    h("figcaption", null, h("code", null, sequence), job === "sync_contacts" && ` ${jobLabel(job).toLowerCase()}:`, ` ${text}`),
    h("svg", { width, height, role: "img", "aria-label": `${sequence}, from ${times[0]} to ${times.at(-1)}: ${text}` },
      [[0, up(0)], [top / 2, up(top / 2)], [top, up(top)], ...(hangs ? [[bottom, down(bottom)]] : [])].map(([number, y]) => h("g", { key: y },
        h("line", { x1: LEFT, x2: width, y1: y, y2: y, className: "meisa-grid" }),
        h("text", { x: LEFT - 8, y: y + 4, textAnchor: "end" }, short(number)))),
      times.map((when, index) => {
        const place = { when, counts: bars[when] ?? {}, x: LEFT + index * step + step * 0.15, width: Math.max(1, step * 0.7) };
        return h("g", { key: when },
          h(Stack, { ...place, y: up, belongs: isNew }), h(Stack, { ...place, y: down, belongs: isKnown }),
          index % skip === 0 && LEFT + index * step + times[0].length * 7 < width &&
            h("text", { x: place.x, y: height - 4 }, when));
      })));
}

function Stack({ counts, x, width, y, when, belongs }) {
  let reached = 0;
  const pieces = STATUSES.filter((status) => belongs(status) && counts[status]).map((status) => {
    const from = y(reached);
    reached += counts[status];
    const height = Math.max(1, Math.abs(y(reached) - from) - GAP);
    return h("rect", { key: status, className: `meisa-${status}`, x, width, y: y(reached) < from ? from - height : from, height });
  });
  return pieces.length > 0 && h("g", null, h("title", null, `${when}: ${formatCounts(counts)}`), pieces,
    h("path", { className: "meisa-outline", d: `M${x} ${y(reached)}h${width}V${y(0)}h${-width}z` }));
}

// The round number at the top of the scale: 1, 2 or 5, and zeros.
function ceiling(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((step) => step * power).find((round) => round >= number);
}

const short = (number) => (number >= 10 ** 6 ? `${number / 10 ** 6}M` : number >= 1000 ? `${number / 1000}k` : number % 1 ? "" : String(number));

function Numbers({ panels, times }) {
  const statuses = STATUSES.filter((status) => panels.some(({ counts }) => counts[status]));
  const head = [["when", "When"], ["sequence", "Sequence or sync"], ...statuses.map((status) => [`n_${status}`, statusLabel(status)])];
  const rows = times.flatMap((when) => panels.filter(({ bars }) => bars[when]).map(({ key, sequence, bars }) =>
    h("tr", { key: `${when} ${key}` }, h("th", { scope: "row" }, when), h("td", null, h("code", null, sequence)),
      statuses.map((status) => h("td", { key: status, className: "meisa-number" }, count(bars[when][status] ?? 0))))));
  return h(Table, { caption: "Outcomes by time, sequence or sync, and status", head, rows, empty: "No outcomes" });
}
