// A list of jobs that keeps itself up to date: quickly while one runs, else when an event says so.
import { api } from "./api.js";
import { copy, make } from "./dom.js";
import { attempt } from "./told.js";
import { moment, shown, t } from "./texts.js";

const OVER = ["done", "failed", "cancelled"];
const TONE = { done: "good", failed: "bad", running: "unsure", stopping: "unsure" };

/** Fill `list` with jobs of these kinds (none: all); `empty` is shown while there are none. */
export function watchJobs(list, empty, kinds = null) {
  const rows = new Map();
  let timer;

  function row(job) {
    const [element, parts] = copy("job");
    parts.cancel.addEventListener("click", () => attempt(() => api("POST", `/jobs/${job.id}/cancel`), parts.cancel).then(refresh));
    parts.resume.addEventListener("click", () => attempt(() => api("POST", `/jobs/${job.id}/resume`), parts.resume).then(refresh));
    let next = null;
    const more = () => attempt(async () => {
      const found = await api("GET", `/jobs/${job.id}/refusals?limit=50${next === null ? "" : `&cursor=${next}`}`);
      parts.list.append(...found.items.map((one) => make("li", {}, make("code", {}, one.source), `: ${one.reason}`)));
      next = found.next;
      parts.more.hidden = next === null;
    });
    parts.refusals.addEventListener("toggle", () => {
      if (parts.refusals.open && !parts.list.children.length) more();
    });
    parts.more.addEventListener("click", more);
    return [element, parts];
  }

  function fill(parts, job) {
    const { counts } = job;
    parts.title.textContent = job.title;
    parts.title.title = t("archive.by", { name: job.by, when: moment.format(new Date(job.created)) });
    parts.state.textContent = t(`job.${job.state}`);
    parts.state.className = `tag ${TONE[job.state] ?? ""}`;
    parts.cancel.hidden = OVER.includes(job.state) || job.state === "stopping";
    parts.resume.hidden = !["failed", "cancelled"].includes(job.state);
    parts.progress.hidden = OVER.includes(job.state);
    if (job.total) parts.progress.value = job.seen / job.total;
    else parts.progress.removeAttribute("value");
    parts.counts.textContent = job.kind === "index"
      ? t("archive.counts", { seen: shown(job.seen), total: job.total === null ? "?" : shown(job.total), faces: shown(counts.faces ?? 0), already: shown(counts.already ?? 0) })
      : "";
    parts.note.textContent = job.error ?? job.note;
    parts.refusals.hidden = !counts.refused;
    parts.refused.textContent = t("archive.refused", { n: counts.refused ?? 0 });
  }

  async function refresh() {
    clearTimeout(timer);
    const { items } = await api("GET", "/jobs?limit=20");
    const mine = items.filter((job) => kinds === null || kinds.includes(job.kind));
    for (const job of mine) {
      if (!rows.has(job.id)) rows.set(job.id, row(job));
      fill(rows.get(job.id)[1], job);
    }
    const elements = mine.map((job) => rows.get(job.id)[0]);
    if (elements.length !== list.children.length || elements.some((element, at) => list.children[at] !== element)) list.replaceChildren(...elements);
    list.hidden = !mine.length;
    if (empty) empty.hidden = mine.length > 0;
    if (mine.some((job) => !OVER.includes(job.state))) timer = setTimeout(() => attempt(refresh), 1000);
  }

  const stream = new EventSource("/api/v1/events/stream?kind=job");
  stream.addEventListener("job", () => attempt(refresh));
  addEventListener("pagehide", () => stream.close());
  attempt(refresh);
  return { refresh };
}
