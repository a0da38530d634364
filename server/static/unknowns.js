// Unknown people: name one by typing and go on to the next; merge, ignore.
import { api } from "./api.js";
import { onAct } from "./dom.js";
import "./names.js";
import { picking } from "./picking.js";
import { attempt, lastAct, tell, tellNext } from "./told.js";
import { t } from "./texts.js";

const list = document.getElementById("unknowns");
const picked = picking("#unknowns", "unknowns.picked", 2);
const number = (element) => Number(element.closest(".unknown").dataset.person);

/** Go to the next (1) or the one before (-1), counted from where the focus is. */
function step(by) {
  const rows = [...list.children];
  const at = rows.indexOf(document.activeElement.closest(".unknown"));
  const row = rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), rows.length - 1)];
  row.querySelector("input[name=name]")?.focus();
  row.scrollIntoView({ block: "nearest" });
}

function settle(row, sentence, act) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  next?.querySelector("input[name=name]")?.focus();
  if (next) tell(sentence, { act });
  else tellNext(sentence, { act });
}

list?.addEventListener("submit", (event) => {
  event.preventDefault();
  const row = event.target.closest(".unknown");
  attempt(async () => {
    const person = await api("POST", `/unknowns/${number(row)}/name`, { name: event.target.elements.name.value });
    settle(row, t("unknowns.named", { name: person.name }), await lastAct());
  }, event.submitter);
});

onAct("ignore", (button) => attempt(async () => {
  const hidden = button.dataset.hidden === "true";
  await api("PATCH", `/unknowns/${number(button)}`, { hidden });
  settle(button.closest(".unknown"), t(hidden ? "unknowns.ignored" : "unknowns.attended"), await lastAct());
}, button));

document.getElementById("merge").addEventListener("click", (event) => attempt(async () => {
  const [into, ...others] = picked().map(number);
  await api("POST", `/unknowns/${into}/merge`, { others });
  tellNext(t("unknowns.merged", { n: others.length + 1 }), { act: others.length === 1 ? await lastAct() : null });
}, event.target));

document.getElementById("gather")?.addEventListener("click", (event) => attempt(async () => {
  let left, founded = 0;
  do {
    left = await api("POST", "/unknowns/gather", {});
    founded += left.founded;
  } while (left.pending);
  tellNext(t("unknowns.gathered", { n: founded }));
}, event.target));

document.addEventListener("keydown", (event) => {
  if (!list || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const typing = event.target.matches("input:not([type=checkbox]), select, textarea");
  const by = { ArrowDown: event.altKey && 1, ArrowUp: event.altKey && -1, j: !typing && 1, k: !typing && -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  step(by);
});
