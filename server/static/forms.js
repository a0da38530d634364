// Forms in dialogs that stay open until the server has agreed, and buttons that ask once more.
import { t } from "./texts.js";

/** Do `work(form)` at submission; an error is told inside the form, and the button waits meanwhile. */
export function onSubmit(id, work) {
  const form = document.getElementById(id);
  form?.addEventListener("submit", (event) => {
    event.preventDefault();
    answered(form, event.submitter, () => work(form));
  });
}

/** The same for another button of a form. */
export async function answered(form, button, work) {
  const wrong = form.querySelector("[data-part=wrong]");
  wrong.hidden = true;
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    wrong.textContent = error.message;
    wrong.hidden = false;
    wrong.scrollIntoView({ block: "nearest" });
  } finally {
    button.disabled = false;
  }
}

/** Whether a button that removes something was pressed a second time; at the first it asks. */
export function sure(button, name) {
  if (button.dataset.sure) return true;
  button.dataset.sure = "yes";
  button.textContent = t("users.remove_sure", { name });
  return false;
}
