// Signing in and out, and one's own password.
import { api } from "./api.js";
import { onAct } from "./dom.js";
import { attempt, tellNext } from "./told.js";
import { t } from "./texts.js";

const signing = document.getElementById("sign-in");
signing?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const wrong = document.getElementById("wrong");
  event.submitter.disabled = true;
  try {
    const { name, password } = signing.elements;
    await api("POST", "/session", { name: name.value, password: password.value });
    location.assign(signing.dataset.next);
  } catch (error) {
    wrong.textContent = error.message;
    wrong.hidden = false;
    signing.elements.password.select();
  } finally {
    event.submitter.disabled = false;
  }
});

document.getElementById("password")?.addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(async () => {
    const { current, new: next } = event.target.elements;
    await api("PUT", "/session/password", { current: current.value, new: next.value });
    tellNext(t("account.changed"));  // a new page, since the session has another CSRF token now
  }, event.submitter);
});

onAct("sign-out-everywhere", (button) => attempt(async () => {
  await api("DELETE", "/session?everywhere=true");
  location.assign("/sign-in");
}, button));
