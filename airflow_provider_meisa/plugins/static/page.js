// The page Meisa.
import { useResponse } from "./fetching.js";
import { Enrollments } from "./enrollments.js";
import { Note, Select, h } from "./elements.js";
import { RateLimits, Sequences } from "./connection.js";
import { Runs } from "./runs.js";

const { useState } = globalThis.React;

const OFTEN = 10_000; // milliseconds; costs a query of Airflow's database, and no request to Meisa
const PERIODS = [["1", "24 hours"], ["7", "7 days"], ["30", "30 days"], ["90", "90 days"]];

export function Page() {
  const connections = useResponse("connections", {});
  const [chosen, choose] = useState(null);
  const [days, setDays] = useState("7");
  const runs = useResponse("runs", { days }, OFTEN);
  const known = connections.data ?? [];
  const connection = chosen ?? (known.includes("meisa_default") ? "meisa_default" : known[0]);
  return h("main", { className: "meisa" },
    h("header", { className: "meisa-title" },
      h("h1", null, "Meisa"),
      known.length > 0 && h(Select, { label: "Connection", value: connection, onChange: choose, options: known.map((id) => [id, id]) })),
    connections.problem && h(Note, { kind: "error" }, connections.problem),
    connections.data && known.length === 0 && h(NoConnection),
    connection && h("div", { className: "meisa-columns", key: connection },
      h(Sequences, { connection }), h(RateLimits, { connection, often: OFTEN })),
    h(Enrollments, { response: runs, days: Number(days),
      aside: h(Select, { label: "Period", value: days, onChange: setDays, options: PERIODS }) }),
    h(Runs, { response: runs }));
}

const NoConnection = () =>
  h(Note, null, "There is no connection to Meisa that you may read. To add one, open Admin → Connections, choose the type " +
    "Meisa and enter the API key; this needs permission. The runs below need no connection.");
