// Sightings: new ones appear at the top as they happen; one click says who it is.
import { api, shot } from "./api.js";
import { copy, make, onAct } from "./dom.js";
import { following } from "./following.js";
import "./names.js";
import { without } from "./pictures.js";
import { attempt, lastAct, tellNext } from "./told.js";
import { clock, t } from "./texts.js";

const days = document.getElementById("days");
const filters = document.getElementById("filters").elements;

function fits(one) {
  const who = filters.who.value;
  return !(who && (who === "known") !== (one.name !== null))
    && !(filters.source.value && filters.source.value !== one.source)
    && !(filters.person && Number(filters.person.value) !== one.identity);
}

function today() {
  let day = days.querySelector(`[data-day="${days.dataset.today}"]`);
  if (!day) {
    day = make("section", { class: "stack", "data-day": days.dataset.today },
      make("h2", { class: "day" }, t("sightings.today")), make("ul", { class: "sightings" }));
    document.getElementById("empty")?.remove();
    days.prepend(day);
  }
  return day.querySelector(".sightings");
}

function show(one) {
  if (!fits(one)) return;
  const [card, parts] = copy("sighting");
  card.dataset.sighting = one.number;
  card.dataset.person = one.identity ?? "";
  card.dataset.visit = `${one.run} ${one.source} ${one.track}`;
  if (one.shot === null) without(parts.shot);
  else parts.shot.src = shot(one.number, one.shot);
  parts.who.append(one.identity === null
    ? make("span", { class: "quiet" }, t("common.nobody"))
    : make("a", { href: `/people/${one.identity}` }, one.name === null ? t("common.unknown_number", { n: one.identity }) : make("strong", {}, one.name)));
  parts.source.textContent = one.source;
  parts.when.textContent = clock.format(new Date(one.time));
  if (parts.not) parts.not.hidden = one.name === null;
  // The same visit may be told again, when somebody was recognised after all.
  for (const before of days.querySelectorAll(".sighting[data-visit]")) if (before.dataset.visit === card.dataset.visit) before.remove();
  today().prepend(card);
}

if (days.dataset.follow) {
  following(Number(days.dataset.newest), show);
  document.getElementById("following").hidden = false;
}

const naming = document.getElementById("naming");
let asked;
onAct("this-is", (button) => attempt(async () => {
  asked = button.closest(".sighting").dataset.sighting;
  const { items } = await api("GET", `/sightings/${asked}/shots`);
  document.getElementById("shots").replaceChildren(
    ...items.map((one) => make("img", { class: "face small", src: shot(asked, one.shot), alt: "" })));
  document.getElementById("name").reset();
  naming.showModal();
}, button));

document.getElementById("name").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const { person } = await api("POST", `/sightings/${asked}/enrol`, { name: event.target.elements.name.value });
    tellNext(t("sightings.named", { name: person.name }), { act: await lastAct() });
  }, event.submitter);
});

onAct("not-this", (button) => attempt(async () => {
  const { sighting, name } = button.closest(".sighting").dataset;
  await api("POST", `/sightings/${sighting}/deny`);
  tellNext(t("sightings.denied", { name }));
}, button));
