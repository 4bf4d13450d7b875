// Words, numbers and times as Airflow's own pages write them.
export const VERDICTS = ["enrolled", "already_enrolled", "suppressed", "invalid", "duplicate", "failed", "unreported", "untried"];

// States that a task leaves only if somebody clears it.
export const ENDED = new Set(["success", "failed", "skipped", "upstream_failed", "removed"]);

export const spell = (verdict) => verdict.replaceAll("_", " ");
export const count = (number) => number.toLocaleString("en-US");
export const inWords = (counts) =>
  VERDICTS.filter((verdict) => counts[verdict]).map((verdict) => `${count(counts[verdict])} ${spell(verdict)}`).join(", ");

export const duration = (seconds) => {
  if (seconds < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
};

// The time zone that was chosen in Airflow's menu; the browser's, where none was.
export const zone = () => {
  try {
    const chosen = JSON.parse(localStorage.getItem("timezone"));
    return new Intl.DateTimeFormat("en", { timeZone: chosen ?? undefined }).resolvedOptions().timeZone;
  } catch {
    return new Intl.DateTimeFormat().resolvedOptions().timeZone;
  }
};

const formats = new Map();
export const parts = (date) => {
  const timeZone = zone();
  if (!formats.has(timeZone)) {
    const two = "2-digit";
    const wanted = { year: "numeric", month: two, day: two, hour: two, minute: two, second: two, hourCycle: "h23", timeZone };
    formats.set(timeZone, new Intl.DateTimeFormat("en-US", wanted));
  }
  return Object.fromEntries(formats.get(timeZone).formatToParts(date).map(({ type, value }) => [type, value]));
};

export const time = (iso) => {
  const { year, month, day, hour, minute, second } = parts(new Date(iso));
  return `${year}-${month}-${day} ${hour}:${minute}:${second}`;
};
