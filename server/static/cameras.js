// Cameras: try an address with a picture before it is kept.
import { api } from "./api.js";
import { make } from "./dom.js";
import { attempt, tellNext } from "./told.js";
import { t } from "./texts.js";

const form = document.getElementById("add");
const picture = document.getElementById("picture");
const tested = document.getElementById("tested");

document.getElementById("test")?.addEventListener("click", (event) => {
  const { address, transport } = form.elements;
  if (!address.reportValidity()) return;
  tested.className = "small quiet";
  tested.textContent = t("cameras.testing");
  attempt(async () => {
    const found = await api("POST", "/cameras/test", { address: address.value, transport: transport.value || null });
    tested.className = `small notice ${found.works ? "" : "bad"}`;
    tested.textContent = found.works
      ? t("cameras.works", { codec: found.codec, width: found.width, height: found.height, fps: Math.round(found.fps) })
      : `${found.reason} ${found.remedy}`;
    picture.replaceChildren(found.picture
      ? make("img", { src: `data:image/jpeg;base64,${found.picture}`, alt: t("cameras.test_picture") })
      : make("span", { class: "away" }, t("cameras.no_picture")));
  }, event.target).then(() => { if (tested.textContent === t("cameras.testing")) tested.textContent = ""; });
});

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const { address, name, transport } = form.elements;
    const camera = await api("POST", "/cameras", { address: address.value, name: name.value, transport: transport.value || null });
    tellNext(t("cameras.added", { name: camera.name }), { to: "/live" });
  }, event.submitter);
});
