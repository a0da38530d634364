// Measuring the threshold anew, and going back to the model's.
import { api } from "./api.js";
import { attempt, tellNext } from "./told.js";
import { t } from "./texts.js";

document.getElementById("measure")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const found = await api("POST", "/calibration", { fpir: Number(event.target.elements.fpir.value) });
    tellNext(found.why_not ?? t("calibration.done"));
  }, event.submitter);
});

document.getElementById("forget")?.addEventListener("click", (event) => attempt(async () => {
  await api("DELETE", "/calibration");
  tellNext(t("calibration.forgotten"));
}, event.target));
