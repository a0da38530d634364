// Rules: what raises an alert, put together in a dialog and tried on the last day before it is kept.
import { api } from "./api.js";
import { Areas } from "./areas.js";
import { copy, make, onAct } from "./dom.js";
import { answered, onSubmit, sure } from "./forms.js";
import "./names.js";
import { attempt, tellNext } from "./told.js";
import { t } from "./texts.js";

const by = (id) => document.getElementById(id);
const NEW = {
  title: "", enabled: true, severity: "warning", who: "unknown", people: [], sources: [], zone: null, hours: [],
  timezone: Intl.DateTimeFormat().resolvedOptions().timeZone, min_similarity: null, min_quality: null, cooldown: 60, mqtt: true,
};
const row = (element) => element.closest("[data-rule]");
const settings = (element) => JSON.parse(row(element).dataset.settings);

onAct("strangers", (button) => attempt(async () => {
  const { title } = await api("POST", "/rules/unknown");
  tellNext(t("alerts.is_on", { name: title }));
}, button));
onAct("switch", (button) => attempt(async () => {
  const rule = settings(button);
  await api("PUT", `/rules/${row(button).dataset.rule}`, { ...rule, enabled: !rule.enabled });
  tellNext(t(rule.enabled ? "alerts.is_off" : "alerts.is_on", { name: rule.title }));
}, button));
onAct("remove-rule", (button) => {
  const name = row(button).dataset.title;
  if (!sure(button, name)) return;
  attempt(async () => {
    await api("DELETE", `/rules/${row(button).dataset.rule}`);
    tellNext(t("users.removed", { name }));
  }, button);
});

const form = by("keep-rule");
if (form) editing(form);

function editing(form) {
  const { names, cameras } = Object.fromEntries(Object.entries(by("rules").dataset).map(([name, value]) => [name, JSON.parse(value)]));
  const drawing = by("zone").querySelector("svg");
  const boxes = [...form.querySelectorAll("[name=sources]")];
  let rule, number, people;
  const areas = new Areas(drawing, {
    zones: [], masks: [], editable: true,
    changed: ({ drawing: busy, chosen }) => {
      by("finish").hidden = !busy;
      by("erase").disabled = !chosen && !busy;
    },
  });

  function begin(given, at) {
    [rule, number, people] = [given, at, new Map(given.people.map((one) => [one, names[one] ?? t("common.unknown_number", { n: one })]))];
    by("rule-title").textContent = t(number === null ? "alerts.add" : "alerts.edit_rule");
    for (const name of ["title", "severity", "who", "cooldown", "min_similarity", "min_quality"]) form.elements[name].value = rule[name] ?? "";
    form.elements.mqtt.checked = rule.mqtt;
    for (const box of boxes) box.checked = rule.sources.includes(box.value);
    by("hours").replaceChildren(...rule.hours.map(hours));
    by("zone-name").textContent = t("alerts.timezone", { name: rule.timezone });
    areas.masks = rule.zone === null ? [] : [rule.zone];
    areas.begin("masks");
    areas.erase();
    by("trial").hidden = form.querySelector("[data-part=wrong]").hidden = true;
    update();
    showPeople();
    by("rule").showModal();
  }

  onAct("new-rule", () => begin(NEW, null));
  onAct("edit-rule", (button) => begin(settings(button), row(button).dataset.rule));

  // Who

  function showPeople() {
    by("people").hidden = form.elements.who.value !== "people";
    by("chosen").replaceChildren(...[...people].map(([one, name]) => make("li", {}, make("button", {
      type: "button", "aria-label": t("alerts.without", { name }), click: () => { people.delete(one); showPeople(); },
    }, `${name} ✕`))));
  }

  async function choose() {
    const typed = by("person").value.trim();
    if (!typed) return;
    const { items } = await api("GET", `/people?limit=50&q=${encodeURIComponent(typed)}`);
    const found = items.find((one) => one.name === typed) ?? (items.length === 1 ? items[0] : null);
    if (!found) throw new Error(t("alerts.nobody", { name: typed }));
    people.set(found.identity, found.name);
    by("person").value = "";
    showPeople();
  }

  form.elements.who.addEventListener("change", showPeople);
  by("person").addEventListener("chosen", () => answered(form, by("person"), choose));
  by("person").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.defaultPrevented) return;
    event.preventDefault();
    answered(form, by("person"), choose);
  });

  // When

  function hours(given) {
    const [element, parts] = copy("window");
    for (const box of element.querySelectorAll("[data-day]")) box.checked = given.days.includes(Number(box.value));
    parts.start.value = given.start;
    parts.end.value = given.end;
    parts.remove.addEventListener("click", () => { element.remove(); update(); });
    return element;
  }

  by("add-hours").addEventListener("click", () => {
    by("hours").append(hours({ days: [0, 1, 2, 3, 4, 5, 6], start: "22:00", end: "06:00" }));
    update();
  });

  // Where

  function update() {
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value);
    const camera = chosen.length === 1 ? cameras[chosen[0]] : undefined;
    by("zone").hidden = chosen.length !== 1;
    by("zone-why").hidden = chosen.length === 1;
    if (camera !== undefined) by("snapshot").src = `/api/v1/cameras/${camera}/snapshot`;
    else by("snapshot").removeAttribute("src");
    const any = by("hours").children.length > 0;
    by("always").hidden = any;
    by("zone-name").hidden = !any;
  }

  for (const box of boxes) box.addEventListener("change", update);
  by("draw").addEventListener("click", () => { areas.masks = []; areas.begin("masks"); });
  by("finish").addEventListener("click", () => areas.finish());
  by("erase").addEventListener("click", () => areas.erase());

  // What is put together

  function made() {
    const share = (name) => (form.elements[name].value === "" ? null : Number(form.elements[name].value));
    const sources = boxes.filter((box) => box.checked).map((box) => box.value);
    areas.finish();
    return {
      ...rule,
      title: form.elements.title.value.trim(), severity: form.elements.severity.value, who: form.elements.who.value,
      people: form.elements.who.value === "people" ? [...people.keys()] : [],
      sources, zone: sources.length === 1 ? areas.masks[0] ?? null : null,
      hours: [...by("hours").children].map((element) => ({
        days: [...element.querySelectorAll("[data-day]:checked")].map((box) => Number(box.value)),
        start: element.querySelector("[data-part=start]").value, end: element.querySelector("[data-part=end]").value,
      })),
      cooldown: Number(form.elements.cooldown.value), min_similarity: share("min_similarity"), min_quality: share("min_quality"),
      mqtt: form.elements.mqtt.checked,
    };
  }

  by("try").addEventListener("click", (event) => {
    if (!form.reportValidity()) return;
    answered(form, event.target, async () => {
      const { looked_at, matched, alerts } = await api("POST", "/rules/try", made());
      by("trial").textContent = t("alerts.tried", { seen: looked_at, matched, alerts });
      by("trial").hidden = false;
    });
  });

  onSubmit("keep-rule", async () => {
    const kept = made();
    await (number === null ? api("POST", "/rules", kept) : api("PUT", `/rules/${number}`, kept));
    tellNext(t("alerts.kept", { name: kept.title }));
  });
}
