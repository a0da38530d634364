// Webhooks: added with a secret that is shown once, tried, switched, their attempts and dead letters.
import { api } from "./api.js";
import { make, onAct } from "./dom.js";
import { onSubmit, sure } from "./forms.js";
import { attempt, tell, tellNext } from "./told.js";
import { moment, t } from "./texts.js";

const SOON = 2000;
const row = (element) => element.closest("[data-hook]");
const path = (element) => `/webhooks/${row(element).dataset.hook}`;
const secret = document.getElementById("secret-made");

function show(made) {
  document.getElementById("secret").textContent = made.secret;
  secret.showModal();
}

document.getElementById("copy").addEventListener("click", () => navigator.clipboard.writeText(document.getElementById("secret").textContent));
secret.addEventListener("close", () => location.reload());

onSubmit("add-hook", async (form) => {
  const given = new FormData(form);
  const made = await api("POST", "/webhooks", { title: given.get("title").trim(), url: given.get("url"), kinds: given.getAll("kinds") });
  form.closest("dialog").close();
  show(made);
});

onAct("new-secret", (button) => attempt(async () => show(await api("POST", `${path(button)}/secret`)), button));
onAct("ping", (button) => attempt(async () => {
  const { delivered, reason } = await api("POST", `${path(button)}/ping`);
  tell(t(delivered ? "hooks.pinged" : "hooks.not_pinged", { name: row(button).dataset.title, reason }), { bad: !delivered });
  const open = row(button).querySelector("details[data-list=attempts][open]");
  if (open) fill(open);
}, button));
onAct("switch-hook", (button) => attempt(async () => {
  const { enabled, title } = row(button).dataset;
  await api("PATCH", path(button), { enabled: enabled !== "true" });
  tellNext(t(enabled === "true" ? "alerts.is_off" : "alerts.is_on", { name: title }));
}, button));
onAct("remove-hook", (button) => {
  const name = row(button).dataset.title;
  if (!sure(button, name)) return;
  attempt(async () => {
    await api("DELETE", path(button));
    tellNext(t("users.removed", { name }));
  }, button);
});

const when = (time) => moment.format(new Date(time));

function attemptRow(one) {
  const what = one.event === null ? t("hooks.a_ping") : t("hooks.event", { number: one.event });
  return make("li", {}, make("span", { class: `tag ${one.delivered ? "good" : "bad"}` }, String(one.status ?? "–")), ` ${when(one.at)} · ${what} · ${one.reason}`);
}

function deadRow(one, details) {
  const again = make("button", { type: "button", disabled: one.again, click: () => redeliver(details, again, [one.event]) }, t(one.again ? "hooks.being_sent" : "hooks.again"));
  return make("li", { class: "row apart" }, make("span", { class: "grow" }, `${t("hooks.event", { number: one.event })} · ${when(one.at)} · ${one.reason}`), again);
}

async function fill(details) {
  await attempt(async () => {
    const list = details.querySelector("[data-part=list]");
    const { items } = await api("GET", `${path(details)}/${details.dataset.list}${details.dataset.list === "dead" ? "?limit=100" : ""}`);
    const shown = items.map((one) => (details.dataset.list === "dead" ? deadRow(one, details) : attemptRow(one)));
    list.replaceChildren(...(shown.length ? shown : [make("li", { class: "quiet" }, t("hooks.nothing"))]));
  });
}

function redeliver(details, button, events) {
  attempt(async () => {
    const { count } = await api("POST", `${path(details)}/dead/redeliver`, { events });
    tell(t("hooks.sent_again", { n: count }));
    await fill(details);
    setTimeout(fill, SOON, details);
  }, button);
}

onAct("again-all", (button) => redeliver(button.closest("details"), button, null));
for (const details of document.querySelectorAll("details[data-list]")) {
  details.addEventListener("toggle", () => { if (details.open) fill(details); });
}
