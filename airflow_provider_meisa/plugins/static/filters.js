// The filters of the page. They are in its URL, so that what they show can be linked.
import { Select, h } from "./elements.js";
import { jobLabel } from "./formatting.js";

const { useSearchParams } = globalThis.ReactRouterDOM;

const PERIODS = [["1", "24 hours"], ["7", "7 days"], ["30", "30 days"], ["90", "90 days"]];
const NAMES = ["connection", "dag", "job", "sequence"];

// What is known of a run: its summary, or else what it left before it had one.
export const about = ({ summary, progress, error }) => summary ?? progress ?? error ?? {};

const VALUES = {
  connection: (run) => about(run).connection,
  dag: (run) => run.dag_id,
  job: (run) => about(run).job,
  sequence: (run) => about(run).target,
};

export function useFilters() {
  const [query, setQuery] = useSearchParams();
  const choose = (name, value) => setQuery((before) => {
    const next = new URLSearchParams(before);
    if (value) next.set(name, value);
    else next.delete(name);
    return next;
  }, { replace: true });
  const chosen = Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""]));
  const days = query.get("days");
  return {
    ...chosen, choose,
    days: PERIODS.some(([key]) => key === days) ? days : "7",
    hidesKnown: query.get("known") === "hide",
    isFiltered: NAMES.some((name) => chosen[name]),
    clear: () => setQuery((before) => {
      const next = new URLSearchParams(before);
      for (const name of NAMES) next.delete(name);
      return next;
    }, { replace: true }),
  };
}

export const select = (runs, filters) =>
  runs.filter((run) => NAMES.every((name) => !filters[name] || VALUES[name](run) === filters[name]));

// The values that occur, and the chosen one even if it does not occur in the period.
const optionsOf = (name, runs, filters, more = []) =>
  [...new Set([...more, ...runs.map(VALUES[name]), filters[name]])].filter(Boolean).sort();

export function Filters({ filters, runs, dags, connections }) {
  const field = (name, label, all, more, text = (value) => value) =>
    h(Select, { label, value: filters[name], onChange: (value) => filters.choose(name, value),
      options: [["", all], ...optionsOf(name, runs, filters, more).map((value) => [value, text(value)])] });
  return h("div", { className: "meisa-filters", role: "group", "aria-label": "Filters" },
    field("connection", "Connection", "All", connections),
    field("dag", "DAG", "All", dags),
    field("job", "Job", "All", [], jobLabel),
    field("sequence", "Sequence or sync", "All"),
    h(Select, { label: "Period", value: filters.days, onChange: (value) => filters.choose("days", value), options: PERIODS }),
    filters.isFiltered && h("button", { type: "button", className: "meisa-button", onClick: filters.clear }, "Show all"));
}
