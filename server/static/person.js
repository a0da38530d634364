// One person: rename, add photos, hide, split, delete.
import { api } from "./api.js";
import { onAct } from "./dom.js";
import { enrol, enrolled } from "./enrolling.js";
import "./names.js";
import { picking } from "./picking.js";
import { attempt, lastAct, tellNext } from "./told.js";
import { t } from "./texts.js";

const { person, name } = document.getElementById("person").dataset;
const chosen = picking("#faces", "person.picked");
const faces = () => chosen().map((box) => Number(box.value));

function onSubmit(form, work) {
  document.getElementById(form).addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => work(event.target), event.submitter);
  });
}

onSubmit("rename", async (form) => {
  const now = await api("PATCH", `/people/${person}`, { name: form.elements.name.value });
  tellNext(t("person.renamed", { name: now.name }), {
    act: await lastAct(),
    to: `/people/${now.identity}`,
    back: now.identity === Number(person) ? null : "/unknowns",  // who was joined to somebody comes back under another number
  });
});

onSubmit("add", async (form) => {
  const answer = await enrol(`/people/${person}/faces`, form);
  if (answer) tellNext(enrolled(answer));
});

onAct("hide", (button) => attempt(async () => {
  const hidden = button.dataset.hidden === "true";
  await api("PATCH", `/people/${person}`, { hidden });
  tellNext(t(hidden ? "person.hidden" : "person.shown", { name }), { act: await lastAct() });
}, button));

onSubmit("split", async (form) => {
  const called = form.elements.name.value.trim();
  const apart = await api("POST", `/people/${person}/split`, called ? { faces: faces(), name: called } : { faces: faces() });
  tellNext(t("person.was_split", { n: faces().length }), {
    act: await lastAct(),
    to: `/people/${apart.identity}`,
    back: location.pathname,
  });
});

document.getElementById("release").addEventListener("click", (event) => attempt(async () => {
  const n = faces().length;
  await api("POST", "/faces/move", { faces: faces(), to: null });
  tellNext(t("person.released", { n }), { act: await lastAct() });
}, event.target));

onSubmit("drop", async () => {
  const n = faces().length;
  await api("POST", "/faces/delete", { faces: faces() });
  tellNext(t("person.faces_deleted", { n }));
});

onSubmit("delete", async () => {
  await api("DELETE", `/people/${person}`);
  tellNext(t("person.deleted", { name }), { to: "/people" });
});
