// The ledgers of the runs: their size, and how much they have grown.
import { Card, Table, h } from "./elements.js";
import { count, jobLabel, mebibytes, signed, time } from "./formatting.js";
import { about } from "./filters.js";

const HEAD = [["ledger", "Ledger"], ["for", "Job"], ["n_entries", "Entries"], ["n_size", "Size"],
  ["n_growth", "Growth in this period"], ["at", "Last counted"]];

const endOf = ({ ended, begun }) => ended ?? begun;

// The newest and the oldest count of each ledger; runs come newest first.
export function ledgersOf(runs) {
  const found = new Map();
  for (const run of runs.filter(({ summary }) => summary?.ledger)) {
    const { ledger, job, target, connection } = run.summary;
    const key = JSON.stringify([ledger.name, connection, job, target]);
    const known = found.get(key);
    if (!known) found.set(key, { key, name: ledger.name, about: about(run), newest: ledger.entries, oldest: ledger.entries, at: endOf(run), runs: 1 });
    else Object.assign(known, { oldest: ledger.entries, runs: known.runs + 1 });
  }
  return [...found.values()];
}

export function Ledgers({ runs }) {
  const ledgers = ledgersOf(runs);
  return ledgers.length > 0 && h(Card, { title: "Ledgers" },
    h(Table, { caption: "Ledgers of these runs", head: HEAD, rows: ledgers.map((ledger) => h(Row, { key: ledger.key, ledger })) }));
}

const Row = ({ ledger: { name, about: { job, target }, newest, oldest, at, runs } }) =>
  h("tr", null,
    h("th", { scope: "row" }, h("code", null, name)),
    h("td", null, `${jobLabel(job)}: `, h("code", null, target)),
    h("td", { className: "meisa-number" }, count(newest)),
    h("td", { className: "meisa-number" }, mebibytes(newest)),
    h("td", { className: "meisa-number" }, runs > 1 ? signed(newest - oldest) : "–"),
    h("td", { className: "meisa-time" }, time(at)));
