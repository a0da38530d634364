// One camera: zones and masks drawn on its picture, its name and address, pausing, removing.
import { api } from "./api.js";
import { onAct } from "./dom.js";
import { Areas } from "./areas.js";
import { attempt, tellNext } from "./told.js";
import { t } from "./texts.js";

const { camera, name } = document.getElementById("camera").dataset;
const by = (id) => document.getElementById(id);
const drawing = by("drawing");
const save = by("save");

const areas = new Areas(drawing.querySelector("svg"), {
  zones: JSON.parse(drawing.dataset.zones),
  masks: JSON.parse(drawing.dataset.masks),
  editable: save !== null,
  changed: ({ dirty, drawing: busy, chosen }) => {
    if (!save) return;
    save.disabled = !dirty || busy;
    by("finish").hidden = !busy;
    by("erase").disabled = !chosen && !busy;
  },
});

// A camera that is away has no picture; it is asked again, and areas can be drawn on black meanwhile.
const snapshot = by("snapshot");
const AGAIN = 5000;
const refresh = () => { snapshot.src = `/api/v1/cameras/${camera}/snapshot?at=${Date.now()}`; };
function seen(there) {
  by("unseen").hidden = there;
  if (!there) setTimeout(refresh, AGAIN);
}
snapshot.addEventListener("load", () => seen(true));
snapshot.addEventListener("error", () => seen(false));
if (snapshot.hasAttribute("src") && snapshot.complete) seen(snapshot.naturalWidth > 0);
by("refresh").addEventListener("click", refresh);

for (const button of document.querySelectorAll("[data-draw]")) button.addEventListener("click", () => areas.begin(button.dataset.draw));
by("finish")?.addEventListener("click", () => areas.finish());
by("erase")?.addEventListener("click", () => areas.erase());
save?.addEventListener("click", () => attempt(async () => {
  await api("PATCH", `/cameras/${camera}`, { zones: areas.zones, masks: areas.masks });
  tellNext(t("cameras.saved", { name }));
}, save));

function onSubmit(id, work) {
  by(id)?.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => work(event.target), event.submitter);
  });
}

onSubmit("change", async (form) => {
  const changes = Object.fromEntries(new FormData(form));
  const now = await api("PATCH", `/cameras/${camera}`, changes);
  tellNext(t("cameras.saved", { name: now.name }));
});

onSubmit("remove", async () => {
  await api("DELETE", `/cameras/${camera}`);
  tellNext(t("cameras.removed", { name }), { to: "/cameras" });
});

onAct("enable", (button) => attempt(async () => {
  const enabled = button.dataset.enabled === "true";
  await api("PATCH", `/cameras/${camera}`, { enabled });
  tellNext(t(enabled ? "cameras.runs" : "cameras.rests", { name }));
}, button));
