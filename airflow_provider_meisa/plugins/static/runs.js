// The latest runs.
import { Bar, Card, Note, Path, State, Table, ToDag, ToTask, h } from "./elements.js";
import { ENDED, count, countAddresses, duration, formatCounts, time } from "./formatting.js";

const { useState } = globalThis.React;

const FEW = 20;
const HEAD = [["task", "Task"], ["state", "State"], ["sequence", "Sequence"], ["outcome", "Outcome"],
  ["n_total", "Addresses"], ["begun", "Started"], ["n_took", "Duration"], ["file", "Outcomes file"]];

export function Runs({ response: { data, problem } }) {
  const [all, showAll] = useState(false);
  const runs = data?.runs ?? [];
  const shown = all ? runs : runs.slice(0, FEW);
  return h(Card, { title: "Latest runs" },
    problem && h(Note, { kind: "error" }, problem),
    data && runs.length === 0 && h(Note, null, "There is no run of a Meisa task in this period that you may see. Choose a longer " +
      "period, or trigger a DAG with a MeisaBulkEnrollOperator."),
    runs.length > 0 && h(Table, { caption: "Latest runs of tasks that enroll, newest first", head: HEAD,
      rows: shown.map((run) => h(Row, { key: [run.dag_id, run.run_id, run.task_id, run.map_index].join(" "), run })) }),
    shown.length < runs.length && h("button", { type: "button", className: "meisa-button", onClick: () => showAll(true) },
      `Show all ${count(runs.length)}`),
    data?.truncated && h("p", { className: "meisa-muted" }, `This list and the chart hold only the newest ${count(runs.length)} runs of the period.`));
}

function Row({ run }) {
  const report = run.summary ?? run.progress;
  const total = report?.total;
  return h("tr", null,
    h("th", { scope: "row" }, h(ToTask, { run }, run.task_id, run.map_index >= 0 && ` [${run.map_index}]`),
      h("small", null, h(ToDag, { dag: run.dag_id }))),
    h("td", null, h(State, { state: run.state })),
    h("td", null, report ? h("code", null, report.sequence_slug) : "–", report?.connection && h("small", null, report.connection)),
    h("td", null, h(Outcome, { run })),
    h("td", { className: "meisa-number" }, typeof total === "number" ? count(total) : "–"),
    h("td", { className: "meisa-time" }, time(run.started ?? run.begun)),
    h("td", { className: "meisa-number" }, took(run)),
    h("td", null, run.summary?.outcomes_path ? h(Path, { path: run.summary.outcomes_path }) : "–"));
}

function took({ summary, started, ended }) {
  if (summary?.elapsed_s) return duration(summary.elapsed_s);
  return started && ended ? duration((new Date(ended) - new Date(started)) / 1000) : "–";
}

export function Outcome({ run: { summary, progress, state } }) {
  if (summary?.kind === "preview") return `preview: ${count(summary.to_send ?? 0)} would be sent`;
  if (summary) return h("span", null, formatCounts(summary.counts) || "no addresses", !summary.complete && h("small", null, "ended early"));
  const soFar = progress ? formatCounts(progress.counts) : "";
  if (ENDED.has(state)) return soFar ? `ended early: ${soFar}` : "no summary: nothing was sent, or the task was killed";
  if (!progress) return "no summary yet";
  const { done, total } = progress;
  return h("span", null, total ? `${count(done)} of ${count(total)} done` : `${count(done)} done`,
    total > 0 && h(Bar, { label: "Progress", share: Math.min(1, done / total), text: `${done} of ${countAddresses(total)}` }));
}
