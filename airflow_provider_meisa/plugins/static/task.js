// The tab on a task instance: what has become of this run's addresses.
import { useAnswer } from "./asking.js";
import { Bar, Card, Figure, Note, Path, State, Table, h } from "./elements.js";
import { ENDED, VERDICTS, count, duration, spell, time } from "./words.js";

const { useEffect, useState } = globalThis.React;

const SOON = 3_000; // milliseconds between looks while the task runs
const SELDOM = 30_000; // afterwards: it may be cleared and run again

export function TaskTab({ dagId, runId, taskId, mapIndex }) {
  const [every, setEvery] = useState(SOON);
  const query = { dag_id: dagId, run_id: runId, task_id: taskId, map_index: Number(mapIndex ?? -1) };
  const { data, problem } = useAnswer("task", query, every);
  const run = data?.run;
  const pace = run && !ENDED.has(run.state) ? SOON : SELDOM;
  useEffect(() => setEvery(pace), [pace]);
  return h("div", { className: "meisa meisa-tab" },
    problem && h(Note, { kind: "error" }, problem),
    data && !run && h(Note, null, "This task has not talked to Meisa: it is none of the Meisa provider's, or it has not begun."),
    run && h(Run, { run }));
}

function Run({ run }) {
  const { account, progress } = run;
  const ended = ENDED.has(run.state);
  return h("div", { className: "meisa-stack" },
    run.operator.endsWith("Sensor")
      ? h(Note, null, "This task waits for sequences; it enrolls nobody.")
      : !account && !progress && h(Note, null, ended
        ? "The task has left no account: nothing was sent, or its process was killed. Its log says more."
        : "The task has begun and has given no account yet. How far it is, is shown here from Airflow 3.3 on."),
    !account && progress && h(Progress, { progress, ended }),
    account && h(Account, { account }),
    run.link && h("p", null, h("a", { href: run.link, target: "_blank", rel: "noopener noreferrer" }, "Sequence in Meisa")));
}

function Progress({ progress, ended }) {
  const { done, total, state, waiting_until: until, updated_at: updated } = progress;
  const text = total ? `${count(done)} of ${count(total)} addresses` : `${count(done)} addresses`;
  const doing = ended || state === "stopped" ? "stopped" : state === "waiting" ? "waiting for the rate limits" : "sending";
  return h(Card, { title: `Into ${progress.sequence_slug}: ${doing}` },
    h("p", { className: "meisa-big", "aria-live": "polite" }, text),
    total > 0 && h(Bar, { label: "Progress", share: Math.min(1, done / total), text }),
    h(Verdicts, { counts: progress.counts }),
    h("dl", { className: "meisa-figures" },
      progress.requests !== null && h(Figure, { label: "Requests" }, count(progress.requests)),
      progress.rate_limited > 0 && h(Figure, { label: "Answers of 429" }, count(progress.rate_limited)),
      !ended && state === "waiting" && until && h(Figure, { label: "Goes on at" }, time(until)),
      updated && h(Figure, { label: "As of" }, time(updated))));
}

function Account({ account }) {
  const { kind, counts, attention } = account;
  return h("div", { className: "meisa-stack" },
    h(Card, { title: kind === "preview" ? `A preview for ${account.sequence_slug}: nothing was sent` : `Into ${account.sequence_slug}` },
      kind === "bulk" && !account.complete && h(Note, { kind: "error" }, "The run ended early. The untried were not sent."),
      kind === "preview" && h("p", { className: "meisa-big" }, `${count(account.to_send ?? 0)} of ${count(account.total)} would be sent`),
      kind === "preview" && account.to_send_suppressed > 0 && h(Note, null,
        `${count(account.to_send_suppressed)} of them are suppressed: they would be mailed all the same.`),
      kind === "bulk" && h("p", { className: "meisa-big" }, `${count(account.total)} addresses`),
      h(Verdicts, { counts }),
      kind !== "one" && h(Figures, { account })),
    attention.length > 0 && h(Rejects, { account }));
}

const Figures = ({ account }) =>
  h("dl", { className: "meisa-figures" },
    account.requests !== null && h(Figure, { label: "Requests" }, count(account.requests)),
    account.repeats > 0 && h(Figure, { label: "Sent again" }, count(account.repeats)),
    account.rate_limited > 0 && h(Figure, { label: "Answers of 429" }, count(account.rate_limited)),
    account.waited_s > 0 && h(Figure, { label: "Waited for rate limits or repeats" }, duration(account.waited_s)),
    account.elapsed_s > 0 && h(Figure, { label: "Took" }, duration(account.elapsed_s)),
    account.seconds > 0 && h(Figure, { label: "Would take" }, duration(account.seconds)),
    account.resumed && h(Figure, { label: "Resumed" }, "went on from an earlier try"),
    account.connection && h(Figure, { label: "Connection" }, h("code", null, account.connection)),
    account.outcomes_path && h(Figure, { label: "Outcome of every address" }, h(Path, { path: account.outcomes_path })));

const Verdicts = ({ counts }) =>
  h("ul", { className: "meisa-verdicts" },
    VERDICTS.filter((verdict) => counts[verdict]).map((verdict) =>
      h("li", { key: verdict }, h("i", { className: `meisa-${verdict}`, "aria-hidden": true }),
        h("strong", null, count(counts[verdict])), ` ${spell(verdict)}`)));

const REJECTS = [["address", "Address"], ["verdict", "Verdict"], ["reason", "Reason"]];

const Rejects = ({ account: { kind, attention, attention_truncated: more, outcomes_path: path } }) =>
  h(Card, { title: kind === "one" ? "The contact" : "What wants attention" },
    h(Table, { caption: "Addresses, masked, with their verdict and its reason", head: REJECTS,
      rows: attention.map((entry, index) => h("tr", { key: index },
        h("th", { scope: "row" }, h("code", null, entry.address)), h("td", null, spell(entry.verdict)), h("td", null, entry.reason || "–"))) }),
    more && h("p", { className: "meisa-muted" }, path ? "There are more; all of them are in the outcomes file."
      : "There are more; outcomes_path keeps them all."));
