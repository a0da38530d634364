// Photos sent to be somebody's faces, and what was refused of them, in words.
import { api } from "./api.js";
import { make } from "./dom.js";
import { t } from "./texts.js";

/** Send the photos of a form to `path`; returns the answer. Refused ones are listed in `#refused`, and null comes back if all were. */
export async function enrol(path, form, name = null) {
  const refused = document.getElementById("refused");
  refused.hidden = true;
  const body = new FormData();
  if (name !== null) body.append("name", name);
  for (const file of form.elements.photos.files) body.append("photos", file);
  try {
    const answer = await api("POST", path, body);
    if (!answer.refused.length) return answer;
    list(refused, answer.refused);
    return answer.enrolled.length ? answer : null;
  } catch (error) {
    refused.replaceChildren(error.message);
    refused.hidden = false;
    return null;
  }
}

function list(box, refused) {
  box.replaceChildren(make("ul", {}, ...refused.map((one) => make("li", {}, `${one.file}: ${one.reason}`))));
  box.hidden = false;
}

/** What to tell after it. */
export const enrolled = (answer) => t("people.enrolled", { n: answer.enrolled.length, name: answer.person.name });
