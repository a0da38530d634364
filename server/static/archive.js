// Archive: choose a folder of the server or send files, then watch the jobs.
import { api } from "./api.js";
import { make } from "./dom.js";
import { watchJobs } from "./jobs.js";
import { attempt, tell } from "./told.js";
import { t } from "./texts.js";

const by = (id) => document.getElementById(id);
const jobs = watchJobs(by("jobs"), by("no-jobs"));

// A folder of the server

const folders = by("folders");
let path = null;

function choice(text, go) {
  return make("li", {}, make("button", { type: "button", class: "plain", click: go }, text));
}

function showRoots() {
  path = null;
  folders.replaceChildren(...JSON.parse(folders.dataset.roots).map((root) => choice(root, () => open(root, null))));
  choose("");
}

function choose(sentence) {
  by("chosen").textContent = sentence;
  by("index").querySelector("[type=submit]").disabled = path === null;
}

async function open(folder, above) {
  await attempt(async () => {
    const found = await api("GET", `/archives/folder?path=${encodeURIComponent(folder)}`);
    path = found.path;
    folders.replaceChildren(
      choice(`← ${t("archive.up")}`, above ?? showRoots),
      ...found.folders.map((name) => choice(name, () => open(`${path}/${name}`, () => open(folder, above)))),
    );
    choose(t("archive.chosen", { path, photos: found.photos, videos: found.videos }));
    folders.querySelector("button").focus();
  });
}

if (folders) {
  showRoots();
  by("index").addEventListener("submit", (event) => {
    event.preventDefault();
    const { label_from_folder, retry_refused, collection } = event.target.elements;
    attempt(async () => {
      await api("POST", "/jobs/index", {
        paths: [path], label_from_folder: label_from_folder.checked, retry_refused: retry_refused.checked, collection: collection.value.trim() || null,
      });
      await jobs.refresh();
    }, event.submitter);
  });
}

// Files from here

async function send(files) {
  const wanted = files.filter((file) => /^(image|video)\//.test(file.type));
  if (!wanted.length) return void tell(t("archive.nothing"), { bad: true });
  const person = by("person").value.trim();
  by("sending").hidden = false;
  await attempt(async () => {
    const upload = await api("POST", "/uploads");
    for (const [at, file] of wanted.entries()) {
      by("sent").value = at / wanted.length;
      by("sending-text").textContent = t("archive.sending", { done: at, all: wanted.length });
      // Two files of one name from different folders are two files.
      const name = `${String(at + 1).padStart(5, "0")}-${file.name}`.slice(-150);
      await api("PUT", `/uploads/${upload.id}/files/${encodeURIComponent(name)}${person ? `?person=${encodeURIComponent(person)}` : ""}`, file);
    }
    await api("POST", "/jobs/index", { paths: [upload.path], label_from_folder: person !== "" });
    await jobs.refresh();
  });
  by("sending").hidden = true;
}

for (const [button, input] of [["choose-files", "files"], ["choose-folder", "whole"]]) {
  by(button).addEventListener("click", () => by(input).click());
  by(input).addEventListener("change", () => send([...by(input).files]));
}
addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dragging"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  send([...event.dataTransfer.files]);
});
