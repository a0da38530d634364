// First steps: photos dropped here show their faces, each with a field for its name.
import { api } from "./api.js";
import { copy } from "./dom.js";
import { proposing } from "./names.js";
import { attempt, tell } from "./told.js";
import { t } from "./texts.js";

const files = document.getElementById("files");
const list = document.getElementById("faces");
const progress = document.getElementById("progress");

function show(photo, face) {
  const [card, parts] = copy("unnamed");
  parts.face.src = `data:image/jpeg;base64,${face.chip}`;
  proposing(card.querySelector(".names"));
  parts.form.addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(async () => {
      const body = new FormData();
      body.append("name", parts.form.elements.name.value);
      body.append("photos", photo, photo.name);
      body.append("box", face.box.join(","));
      const { person } = await api("POST", "/people", body);
      parts.form.hidden = true;
      parts.done.hidden = false;
      parts.done.href = `/people/${person.identity}`;
      parts.name.textContent = person.name;
      tell(t("start.named", { name: person.name }));
      list.querySelector("form:not([hidden]) input")?.focus();
    }, event.submitter);
  });
  list.append(card);
}

async function take(photos) {
  document.getElementById("found").hidden = false;
  let done = 0, found = 0;
  for (const photo of photos) {
    progress.textContent = t("start.looking", { done, all: photos.length });
    const seen = await attempt(() => {
      const body = new FormData();
      body.append("photo", photo, photo.name);
      return api("POST", "/detect?chips=true", body);
    });
    done += 1;
    for (const face of seen?.faces ?? []) show(photo, face);
    found += seen?.faces.length ?? 0;
  }
  progress.textContent = t("start.looked", { n: found });
  list.querySelector("input")?.focus();
}

document.getElementById("choose").addEventListener("click", () => files.click());
files.addEventListener("change", () => take([...files.files]));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  take([...event.dataTransfer.files].filter((one) => one.type.startsWith("image/")));
});
