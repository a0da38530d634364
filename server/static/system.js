// System: backups and checks, as jobs.
import { api } from "./api.js";
import { onAct } from "./dom.js";
import { watchJobs } from "./jobs.js";
import { attempt } from "./told.js";

const list = document.getElementById("jobs");
if (list) {
  const jobs = watchJobs(list, null, ["backup", "verify", "compact"]);
  onAct("job", (button) => attempt(() => api("POST", `/jobs/${button.dataset.kind}`).then(jobs.refresh), button));
}
