// The tab on a task instance: what has become of this run's addresses.
import { useResponse } from "./fetching.js";
import { Bar, Card, Figure, Note, Path, State, Table, h } from "./elements.js";
import { ENDED, STATUSES, count, duration, statusLabel, time } from "./formatting.js";

const { useEffect, useState } = globalThis.React;

const SOON = 3_000; // milliseconds between looks while the task runs
const SELDOM = 30_000; // afterwards: it may be cleared and run again

export function TaskTab({ dagId, runId, taskId, mapIndex }) {
  const [every, setEvery] = useState(SOON);
  const query = { dag_id: dagId, run_id: runId, task_id: taskId, map_index: Number(mapIndex ?? -1) };
  const { data, problem } = useResponse("task", query, every);
  const run = data?.run;
  const pace = run && !ENDED.has(run.state) ? SOON : SELDOM;
  useEffect(() => setEvery(pace), [pace]);
  return h("div", { className: "meisa meisa-tab" },
    problem && h(Note, { kind: "error" }, problem),
    data && !run && h(Note, null, "This task has not talked to Meisa: it is none of the Meisa provider's, or it has not begun."),
    run && h(Run, { run }));
}

function Run({ run }) {
  const { summary, progress } = run;
  const ended = ENDED.has(run.state);
  return h("div", { className: "meisa-stack" },
    run.operator.endsWith("Sensor")
      ? h(Note, null, "This task waits for sequences; it enrolls nobody.")
      : !summary && !progress && h(Note, null, ended
        ? "The task has left no summary: nothing was sent, or its process was killed. Its log says more."
        : "The task has begun and has given no summary yet. How far it is, is shown here from Airflow 3.3 on."),
    !summary && progress && h(Progress, { progress, ended }),
    summary && h(Summary, { summary }),
    run.link && h("p", null, h("a", { href: run.link, target: "_blank", rel: "noopener noreferrer" }, "Sequence in Meisa")));
}

function Progress({ progress, ended }) {
  const { done, total, state, waiting_until: until, updated_at: updated } = progress;
  const text = total ? `${count(done)} of ${count(total)} addresses` : `${count(done)} addresses`;
  const doing = ended || state === "stopped" ? "stopped" : state === "waiting" ? "waiting for the rate limits" : "sending";
  return h(Card, { title: `Into ${progress.sequence_slug}: ${doing}` },
    h("p", { className: "meisa-big", "aria-live": "polite" }, text),
    total > 0 && h(Bar, { label: "Progress", share: Math.min(1, done / total), text }),
    h(Statuses, { counts: progress.counts }),
    h("dl", { className: "meisa-figures" },
      progress.requests !== null && h(Figure, { label: "Requests" }, count(progress.requests)),
      progress.rate_limited > 0 && h(Figure, { label: "Answers of 429" }, count(progress.rate_limited)),
      !ended && state === "waiting" && until && h(Figure, { label: "Goes on at" }, time(until)),
      updated && h(Figure, { label: "As of" }, time(updated))));
}

function Summary({ summary }) {
  const { kind, counts, attention } = summary;
  return h("div", { className: "meisa-stack" },
    h(Card, { title: kind === "preview" ? `A preview for ${summary.sequence_slug}: nothing was sent` : `Into ${summary.sequence_slug}` },
      kind === "bulk" && !summary.complete && h(Note, { kind: "error" }, "The run ended early. The untried were not sent."),
      kind === "preview" && h("p", { className: "meisa-big" }, `${count(summary.to_send ?? 0)} of ${count(summary.total)} would be sent`),
      kind === "preview" && summary.to_send_suppressed > 0 && h(Note, null,
        `${count(summary.to_send_suppressed)} of them are suppressed: they would be mailed all the same.`),
      kind === "bulk" && h("p", { className: "meisa-big" }, `${count(summary.total)} addresses`),
      h(Statuses, { counts }),
      kind !== "one" && h(Figures, { summary })),
    attention.length > 0 && h(Rejects, { summary }));
}

const Figures = ({ summary }) =>
  h("dl", { className: "meisa-figures" },
    summary.requests !== null && h(Figure, { label: "Requests" }, count(summary.requests)),
    summary.retries > 0 && h(Figure, { label: "Sent again" }, count(summary.retries)),
    summary.rate_limited > 0 && h(Figure, { label: "Answers of 429" }, count(summary.rate_limited)),
    summary.waited_s > 0 && h(Figure, { label: "Waited for rate limits or repeats" }, duration(summary.waited_s)),
    summary.elapsed_s > 0 && h(Figure, { label: "Took" }, duration(summary.elapsed_s)),
    summary.seconds > 0 && h(Figure, { label: "Would take" }, duration(summary.seconds)),
    summary.resumed && h(Figure, { label: "Resumed" }, "went on from an earlier try"),
    summary.connection && h(Figure, { label: "Connection" }, h("code", null, summary.connection)),
    summary.outcomes_path && h(Figure, { label: "Outcome of every address" }, h(Path, { path: summary.outcomes_path })));

const Statuses = ({ counts }) =>
  h("ul", { className: "meisa-statuses" },
    STATUSES.filter((status) => counts[status]).map((status) =>
      h("li", { key: status }, h("i", { className: `meisa-${status}`, "aria-hidden": true }),
        h("strong", null, count(counts[status])), ` ${statusLabel(status)}`)));

const REJECTS = [["address", "Address"], ["status", "Status"], ["reason", "Reason"]];

const Rejects = ({ summary: { kind, attention, attention_truncated: more, outcomes_path: path } }) =>
  h(Card, { title: kind === "one" ? "The contact" : "What wants attention" },
    h(Table, { caption: "Addresses, masked, with their status and its reason", head: REJECTS,
      rows: attention.map((entry, index) => h("tr", { key: index },
        h("th", { scope: "row" }, h("code", null, entry.address)), h("td", null, statusLabel(entry.status)), h("td", null, entry.reason || "–"))) }),
    more && h("p", { className: "meisa-muted" }, path ? "There are more; all of them are in the outcomes file."
      : "There are more; outcomes_path keeps them all."));
