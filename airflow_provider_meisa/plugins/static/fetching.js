// Asking the plugin's own API, which lies beside these files, with the session of the page around us.
const { useCallback, useEffect, useState } = globalThis.React;

const API = new URL("../", import.meta.url);
const WORDS = {
  401: "You are not logged in any more. Reload the page to log in again.",
};

async function fetchJson(path, query, signal) {
  const url = new URL(path, API);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const response = await fetch(url, { signal, headers: { Accept: "application/json" } });
  if (response.ok) return response.json();
  const message = await response.json().catch(() => ({}));
  throw new Error(WORDS[response.status] ?? (typeof message.detail === "string" ? message.detail : `Airflow answered with ${response.status}.`));
}

// Ask at once and, with `every`, again so many milliseconds after each answer while the page is looked at.
// Gives what was answered last, when, what is wrong now, and a function that asks again; with `query` null nothing is asked.
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
