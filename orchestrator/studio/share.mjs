/** A link to a picture's page, for everyone who is given it; and the picture itself, where the device can pass on files. */
import { here } from "./page.mjs";
import { Dialog, closeDialog } from "./parts.mjs";
import { html, useEffect, useRef, useState } from "./ui.mjs";
import { t, until } from "./words.mjs";

const NAME = "reroom.jpg";
const fileOf = (content) => new File([content], NAME, { type: "image/jpeg" });
const canPass = (file) => Boolean(navigator.canShare?.({ files: [file] }));

export function Share({ result, title, close }) {
  const [said, setSaid] = useState("");
  const [file, setFile] = useState(null);
  const field = useRef();
  const url = here(result.page_url);
  const { width, height } = result.metadata;
  // It must be there before it is asked for: browsers pass on only what follows a press at once.
  useEffect(() => {
    const leaving = new AbortController();
    if (canPass(fileOf(""))) readPicture(result.labelled_url ?? result.transformed_url, leaving.signal).then(setFile, () => {});
    return () => leaving.abort();
  }, []);
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
  const pass = async (what, otherwise) => {
    setSaid("");
    try {
      await navigator.share(what);
    } catch (error) {
      if (error.name !== "AbortError") await otherwise();
    }
  };
  const passes = Boolean(navigator.share);
  return html`<${Dialog} title=${t("shareTitle")} close=${close}>
    <div class="sharing">
      <img src=${here(result.thumbnail_url)} alt=${t("sharedPicture")} width=${width} height=${height} />
      <div><p>${t("shareText")}</p><p>${result.page_expires_at ? t("shareUntil", { time: until(result.page_expires_at) }) : t("shareWhile")}</p></div>
    </div>
    <div class="field"><label for="link">${t("link")}</label>
      <div class="linked">
        <input id="link" ref=${field} readonly value=${url} onFocus=${(event) => event.target.select()} />
        <button type="button" class=${passes && "plain"} autofocus=${!passes} onClick=${copy}>${t("copy")}</button>
      </div>
    </div>
    <p class="hint told" role="status">${said}</p>
    <div class="row">
      <button type="button" class="plain" onClick=${closeDialog}>${t("close")}</button>
      <a class="button plain" href=${url} target="_blank" rel="noopener">${t("lookAtIt")}</a>
      ${file && html`<button type="button" class="plain" onClick=${() => pass({ title, files: [file] }, () => setSaid(t("notPassed")))}>${t("passPicture")}</button>`}
      ${passes && html`<button type="button" autofocus onClick=${() => pass({ title, url }, copy)}>${t("passOn")}</button>`}
    </div>
  <//>`;
}

/** The picture as a file, unless it cannot be read: one in a bucket, whose rules may forbid it. */
async function readPicture(url, signal) {
  const answer = await fetch(here(url), { signal });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  const file = fileOf(await answer.blob());
  return canPass(file) ? file : null;
}
