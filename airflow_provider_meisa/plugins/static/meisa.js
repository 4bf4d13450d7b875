// The module that Airflow's UI loads (react_apps): a component with the plugin's name, on the page's own React.
// Without a task it is the page, with one the tab. No build step: browsers load these modules as they are.
import { Page } from "./page.js";
import { TaskTab } from "./task.js";
import { h } from "./elements.js";

const styles = document.createElement("link");
styles.rel = "stylesheet";
styles.href = new URL("meisa.css", import.meta.url).href;
document.head.append(styles);

globalThis.Meisa = ({ dagId, runId, taskId, mapIndex }) =>
  taskId === undefined
    ? h(Page)
    : h(TaskTab, { key: [dagId, runId, taskId, mapIndex].join(" "), dagId, runId, taskId, mapIndex });
globalThis.AirflowPlugin = globalThis.Meisa;
