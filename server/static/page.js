// What every page does: the clock's zone, theme and language, dialogs that are opened by a button, leaving.
import { api } from "./api.js";
import { onAct } from "./dom.js";
import "./pictures.js";
import { attempt } from "./told.js";

function remember(name, value) {
  document.cookie = `${name}=${encodeURIComponent(value)}; Path=/; Max-Age=31536000; SameSite=Lax`;
}

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (document.documentElement.dataset.zone !== zone && !sessionStorage.getItem("zone")) {
  sessionStorage.setItem("zone", zone);  // asked once: a browser without cookies is not reloaded for ever
  remember("zone", zone);
  if (document.querySelector("main time")) location.reload();
}

onAct("theme", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember("theme", root.dataset.theme);
});

document.getElementById("language")?.addEventListener("change", (event) => {
  remember("lang", event.target.value);
  location.reload();
});

onAct("open", (button) => document.getElementById(button.dataset.dialog).showModal());
onAct("close", (button) => button.closest("dialog").close());
onAct("sign-out", (button) => attempt(async () => {
  await api("DELETE", "/session");
  location.assign("/sign-in");
}, button));

for (const form of document.querySelectorAll("form[data-instant]")) {
  form.addEventListener("change", () => form.requestSubmit());
}

document.querySelector("dialog[data-open]")?.showModal();
