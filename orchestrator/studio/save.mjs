/** Pictures for the device. `told` gets what is said of it. */
import { picture } from "./api.mjs";
import { ROOT, here } from "./page.mjs";
import { html, useState } from "./ui.mjs";
import { t } from "./words.mjs";

export const nameOf = (job, kind = "") => `reroom-${job.style.replaceAll(", ", "-")}-${job.job_id.slice(0, 6)}${kind && `-${kind}`}.jpg`;

/** What becomes of it: browsers save what comes from here under its name, and open what comes from a bucket. */
const saved = (url, name) => t(/^(blob:|data:)/.test(url) || url.startsWith(ROOT.origin) ? "downloaded" : "opened", { name });

/** A picture that is there. */
export const Download = ({ url, name, label, told, kind = "button" }) =>
  html`<a class=${kind} href=${here(url)} download=${name} target="_blank" rel="noopener" onClick=${() => told(saved(here(url), name))}>${label}</a>`;

/** A picture that the service makes when it is asked for: `before_after` or `contact_sheet`. */
export function Made({ job, which, label, attempt, told, kind = "link" }) {
  const [busy, setBusy] = useState(false);
  const save = async () => {
    setBusy(true);
    await attempt(async () => {
      const href = await picture(job.job_id, which);
      const name = nameOf(job, which.replace("_", "-"));
      Object.assign(document.createElement("a"), { href, download: name, target: "_blank", rel: "noopener" }).click();
      told(saved(href, name));
    });
    setBusy(false);
  };
  return html`<button type="button" class=${kind} disabled=${busy} onClick=${save}>${busy ? t("making") : label}</button>`;
}
