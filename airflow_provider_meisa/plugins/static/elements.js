// The elements of the page and the tab.
const { createElement, useEffect, useRef, useState } = globalThis.React;
const { Link } = globalThis.ReactRouterDOM;

export const h = createElement;

export const Card = ({ title, about = "", aside, children, className = "" }) =>
  h("section", { className: `meisa-card ${className}`, "aria-label": title },
    h("header", null, h("h2", null, title, about && h("small", null, about)), aside),
    children);

export const Note = ({ kind = "info", children }) =>
  h("p", { className: `meisa-note meisa-note-${kind}`, role: kind === "error" ? "alert" : undefined }, children);

// The message of an error; a long one is cut until it is pressed.
const LONG = 160; // characters
export const ErrorText = ({ text }) => text.length <= LONG
  ? h("p", { className: "meisa-error" }, text)
  : h("details", { className: "meisa-error" }, h("summary", null, `${text.slice(0, LONG - 20)} …`), h("p", null, text));

// Whether the key was live or test, if the run knows it.
export const KeyMark = ({ environment }) =>
  environment ? h("span", { className: `meisa-key meisa-key-${environment}` }, `${environment} key`) : null;

export const State = ({ state }) =>
  h("span", { className: "meisa-state", style: { "--state": `var(--chakra-colors-${state ?? "none"}-solid)` } },
    h("i", { "aria-hidden": true }), (state ?? "no status").replaceAll("_", " "));

export const Select = ({ label, value, options, onChange }) =>
  h("label", { className: "meisa-select" }, label,
    h("select", { value, onChange: (event) => onChange(event.target.value) },
      options.map(([key, text]) => h("option", { key, value: key }, text))));

export const Figure = ({ label, children }) => h("div", { className: "meisa-figure" }, h("dt", null, label), h("dd", null, children));

export const Bar = ({ label, share, text }) =>
  h("div", { className: "meisa-meter", role: "progressbar", "aria-label": label, "aria-valuetext": text,
    "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.round(100 * share) },
    h("span", { style: { width: `${100 * share}%` } }));

export const Table = ({ caption, head, rows, empty }) =>
  h("div", { className: "meisa-scroll", tabIndex: 0, role: "region", "aria-label": caption },
    h("table", null,
      h("caption", null, caption),
      h("thead", null, h("tr", null, head.map(([key, text]) =>
        h("th", { key, scope: "col", className: key.startsWith("n_") ? "meisa-number" : undefined }, text)))),
      h("tbody", null, rows.length > 0 ? rows
        : h("tr", null, h("td", { colSpan: head.length, className: "meisa-muted" }, empty)))));

export const toTask = ({ dag_id, run_id, task_id, map_index }) =>
  `/dags/${encodeURIComponent(dag_id)}/runs/${encodeURIComponent(run_id)}/tasks/${encodeURIComponent(task_id)}` +
  (map_index >= 0 ? `/mapped/${map_index}` : "");

export const ToDag = ({ dag }) => h(Link, { to: `/dags/${encodeURIComponent(dag)}` }, dag);
export const ToTask = ({ run, children }) => h(Link, { to: toTask(run) }, children);

const MESSAGE_MS = 2_000; // milliseconds that "Copied" stays

// A path with a button that copies it. Browsers allow copying only over HTTPS and on localhost.
export const Path = ({ path }) => {
  const [message, setMessage] = useState("");
  useEffect(() => {
    const timer = message && setTimeout(() => setMessage(""), MESSAGE_MS);
    return () => clearTimeout(timer);
  }, [message]);
  const copy = () => navigator.clipboard.writeText(path).then(() => setMessage("Copied"), () => setMessage("Not copied"));
  return h("span", { className: "meisa-path" }, h("code", { title: path }, path),
    navigator.clipboard && h("button", { type: "button", className: "meisa-button", onClick: copy,
      "aria-label": `Copy the path ${path}` }, "Copy"),
    h("span", { className: "meisa-muted", role: "status" }, message));
};

// The current width of an element, for charts that are drawn at that width instead of stretched.
export const useWidth = () => {
  const element = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry.contentRect.width)));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return [element, width];
};
