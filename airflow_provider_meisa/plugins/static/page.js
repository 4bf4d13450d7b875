// The page Meisa.
import { useResponse } from "./fetching.js";
import { Enrollments } from "./enrollments.js";
import { Filters, select, useFilters } from "./filters.js";
import { Ledgers } from "./ledgers.js";
import { Note, h } from "./elements.js";
import { RateLimits, Sequences } from "./connection.js";
import { Runs } from "./runs.js";

const OFTEN = 10_000; // milliseconds; costs a query of Airflow's database, and no request to Meisa

export function Page() {
  const connections = useResponse("connections", {});
  const filters = useFilters();
  const { days, dag, hidesKnown } = filters;
  const response = useResponse("runs", dag ? { days, dag_id: dag } : { days }, OFTEN);
  const known = connections.data ?? [];
  const connection = known.find((id) => id === filters.connection) ?? known.find((id) => id === "meisa_default") ?? known[0];
  const runs = response.data?.runs ?? [];
  const selected = { ...response, data: response.data && { ...response.data, runs: select(runs, filters) } };
  return h("main", { className: "meisa" },
    h("header", { className: "meisa-title" },
      h("h1", null, "Meisa"),
      h(Filters, { filters, runs, dags: response.data?.dags, connections: known })),
    connections.problem && h(Note, { kind: "error" }, connections.problem),
    connections.data && known.length === 0 && h(NoConnection),
    connection && h("div", { className: "meisa-columns", key: connection },
      h(Sequences, { connection }), h(RateLimits, { connection, often: OFTEN })),
    h(Enrollments, { response: selected, days: Number(days), hidesKnown,
      onHide: (hides) => filters.choose("known", hides ? "hide" : "") }),
    h(Runs, { response: selected, hidesKnown, isFiltered: filters.isFiltered }),
    h(Ledgers, { runs: selected.data?.runs ?? [] }));
}

const NoConnection = () =>
  h(Note, null, "There is no connection to Meisa that you may read. To add one, open Admin → Connections, choose the type " +
    "Meisa and enter the API key; this needs permission. The runs below need no connection.");
