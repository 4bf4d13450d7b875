// Asking the plugin's own API, which lies beside these files, with the session of the page around us.
const { useCallback, useEffect, useState } = globalThis.React;

const API = new URL("../", import.meta.url);
const WORDS = {
  401: "You are not logged in any more. Reload the page to log in again.",
};

async function ask(path, query, signal) {
  const url = new URL(path, API);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const answer = await fetch(url, { signal, headers: { Accept: "application/json" } });
  if (answer.ok) return answer.json();
  const said = await answer.json().catch(() => ({}));
  throw new Error(WORDS[answer.status] ?? (typeof said.detail === "string" ? said.detail : `Airflow answered with ${answer.status}.`));
}

// Ask at once and, with `every`, again so many milliseconds after each answer while the page is looked at.
// Gives what was answered last, when, what is wrong now, and a function that asks again; with `query` null nothing is asked.
export function useAnswer(path, query, every = 0) {
  const [answer, setAnswer] = useState({});
  const [turn, setTurn] = useState(0);
  const key = query === null ? null : JSON.stringify(query);
  useEffect(() => setAnswer({}), [path, key]);
  useEffect(() => {
    if (key === null) return undefined;
    const stop = new AbortController();
    let timer;
    const look = async () => {
      try {
        const data = await ask(path, JSON.parse(key), stop.signal);
        setAnswer({ data, at: Date.now() });
      } catch (error) {
        if (stop.signal.aborted) return;
        setAnswer((before) => ({ ...before, problem: error.message }));
      }
      if (every && !stop.signal.aborted) timer = setTimeout(lookAgain, every);
    };
    const lookAgain = () => (document.visibilityState === "visible" ? look() : (timer = setTimeout(lookAgain, every)));
    look();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [path, key, every, turn]);
  const again = useCallback(() => setTurn((n) => n + 1), []);
  return { ...answer, again };
}
