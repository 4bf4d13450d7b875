// The tab on a task instance: the statuses of this run's addresses.
import { useResponse } from "./fetching.js";
import { Bar, Card, Figure, KeyMark, Note, Path, State, Table, h } from "./elements.js";
import { ENDED, STATUSES, SYNC, count, countAddresses, countRows, duration, jobLabel, mebibytes, signed, statusLabel, time } from "./formatting.js";
import { errorOf } from "./runs.js";

const { useEffect, useState } = globalThis.React;

const SOON = 3_000; // milliseconds between refreshes while the task runs
const SELDOM = 30_000; // after it has ended, because it may be cleared and run again

export function TaskTab({ dagId, runId, taskId, mapIndex }) {
  const [every, setEvery] = useState(SOON);
  const query = { dag_id: dagId, run_id: runId, task_id: taskId, map_index: Number(mapIndex ?? -1) };
  const { data, problem } = useResponse("task", query, every);
  const run = data?.run;
  const pace = run && !ENDED.has(run.state) ? SOON : SELDOM;
  useEffect(() => setEvery(pace), [pace]);
  return h("div", { className: "meisa meisa-tab" },
    problem && h(Note, { kind: "error" }, problem),
    data && !run && h(Note, null, "Nothing to show: this task does not enroll or sync contacts, or wait for sequences, or it has not started."),
    run && h(Run, { run }));
}

function Run({ run }) {
  const { summary, progress } = run;
  const error = errorOf(run);
  const ended = ENDED.has(run.state);
  return h("div", { className: "meisa-stack" },
    error && h(Note, { kind: "error" }, error),
    run.operator.endsWith("Sensor")
      ? h(Note, null, "This task waits for sequences; it enrolls no contacts.")
      : !summary && !progress && !error && h(Note, null, ended
        ? "This task has no summary: nothing was sent, or its process was killed. See its log."
        : "This task has started and has no summary yet. On Airflow 3.3 and later, its progress appears here."),
    !summary && progress && !(error && progress.done === 0) && h(Progress, { progress, ended }),
    summary && h(Summary, { summary, before: run.ledger_before, error }),
    run.link && h("p", null, h("a", { href: run.link, target: "_blank", rel: "noopener noreferrer" }, "Sequence in Meisa")));
}

function Progress({ progress, ended }) {
  const { done, total, state, waiting_until: until, updated_at: updated } = progress;
  const text = total ? `${count(done)} of ${countRows(progress)}` : countRows({ ...progress, total: done });
  const doing = ended || state === "stopped" ? "stopped" : state === "waiting" ? "waiting for the rate limits" : "sending";
  return h(Card, { title: `${titleOf(progress)}: ${doing}` },
    h("p", { className: "meisa-big", "aria-live": "polite" }, text),
    total > 0 && h(Bar, { label: "Progress", share: Math.min(1, done / total), text }),
    h(Statuses, { counts: progress.counts }),
    h("dl", { className: "meisa-figures" },
      progress.requests !== null && h(Figure, { label: "Requests" }, count(progress.requests)),
      progress.rate_limited > 0 && h(Figure, { label: "Responses with 429" }, count(progress.rate_limited)),
      !ended && state === "waiting" && until && h(Figure, { label: "Resumes at" }, time(until)),
      updated && h(Figure, { label: "Updated" }, time(updated))));
}

const titleOf = ({ job, target }) => (job === "sync_contacts" ? `${jobLabel(job)} ${target}` : `Enrollment into ${target}`);

function Summary({ summary, before, error }) {
  const { kind, counts, attention } = summary;
  return h("div", { className: "meisa-stack" },
    h(Card, { title: kind === "preview" ? `Preview for ${summary.target}: nothing was sent` : titleOf(summary) },
      kind === "bulk" && !summary.complete && h(Note, { kind: error ? "error" : "info" }, "The run ended early. Rows with the status untried were not sent."),
      summary.stopped_by && !error && h(Note, { kind: "error" }, summary.stopped_by),
      kind === "preview" && h("p", { className: "meisa-big" }, `${count(summary.to_send ?? 0)} of ${count(summary.total)} would be sent`),
      kind === "preview" && summary.to_send_suppressed > 0 && h(Note, null,
        `Suppressed contacts among them: ${count(summary.to_send_suppressed)}. They would be mailed all the same.`),
      kind === "bulk" && h("p", { className: "meisa-big" }, countRows(summary)),
      h(Statuses, { counts }),
      kind !== "one" && h(Figures, { summary, before })),
    summary.reasons?.length > 0 && h(Reasons, { summary }),
    attention.length > 0 && h(Rejects, { summary }));
}

