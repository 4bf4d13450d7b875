// Words, numbers and times as Airflow's own pages write them.
export const STATUSES = ["enrolled", "created", "updated", "suppressed", "invalid", "duplicate", "refused_before", "failed", "unreported",
  "untried", "already_enrolled", "enrolled_before", "unchanged"];

// Statuses of contacts that an earlier run, or someone else, has dealt with: most of them, night after night.
export const KNOWN = new Set(["already_enrolled", "enrolled_before", "unchanged"]);

// States that a task leaves only when it is cleared.
export const ENDED = new Set(["success", "failed", "skipped", "upstream_failed", "removed"]);

export const statusLabel = (status) => status.replaceAll("_", " ");
export const count = (number) => number.toLocaleString("en-US");
export const countAddresses = (number) => `${count(number)} ${number === 1 ? "address" : "addresses"}`;
export const countRows = ({ job, total }) =>
  job === "sync_contacts" ? `${count(total)} ${total === 1 ? "row" : "rows"}` : countAddresses(total);
export const formatCounts = (counts, { hidesKnown = false } = {}) =>
  STATUSES.filter((status) => counts[status] && !(hidesKnown && KNOWN.has(status)))
    .map((status) => `${count(counts[status])} ${statusLabel(status)}`).join(", ");

// What a contact sync found out about its rows.
export const SYNC = [["new", "New"], ["changed", "Changed"], ["gone", "Gone from the source"], ["backlog", "Backlog"]];
export const formatSync = (summary) =>
  SYNC.filter(([name]) => summary[name] !== null && summary[name] !== undefined).map(([name]) => `${count(summary[name])} ${name}`).join(", ");

const JOBS = { enroll: "Enrollment", sync_contacts: "Contact sync" };
export const jobLabel = (job) => JOBS[job] ?? job;
export const signed = (number) => (number > 0 ? `+${count(number)}` : number < 0 ? `−${count(-number)}` : "0");

const ENTRY = 16; // bytes of an entry of a ledger
export const mebibytes = (entries) => {
  const size = (entries * ENTRY) / 2 ** 20;
  return size < 0.1 ? "under 0.1 MiB" : `${size.toFixed(1)} MiB`;
};

export const duration = (seconds) => {
  if (seconds < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

// In the time zone chosen in Airflow's menu; in the browser's if none is chosen, or the browser does not know it.
const formatOf = (chosen) => {
  const two = "2-digit";
  const wanted = { year: "numeric", month: two, day: two, hour: two, minute: two, second: two, hourCycle: "h23" };
  try {
    return new Intl.DateTimeFormat("en-US", { ...wanted, timeZone: JSON.parse(chosen) ?? undefined });
  } catch {
    return new Intl.DateTimeFormat("en-US", wanted);
  }
};

// Creating a format takes longer than formatting a thousand dates, so one is kept for each time zone.
const formats = new Map();
export const parts = (date) => {
  const chosen = globalThis.localStorage?.getItem("timezone") ?? null;
  if (!formats.has(chosen)) formats.set(chosen, formatOf(chosen));
  return Object.fromEntries(formats.get(chosen).formatToParts(date).map(({ type, value }) => [type, value]));
};

export const time = (iso) => {
  const { year, month, day, hour, minute, second } = parts(new Date(iso));
  return `${year}-${month}-${day} ${hour}:${minute}:${second}`;
};
