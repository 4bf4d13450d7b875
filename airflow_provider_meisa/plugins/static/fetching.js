// Requests to the plugin's own API, next to these files, with the session of the page.
const { useCallback, useEffect, useState } = globalThis.React;

const API = new URL("../", import.meta.url);
const WORDS = {
  401: "You are no longer logged in. Reload the page to log in again.",
};

async function fetchJson(path, query, signal) {
  const url = new URL(path, API);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  const message = await response.json().catch(() => ({}));
  throw new Error(WORDS[response.status] ?? (typeof message.detail === "string" ? message.detail : `Airflow responded with ${response.status}.`));
}

// Send a request now and, with `every`, again that many milliseconds after each response while the page is visible.
// Returns the last data, when it came, the current problem, and a function that refreshes; `query` null sends nothing.
export function useResponse(path, query, every = 0) {
  const [response, setResponse] = useState({});
  const [turn, setTurn] = useState(0);
  const key = query === null ? null : JSON.stringify(query);
  useEffect(() => setResponse({}), [path, key]);
  useEffect(() => {
    if (key === null) return undefined;
    const stop = new AbortController();
    let timer;
    const fetchNow = async () => {
      try {
        const data = await fetchJson(path, JSON.parse(key), stop.signal);
        setResponse({ data, at: Date.now() });
      } catch (error) {
        if (stop.signal.aborted) return;
        setResponse((before) => ({ ...before, problem: error.message }));
      }
      if (every && !stop.signal.aborted) timer = setTimeout(fetchAgain, every);
    };
    const fetchAgain = () => (document.visibilityState === "visible" ? fetchNow() : (timer = setTimeout(fetchAgain, every)));
    fetchNow();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, key, every, turn]);
  const refresh = useCallback(() => setTurn((n) => n + 1), []);
  return { ...response, refresh };
}
