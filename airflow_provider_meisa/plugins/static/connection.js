// What a connection shows of Meisa: its sequences, and what its rate limits have left.
import { useResponse } from "./fetching.js";
import { Bar, Card, Note, Table, h } from "./elements.js";
import { count, duration } from "./formatting.js";

const { useEffect, useState } = globalThis.React;

const SOON = 2_000; // milliseconds until it is worth asking again for an answer that is on its way

const HEAD = [["name", "Sequence"], ["slug", "Slug"], ["status", "Status"], ["n_total", "Enrolled in all"]];

export function Sequences({ connection }) {
  const { data, at, problem, refresh } = useResponse("sequences", { connection });
  useEffect(() => {
    if (!data?.pending) return undefined;
    const timer = setTimeout(refresh, SOON);
    return () => clearTimeout(timer);
  }, [data, refresh]);
  const wrong = problem ?? data?.problem;
  return h(Card, { title: "Sequences", className: "meisa-wide", aside: h(Age, { data, at, refresh }) },
    wrong && h(Note, { kind: "error" }, `Meisa cannot be asked. ${wrong}`),
    !wrong && !data?.sequences && h(Note, null, "Asking Meisa …"),
    data?.sequences && h(Table, { caption: "Sequences of this connection", head: HEAD,
      empty: "This account has no sequences yet. Make one in the Meisa dashboard.",
      rows: data.sequences.map((sequence) => h(Row, { key: sequence.slug, sequence })) }));
}

// The page is drawn anew with every look at the runs, so the age grows while nobody asks again.
const age = (data, at) => duration(Math.round(data.age_s + (Date.now() - at) / 1000));

const wait = (data, at) => {
  const seconds = Math.ceil((data?.refresh_in_s ?? 0) - (Date.now() - at) / 1000);
  return seconds > 0 ? `Meisa can be asked again in ${seconds} s` : "";
};

function Age({ data, at, refresh }) {
  const [pressed, press] = useState(false);
  return h("span", { className: "meisa-aside" },
    data?.sequences && h("span", { className: "meisa-muted" }, `as of ${age(data, at)} ago`),
    h("span", { className: "meisa-muted", role: "status" }, pressed && wait(data, at)),
    h("button", { type: "button", className: "meisa-button", onClick: () => { press(true); refresh(); },
      title: "Costs one request, or none if Meisa was asked in the last 30 seconds" }, "Ask again"));
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
  return h(Card, { title: "Rate limits" },
    wrong && h(Note, { kind: "error" }, wrong),
    (data?.windows ?? []).map((window) => h(Window, { key: window.limit, window })),
    data?.next_s > 0 && h("p", null, nextRequest(data)),
    data && !wrong && h("p", { className: "meisa-muted" }, "Requests left now, as this host counts them."));
}

// After a 429 nothing may go for a while, whatever the windows have left.
const nextRequest = ({ windows, next_s: seconds }) =>
  `${windows.every(({ left }) => left > 0) ? "On hold: next" : "Next"} request in ${duration(seconds)}`;

const Window = ({ window: { limit, requests, left } }) =>
  h("div", { className: "meisa-window" },
    h("div", null, h("span", null, `${count(left)} of ${count(requests)} left`), h("span", { className: "meisa-muted" }, `per ${limit.split("/")[1]}`)),
    h(Bar, { label: `Rate limit ${limit}`, share: left / requests, text: `${left} of ${requests} requests left` }));