const Figures = ({ summary, before }) =>
  h("dl", { className: "meisa-figures" },
    SYNC.filter(([name]) => summary[name] !== null && summary[name] !== undefined).map(([name, label]) =>
      h(Figure, { key: name, label }, count(summary[name]))),
    summary.backlog_since && h(Figure, { label: "Backlog since" }, time(summary.backlog_since)),
    summary.requests !== null && h(Figure, { label: "Requests" }, count(summary.requests)),
    summary.retries > 0 && h(Figure, { label: "Retries" }, count(summary.retries)),
    summary.rate_limited > 0 && h(Figure, { label: "Responses with 429" }, count(summary.rate_limited)),
    summary.waited_s > 0 && h(Figure, { label: "Waited for rate limits or retries" }, duration(summary.waited_s)),
    summary.elapsed_s > 0 && h(Figure, { label: "Duration" }, duration(summary.elapsed_s)),
    summary.seconds > 0 && h(Figure, { label: "Estimated duration" }, duration(summary.seconds)),
    summary.possibly_by_this_run > 0 && h(Figure, { label: "Enrolled, possibly by an earlier request" }, count(summary.possibly_by_this_run)),
    summary.possibly_twice > 0 && h(Figure, { label: "Enrolled, possibly twice" }, count(summary.possibly_twice)),
    summary.in_doubt > 0 && h(Figure, { label: "In doubt" }, count(summary.in_doubt)),
    summary.ledger && h(Figure, { label: `Contacts in the ledger ${summary.ledger.name}` }, `${count(summary.ledger.entries)} (${mebibytes(summary.ledger.entries)})`),
    summary.ledger && before && h(Figure, { label: `Since ${time(before.at)}` }, signed(summary.ledger.entries - before.entries)),
    summary.resumed && h(Figure, { label: "Resumed" }, "from an earlier attempt"),
    summary.connection && h(Figure, { label: "Connection" }, h("code", null, summary.connection)),
    summary.environment && h(Figure, { label: "Key" }, h(KeyMark, { environment: summary.environment })),
    summary.outcomes_path && h(Figure, { label: "Outcomes file" }, h(Path, { path: summary.outcomes_path })));

const Statuses = ({ counts }) =>
  h("ul", { className: "meisa-statuses" },
    STATUSES.filter((status) => counts[status]).map((status) =>
      h("li", { key: status }, h("i", { className: `meisa-${status}`, "aria-hidden": true }),
        h("strong", null, count(counts[status])), ` ${statusLabel(status)}`)));

const REASONS = [["reason", "Reason"], ["status", "Status"], ["n_count", "Rows"]];

const Reasons = ({ summary: { reasons } }) =>
  h(Card, { title: "Reasons" },
    h(Table, { caption: "Reasons, the most frequent first", head: REASONS,
      rows: reasons.map(({ status, reason, count: number }) => h("tr", { key: `${status} ${reason}` },
        h("th", { scope: "row" }, reason || "–"), h("td", null, statusLabel(status)),
        h("td", { className: "meisa-number" }, count(number)))) }));

const REJECTS = [["address", "Address"], ["status", "Status"], ["reason", "Reason"]];

const Rejects = ({ summary: { kind, attention, attention_truncated: more, outcomes_path: path } }) =>
  h(Card, { title: kind === "one" ? "The contact" : "Needs attention" },
    h(Table, { caption: "Masked addresses, with status and reason", head: REJECTS,
      rows: attention.map((entry, index) => h("tr", { key: index },
        h("th", { scope: "row" }, h("code", null, entry.address)), h("td", null, statusLabel(entry.status)), h("td", null, entry.reason || "–"))) }),
    more && h("p", { className: "meisa-muted" }, path ? "There are more. The outcomes file has all of them."
      : "There are more. Set outcomes_path to keep them all."));
