// The latest runs.
import { Bar, Card, ErrorText, KeyMark, Note, Path, State, Table, ToDag, ToTask, h } from "./elements.js";
import { ENDED, count, countAddresses, duration, formatCounts, formatSync, jobLabel, time } from "./formatting.js";
import { about } from "./filters.js";

const { useState } = globalThis.React;

const FEW = 20;
const HEAD = [["task", "Task"], ["run", "Run"], ["state", "State"], ["sequence", "Sequence or sync"], ["outcome", "Outcome"],
  ["n_total", "Rows"], ["begun", "Started"]];

export function Runs({ response: { data, problem }, hidesKnown, isFiltered }) {
  const [all, showAll] = useState(false);
  const runs = data?.runs ?? [];
  const shown = all ? runs : runs.slice(0, FEW);
  return h(Card, { title: "Latest runs" },
    problem && h(Note, { kind: "error" }, problem),
    data && runs.length === 0 && h(Note, null, isFiltered
      ? "No run of this period matches the filters. Choose a longer period, or show all."
      : "You may see no run of a Meisa task in this period. Choose a longer " +
        "period, or trigger a DAG with a MeisaBulkEnrollOperator."),
    runs.length > 0 && h(Table, { caption: "Latest runs of tasks that enroll or sync, newest first", head: HEAD,
      rows: shown.map((run) => h(Row, { key: [run.dag_id, run.run_id, run.task_id, run.map_index].join(" "), run, hidesKnown })) }),
    shown.length < runs.length && h("button", { type: "button", className: "meisa-button", onClick: () => showAll(true) },
      `Show all ${count(runs.length)}`),
    data?.truncated && h("p", { className: "meisa-muted" }, "This page holds only the newest 500 runs of the period. To see older ones, choose a DAG."));
}

function Row({ run, hidesKnown }) {
  const { job, target, connection, environment } = about(run);
  const total = (run.summary ?? run.progress)?.total;
  return h("tr", null,
    h("th", { scope: "row", className: "meisa-name" }, h(ToTask, { run }, run.task_id, run.map_index >= 0 && ` [${run.map_index}]`),
      h("small", null, h(ToDag, { dag: run.dag_id }))),
    h("td", { className: "meisa-run" }, h("span", null, run.run_id),
      run.logical_date && h("small", null, `logical date ${time(run.logical_date)}`)),
    h("td", null, h(State, { state: run.state }), h("small", null, `attempt ${run.try_number}`)),
    h("td", { className: "meisa-name" }, target ? h("code", null, target) : "–",
      job === "sync_contacts" && h("small", null, jobLabel(job)),
      connection && h("small", null, connection), h(KeyMark, { environment })),
    h("td", { className: "meisa-outcome" }, h(Outcome, { run, hidesKnown }),
      run.summary?.outcomes_path && h("small", null, h(Path, { path: run.summary.outcomes_path }))),
    h("td", { className: "meisa-number" }, typeof total === "number" ? count(total) : "–"),
    h("td", { className: "meisa-time" }, time(run.started ?? run.begun), took(run) && h("small", null, `took ${took(run)}`)));
}

function took({ summary, started, ended }) {
  if (summary?.elapsed_s) return duration(summary.elapsed_s);
  return started && ended ? duration((new Date(ended) - new Date(started)) / 1000) : "";
}

// The error of the attempt; an older version of this package has left only the one that stopped a run early.
export const errorOf = ({ error, summary, state }) =>
  error?.message || (["failed", "up_for_retry"].includes(state) ? summary?.stopped_by : "") || "";

function Outcome({ run, hidesKnown }) {
  const error = errorOf(run);
  return h("div", null, h(Result, { run, hidesKnown, error }), error && h(ErrorText, { text: error }));
}

function Result({ run: { summary, progress, state }, hidesKnown, error }) {
  if (summary?.kind === "preview") return h("span", null, `preview: ${count(summary.to_send ?? 0)} would be sent`, h(Sync, { summary }));
  if (summary) return h("span", null, formatCounts(summary.counts, { hidesKnown }) || (summary.total > 0 ? "nothing new" : "no rows"),
    h(Sync, { summary }), !summary.complete && h("small", null, "ended early"));
  const soFar = progress ? formatCounts(progress.counts, { hidesKnown }) : "";
  if (ENDED.has(state) && soFar) return `ended early: ${soFar}`;
  if (ENDED.has(state) || error) return error ? "" : "no summary: nothing was sent, or the task was killed";
  if (!progress) return "no summary yet";
  const { done, total } = progress;
  return h("span", null, total ? `${count(done)} of ${count(total)} done` : `${count(done)} done`,
    total > 0 && h(Bar, { label: "Progress", share: Math.min(1, done / total), text: `${done} of ${countAddresses(total)}` }));
}

const Sync = ({ summary }) => summary.job === "sync_contacts" && formatSync(summary) !== "" && h("small", null, formatSync(summary));
