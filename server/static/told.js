// One line that tells what was done or went wrong, with a button that undoes it; it outlives the next page.
import { api } from "./api.js";
import { make } from "./dom.js";
import { t } from "./texts.js";

let bar;

/** Say it. `act` is the number of an act that a button takes back; `back` is the page to be on after that, if not this one. */
export function tell(sentence, { act = null, back = null, bad = false } = {}) {
  bar?.remove();
  const close = make("button", { type: "button", "aria-label": t("common.close"), click: () => bar.remove() }, "✕");
  const undo = act === null ? null : make("button", { type: "button", id: "undo", click: () => takeBack(act, back) }, t("common.undo"));
  bar = make("div", { id: "told", class: bad ? "told bad" : "told", role: bad ? "alert" : "status" }, make("span", {}, sentence), undo, close);
  document.body.append(bar);
  if (!bad) setTimeout((mine) => mine.remove(), 20_000, bar);
}

/** Say it on the page that comes now: this one again, or another. */
export function tellNext(sentence, { act = null, back = null, to = null } = {}) {
  sessionStorage.setItem("told", JSON.stringify({ sentence, act, back }));
  if (to) location.assign(to);
  else location.reload();
}

/** Do something that the page asks for; an error is told, and the button waits meanwhile. */
export async function attempt(work, button = null) {
  if (button) button.disabled = true;
  try {
    return await work();
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message, { bad: true });
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}

/** Number of the newest act, which is the one just done. */
export async function lastAct() {
  const { items } = await api("GET", "/acts?limit=1");
  return items.length && items[0].undone === null ? items[0].act : null;
}

async function takeBack(act, back) {
  await attempt(async () => {
    const undone = await api("POST", `/acts/${act}/undo`);
    tellNext(undone.lost ? t("common.undone_in_part", { n: undone.lost }) : t("common.undone"), { to: back });
  });
}

const waiting = sessionStorage.getItem("told");
if (waiting) {
  sessionStorage.removeItem("told");
  const { sentence, act, back } = JSON.parse(waiting);
  tell(sentence, { act, back });
}
