// People: add one, choose two to be one.
import { api } from "./api.js";
import { copy } from "./dom.js";
import { enrol, enrolled } from "./enrolling.js";
import { picking } from "./picking.js";
import { attempt, lastAct, tellNext } from "./told.js";
import { t } from "./texts.js";

const adding = document.getElementById("add");
adding.addEventListener("submit", async (event) => {
  event.preventDefault();
  await attempt(async () => {
    const answer = await enrol("/people", adding, adding.elements.name.value);
    if (answer) tellNext(enrolled(answer), { to: `/people/${answer.person.identity}` });
  }, event.submitter);
});

const picked = picking(".person", "people.picked", 2);
const merging = document.getElementById("merging");

document.getElementById("merge").addEventListener("click", () => {
  const people = picked().map((box) => box.closest(".person"));
  const most = Math.max(...people.map((one) => Number(one.dataset.faces)));
  document.getElementById("merge-choice").replaceChildren(...people.map((one) => {
    const [choice, parts] = copy("merge-person");
    const shown = one.querySelector("img.face");
    if (shown) parts.face.src = shown.src;
    parts.into.value = one.dataset.person;
    parts.into.checked = Number(one.dataset.faces) === most;
    parts.name.textContent = one.dataset.name;
    parts.faces.textContent = t("common.faces", { n: Number(one.dataset.faces) });
    return choice;
  }));
  merging.showModal();
});

document.getElementById("merge-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const into = event.target.elements.into.value;
    const others = picked().map((box) => Number(box.closest(".person").dataset.person)).filter((one) => String(one) !== into);
    const kept = await api("POST", `/people/${into}/merge`, { others });
    tellNext(t("people.merged", { name: kept.name }), { act: await lastAct() });
  }, event.submitter);
});
