// Words, numbers and times as Airflow's own pages write them.
export const STATUSES = ["enrolled", "already_enrolled", "enrolled_before", "suppressed", "invalid", "duplicate", "failed", "unreported", "untried"];

// States that a task leaves only when it is cleared.
export const ENDED = new Set(["success", "failed", "skipped", "upstream_failed", "removed"]);

export const statusLabel = (status) => status.replaceAll("_", " ");
export const count = (number) => number.toLocaleString("en-US");
export const countAddresses = (number) => `${count(number)} ${number === 1 ? "address" : "addresses"}`;
export const formatCounts = (counts) =>
  STATUSES.filter((status) => counts[status]).map((status) => `${count(counts[status])} ${statusLabel(status)}`).join(", ");

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
