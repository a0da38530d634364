// Users and API keys.
import { api } from "./api.js";
import { make } from "./dom.js";
import { onSubmit, sure } from "./forms.js";
import { attempt, tell, tellNext } from "./told.js";
import { moment, t } from "./texts.js";

const when = (time) => (time ? moment.format(new Date(time)) : t("users.never"));

function userRow(user) {
  const role = make("select", { "aria-label": t("users.role_of", { name: user.name }) },
    ...["viewer", "operator", "admin"].map((one) => make("option", { value: one, selected: one === user.role }, t(`role.${one}`))));
  role.addEventListener("change", () => attempt(async () => {
    await api("PATCH", `/users/${user.id}`, { role: role.value });
    tell(t("users.role_changed", { name: user.name }));
  }).then(list));
  return make("li", {},
    make("span", { class: "stack tight grow" }, make("strong", { class: "cut" }, user.name),
      make("span", { class: "quiet small" }, t("users.last_login", { when: when(user.last_login) }))),
    role,
    make("button", { type: "button", class: "danger", click: (event) => remove(event.target, `/users/${user.id}`, user.name) }, t("users.remove")));
}

function keyRow(key) {
  return make("li", {},
    make("span", { class: "stack tight grow" }, make("strong", { class: "cut" }, key.name),
      make("span", { class: "quiet small" }, [t(`role.${key.role}`), ...key.areas.map((one) => t(`area.${one}`))].join(" · ")),
      make("span", { class: "quiet small" }, t("users.key_used", { when: when(key.last_used), until: key.expires ? when(key.expires) : "–" }))),
    make("button", { type: "button", class: "danger", click: (event) => remove(event.target, `/keys/${key.id}`, key.name) }, t("users.remove")));
}

function remove(button, path, name) {
  if (!sure(button, name)) return;
  attempt(async () => {
    await api("DELETE", path);
    tell(t("users.removed", { name }));
  }, button).then(list);
}

async function list() {
  const [users, keys] = await Promise.all([api("GET", "/users"), api("GET", "/keys")]);
  const none = (sentence) => make("li", { class: "quiet" }, t(sentence));
  document.getElementById("users").replaceChildren(...(users.items.length ? users.items.map(userRow) : [none("users.none")]));
  document.getElementById("keys").replaceChildren(...(keys.items.length ? keys.items.map(keyRow) : [none("users.no_keys")]));
}

onSubmit("add-user", async (form) => {
  const { name, role, password } = form.elements;
  await api("POST", "/users", { name: name.value, role: role.value, password: password.value });
  tellNext(t("users.added", { name: name.value }));
});

onSubmit("add-key", async (form) => {
  const given = new FormData(form);
  const expires = given.get("expires");
  const made = await api("POST", "/keys", {
    name: given.get("name"), role: given.get("role"), areas: given.getAll("areas"),
    expires: expires ? new Date(`${expires}T00:00`).toISOString() : null,
  });
  form.closest("dialog").close();
  form.reset();
  document.getElementById("key").textContent = made.key;
  document.getElementById("key-made").showModal();
  await list();
});

document.getElementById("copy").addEventListener("click", () => navigator.clipboard.writeText(document.getElementById("key").textContent));
attempt(list);
