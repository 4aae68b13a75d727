/** Pictures for the device. */
import { picture } from "./api.mjs";
import { here } from "./page.mjs";
import { html, useState } from "./ui.mjs";
import { t } from "./words.mjs";

export const nameOf = (job, kind = "") => `reroom-${job.style.replaceAll(", ", "-")}-${job.job_id.slice(0, 6)}${kind && `-${kind}`}.jpg`;

/** A picture that is there. */
export const Download = ({ url, name, label, kind = "button" }) =>
  html`<a class=${kind} href=${here(url)} download=${name} target="_blank" rel="noopener">${label}</a>`;

/** A picture that the service makes when it is asked for: `before_after` or `contact_sheet`. */
export function Made({ job, which, label, attempt, kind = "link" }) {
  const [busy, setBusy] = useState(false);
  const save = async () => {
    setBusy(true);
    await attempt(async () => {
      const href = await picture(job.job_id, which);
      Object.assign(document.createElement("a"), { href, download: nameOf(job, which.replace("_", "-")), target: "_blank", rel: "noopener" }).click();
    });
    setBusy(false);
  };
  return html`<button type="button" class=${kind} disabled=${busy} onClick=${save}>${busy ? t("making") : label}</button>`;
}
