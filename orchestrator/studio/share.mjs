/** A link to a picture's page, for everyone who is given it. */
import { here } from "./page.mjs";
import { Dialog, closeDialog } from "./parts.mjs";
import { html, useRef, useState } from "./ui.mjs";
import { t } from "./words.mjs";

export function Share({ result, title, close }) {
  const [said, setSaid] = useState("");
  const field = useRef();
  const url = here(result.page_url);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(url);
      setSaid(t("copied"));
    } catch {
      // Over plain HTTP there is no clipboard: it is selected, to be copied by hand.
      field.current.select();
      setSaid(t("copyByHand"));
    }
  };
  const pass = async () => {
    try {
      await navigator.share({ title, url });
      setSaid("");
    } catch (error) {
      if (error.name !== "AbortError") await copy();
    }
  };
  return html`<${Dialog} title=${t("shareTitle")} close=${close}>
    <p>${t("shareText")} <a href=${url} target="_blank" rel="noopener">${t("lookAtIt")}</a></p>
    <div class="field"><label for="link">${t("link")}</label><input id="link" ref=${field} readonly value=${url} onFocus=${(event) => event.target.select()} /></div>
    <p class="hint" role="status">${said}</p>
    <div class="row">
      <button type="button" class="plain" onClick=${closeDialog}>${t("close")}</button>
      ${navigator.share && html`<button type="button" class="plain" onClick=${pass}>${t("passOn")}</button>`}
      <button type="button" onClick=${copy}>${t("copy")}</button>
    </div>
  <//>`;
}
