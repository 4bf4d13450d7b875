// The sequences of a connection, and the requests left in its rate limits.
import { useResponse } from "./fetching.js";
import { Bar, Card, Note, Table, h } from "./elements.js";
import { count, duration } from "./formatting.js";

const { useEffect, useState } = globalThis.React;

const SOON = 2_000; // milliseconds between requests for a response that is pending
const JUST_NOW = 5; // seconds

const HEAD = [["name", "Sequence"], ["slug", "Slug"], ["status", "Status"], ["n_total", "Total enrolled"]];

export function Sequences({ connection }) {
  const { data, at, problem, refresh } = useResponse("sequences", { connection });
  useEffect(() => {
    if (!data?.pending) return undefined;
    const timer = setTimeout(refresh, SOON);
    return () => clearTimeout(timer);
  }, [data, refresh]);
  const wrong = problem ?? data?.problem;
  return h(Card, { title: "Sequences", about: connection, className: "meisa-wide", aside: h(Age, { data, at, refresh }) },
    wrong && h(Note, { kind: "error" }, `The sequences cannot be loaded. ${wrong}`),
    !wrong && !data?.sequences && h(Note, null, "Loading from Meisa …"),
    data?.sequences && h(Table, { caption: "Sequences of this connection", head: HEAD,
      empty: "This account has no sequences yet. Create one in the Meisa dashboard.",
      rows: data.sequences.map((sequence) => h(Row, { key: sequence.slug, sequence })) }));
}

// The page is drawn again whenever the runs are refreshed, so the age grows without a refresh of the sequences.
const updated = (data, at) => {
  const seconds = Math.round(data.age_s + (Date.now() - at) / 1000);
  return seconds < JUST_NOW ? "Updated just now" : `Updated ${duration(seconds)} ago`;
};

const wait = (data, at) => {
  const seconds = Math.ceil((data?.refresh_in_s ?? 0) - (Date.now() - at) / 1000);
  return seconds > 0 ? `Next refresh in ${seconds} s` : "";
};

function Age({ data, at, refresh }) {
  const [pressed, press] = useState(false);
  return h("span", { className: "meisa-aside" },
    data?.sequences && h("span", { className: "meisa-muted" }, updated(data, at)),
    h("span", { className: "meisa-muted", role: "status" }, pressed && wait(data, at)),
    h("button", { type: "button", className: "meisa-button", onClick: () => { press(true); refresh(); },
      title: "Sends one request to Meisa, or none if the last one is less than 30 seconds old" }, "Refresh"));
}

const Row = ({ sequence }) =>
  h("tr", null,
    h("th", { scope: "row" }, sequence.name || sequence.slug),
    h("td", null, h("code", null, sequence.slug)),
    h("td", null, h("span", { className: `meisa-status ${sequence.status === "active" ? "meisa-active" : ""}` }, sequence.status || "unknown")),
    h("td", { className: "meisa-number" }, sequence.total_enrolled === null ? "–" : count(sequence.total_enrolled)));

export function RateLimits({ connection, often }) {
  const { data, problem } = useResponse("rate_limits", { connection }, often);
  const wrong = problem ?? data?.problem;
  return h(Card, { title: "Rate limits", about: connection },
    wrong && h(Note, { kind: "error" }, wrong),
    (data?.windows ?? []).map((window) => h(Window, { key: window.limit, window })),
    data?.next_s > 0 && h("p", null, nextRequest(data)),
    data && !wrong && h("p", { className: "meisa-muted" }, "Requests left now, as counted on this host or in Redis."));
}

// After a 429 or 503, no request may be sent for a while, whatever the windows have left.
const nextRequest = ({ windows, next_s: seconds }) =>
  `${windows.every(({ left }) => left > 0) ? "Paused: next" : "Next"} request in ${duration(seconds)}`;

const Window = ({ window: { limit, requests, left } }) =>
  h("div", { className: "meisa-window" },
    h("div", null, h("span", null, `${count(left)} of ${count(requests)} left`), h("span", { className: "meisa-muted" }, `per ${limit.split("/")[1]}`)),
    h(Bar, { label: `Rate limit ${limit}`, share: left / requests, text: `${left} of ${requests} requests left` }));
