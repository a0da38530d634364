// Search by photo: drop, paste or choose one; every face with the people it resembles.
import { api, picture, placeName } from "./api.js";
import { copy, make } from "./dom.js";
import "./names.js";
import { attempt, tell, tellNext } from "./told.js";
import { moment, shown, t } from "./texts.js";

const UNSURE = 0.1;  // similarities so little below the threshold are worth a look by a person
const by = (id) => document.getElementById(id);
const filters = by("filters");
const stored = by("stored")?.dataset.face;
let photo = null, answer = null, chosen = 0, turn = 0;

function parameters() {
  const values = new URLSearchParams({ faces: 6 });
  for (const [name, value] of new FormData(filters)) {
    if (value) values.set(name, ["after", "before"].includes(name) ? new Date(`${value}T00:00`).toISOString() : value);
  }
  return values;
}

async function look() {
  if (photo === null && !stored) return;
  const mine = ++turn;
  by("busy").hidden = false;
  await attempt(async () => {
    let found;
    if (stored) found = { ...await api("GET", `/faces/${stored}/matches?${parameters()}`), faces: [{}] };
    else {
      const body = new FormData();
      body.append("photo", photo, photo.name ?? "photo");
      found = await api("POST", `/search?${parameters()}`, body);
    }
    if (mine !== turn) return;  // a later search has been asked for meanwhile
    if (stored) found.faces[0].matches = found.matches;
    answer = found;
    chosen = Math.min(chosen, Math.max(answer.faces.length - 1, 0));
    by("results").hidden = false;
    if (stored) by("shown").hidden = true;
    else showPhoto();
    showFace();
  });
  by("busy").hidden = true;
}

function showPhoto() {
  by("drop").hidden = true;
  const image = make("img", { alt: t("search.your_photo"), src: URL.createObjectURL(photo) });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  const boxes = answer.faces.map((face, at) => {
    const [x, y, w, h] = face.box;
    const best = face.matches[0];
    const box = make("button", { type: "button", "aria-pressed": String(at === chosen), "aria-label": t("search.face", { n: at + 1 }), click: () => choose(at) },
      make("span", {}, best?.match ? best.name ?? t("common.unknown_number", { n: best.identity }) : String(at + 1)));
    const share = (part, whole) => `${(100 * part) / whole}%`;
    Object.assign(box.style, { left: share(x, answer.width), top: share(y, answer.height), width: share(w, answer.width), height: share(h, answer.height) });
    return box;
  });
  by("photo").replaceChildren(image, ...boxes);
  by("count").textContent = t("search.faces", { n: answer.faces.length });
}

function choose(at) {
  chosen = at;
  for (const [index, box] of [...by("photo").querySelectorAll("button")].entries()) box.setAttribute("aria-pressed", String(index === at));
  showFace();
}

/** "match", "unsure" or "nobody", as honestly as the threshold allows. */
function verdict(match) {
  if (match.match) return "match";
  return match.similarity >= answer.threshold - UNSURE ? "unsure" : "nobody";
}

const called = (match) => match.name ?? (match.identity === null ? t("common.nobody") : t("common.unknown_number", { n: match.identity }));

function showFace() {
  const face = answer.faces[chosen];
  const best = face?.matches[0];
  const sure = best ? verdict(best) : "nobody";
  by("verdict").textContent = face ? t(`search.verdict_${sure}`, { name: best ? called(best) : "" }) : t("search.no_face");
  by("verdict-why").textContent = face ? t(`search.why_${sure}`) : t("search.no_face_why");
  by("candidates").replaceChildren(...(face?.matches ?? []).map(candidate));
  if (by("enrol")) by("enrol").hidden = !face || (sure === "match" && best.name !== null);
}

function candidate(match) {
  const [element, parts] = copy("candidate");
  const sure = verdict(match);
  const tone = { match: "good", unsure: "unsure", nobody: "" }[sure];
  parts.face.src = picture(match.face_id);
  parts.name.replaceChildren(match.identity === null ? called(match) : make("a", { href: `/people/${match.identity}` }, called(match)));
  parts.verdict.textContent = t(`search.tag_${sure}`);
  if (tone) [parts.verdict, parts.scale].forEach((part) => part.classList.add(tone));
  parts.bar.style.width = `${100 * Math.max(match.similarity, 0)}%`;
  parts.mark.style.left = `${100 * answer.threshold}%`;
  parts.similarity.textContent = match.probability === null
    ? t("search.similarity", { value: shown(match.similarity), threshold: shown(answer.threshold) })
    : t("search.probability", { value: shown(match.similarity), share: shown(100 * match.probability) });
  parts.where.textContent = [placeName(match.source), match.time && moment.format(new Date(match.time))].filter(Boolean).join(" · ");
  parts.faces.append(...match.faces.slice(1).map((near) => make("img", { class: "face tiny", src: picture(near.face_id), alt: placeName(near.source), title: placeName(near.source), loading: "lazy" })));
  return element;
}

function take(file) {
  if (!file) return;
  if (!file.type.startsWith("image/")) return void tell(t("search.no_picture", { name: file.name }), { bad: true });
  photo = file;
  chosen = 0;
  look();
}

filters.addEventListener("change", look);
filters.addEventListener("submit", (event) => { event.preventDefault(); look(); });
if (stored) look();
else {
  const file = by("file");
  by("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => take(file.files[0]));
  by("another").addEventListener("click", () => file.click());
  addEventListener("paste", (event) => take([...event.clipboardData.files].find((one) => one.type.startsWith("image/"))));
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    take(event.dataTransfer.files[0]);
  });
}

by("enrol")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const name = event.target.elements.name.value;
    if (stored) {
      const person = await api("POST", "/faces/enrol", { faces: [Number(stored)], name });
      return tellNext(t("search.enrolled", { name: person.name }), { to: `/people/${person.identity}` });
    }
    const body = new FormData();
    body.append("name", name);
    body.append("photos", photo, photo.name ?? "photo");
    body.append("box", answer.faces[chosen].box.join(","));
    const { person } = await api("POST", "/people", body);
    event.target.reset();
    await look();
    tell(t("search.enrolled", { name: person.name }));
  }, event.submitter);
});
