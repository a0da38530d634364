// Checkboxes on pictures, and the bar at the bottom that says how many are chosen and what can be done with them.
import { t } from "./texts.js";

/** Watch the `.pick` boxes in `within`; the bar shows from `least` on. Returns a function that gives the checked boxes. */
export function picking(within, sentence, least = 1) {
  const bar = document.getElementById("picked");
  const checked = () => [...document.querySelectorAll(`${within} input[type="checkbox"]:checked`)];

  function count() {
    const n = checked().length;
    bar.hidden = n < 1;
    bar.querySelector("[data-part=count]").textContent = t(sentence, { n });
    for (const button of bar.querySelectorAll("button:not(#unpick)")) button.disabled = n < least;
  }

  document.addEventListener("change", count);
  document.getElementById("unpick")?.addEventListener("click", () => {
    for (const box of checked()) box.checked = false;
    count();
  });
  count();  // a page that the browser brings back has its boxes as they were
  return checked;
}
