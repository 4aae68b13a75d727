/** The photo, and on it what stays: things that are tapped, and what is painted. */
import { Brush } from "./brush.mjs";
import { draft, marked } from "./draft.mjs";
import { Segments, Slider } from "./parts.mjs";
import { Boxes, Names, namesOf, useThings } from "./things.mjs";
import { html, useEffect, useState } from "./ui.mjs";
import { listed, percent, problemWords, t } from "./words.mjs";

/** The name and the hint of each. */
const TOOLS = { keep: ["keepTool", "tapKeep"], change: ["changeTool", "tapChange"], paint: ["paintTool", "paintHint"] };

export function Marking({ photo, busy, change }) {
  // What was only outlined has not quite the photo's shape, as a mask must have.
  const paintable = photo.url && !photo.drawn;
  // What came back from a room is gone on with.
  const [tool, setTool] = useState(() => (paintable && draft.strokes.length ? "paint" : marked("change").length ? "change" : "keep"));
  const [size, setSize] = useState(0.06);
  const [erase, setErase] = useState(false);
  const [near, setNear] = useState(null);
  /** The place, [x, y] in 0..1, that was tapped where there is no box. */
  const [missed, setMissed] = useState(null);
  const [failed, again] = useThings(photo, busy === "sending", change);
  const { things, strokes } = draft;
  const painting = tool === "paint";
  const tools = Object.entries(TOOLS).filter(([each]) => each !== "paint" || paintable);
  const undo = () => change({ strokes: draft.strokes.slice(0, -1) });
  const choose = (each) => {
    setMissed(null);
    setTool(each);
  };
  const tapped = (event) => {
    if (painting || (!things && !failed)) return;
    if (event.target.closest(".thing")) return setMissed(null);
    const box = event.currentTarget.getBoundingClientRect();
    setMissed([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
  };
  // The place that was tapped is where it begins.
  const brush = () => {
    if (missed) change({ strokes: [...strokes, { size, erase: false, points: [missed] }] });
    setErase(false);
    choose("paint");
  };

  useEffect(() => {
    const pressed = (event) => {
      const writes = /^(TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.type === "text";
      if (!(event.ctrlKey || event.metaKey) || event.key !== "z" || writes) return;
      event.preventDefault();
      undo();
    };
    if (painting) addEventListener("keydown", pressed);
    return () => removeEventListener("keydown", pressed);
  }, [painting]);

  return html`
    <div class="canvas" aria-busy=${busy === "reading"} style=${{ "--shape": photo.url ? photo.width / photo.height : 4 / 3 }} onClick=${tapped}>
      ${photo.url
        ? html`<img src=${photo.url} alt=${t("yourPhoto")} width=${photo.width} height=${photo.height} draggable=${false} />`
        : html`<p class="blind">${t("notShown")}</p>`}
      ${photo.url && html`<${Brush} photo=${photo} strokes=${strokes} active=${painting} size=${size} erase=${erase}
        onStroke=${(stroke) => change({ strokes: [...draft.strokes, stroke] })} />`}
      ${things && photo.url && html`<${Boxes} mark=${painting ? null : tool} near=${near} change=${change} />`}
      ${missed && html`<span class="miss" style=${{ left: `${100 * missed[0]}%`, top: `${100 * missed[1]}%` }} aria-hidden="true"></span>`}
    </div>
    <p class="missed" role="status">${missed && html`${t(tool === "change" ? "missedChange" : "missed")}
      ${tool === "keep" && paintable && html` <button type="button" class="plain small" onClick=${brush}>${t("brushHere")}</button>`}`}</p>
    <${Segments} label=${t("whatStays")} name="tool" value=${tool} choose=${choose} options=${tools.map(([each, [name]]) => [each, t(name)])} />
    <p class="hint">${hint(tool, things, failed)} ${failed && !painting && html`<button type="button" class="link" onClick=${again}>${t("again")}</button>`}</p>
    ${painting && html`<div class="tools">
      <${Slider} id="brush" label=${t("brushSize")} value=${size} min="0.01" max="0.2" step="0.01" shown=${percent(size)} onChange=${setSize} />
      <div class="row">
        <button type="button" class="plain small" aria-pressed=${erase} onClick=${() => setErase(!erase)}>${t("rubber")}</button>
        <button type="button" class="plain small" disabled=${!strokes.length} onClick=${undo}>${t("undo")}</button>
        <button type="button" class="plain small" disabled=${!strokes.length} onClick=${() => change({ strokes: [] })}>${t("clearPaint")}</button>
      </div>
    </div>`}
    ${things?.length > 0 && !painting && html`<${Names} mark=${tool} point=${setNear} change=${change} />`}
    <${Said} change=${change} />`;
}

function hint(tool, things, failed) {
  if (tool !== "paint") {
    if (failed) return [t("notLooked"), ...Object.values(problemWords(failed.code))].join(" ");
    if (things === null) return t("looking");
    if (!things.length) return t("nothingSeen");
  }
  return t(TOOLS[tool][1]);
}

/** What was chosen so far, in words. */
function Said({ change }) {
  const [kept, changed] = [namesOf("keep"), namesOf("change")];
  const lines = [
    kept.length && t("keptSaid", { things: listed(kept) }),
    changed.length && t("changedSaid", { things: listed(changed) }),
  ].filter(Boolean);
  return html`<p class="said" role="status">${lines.join(" ")}
    ${lines.length > 0 && html` <button type="button" class="link" onClick=${() => change({ marks: {}, strokes: [] })}>${t("startOver")}</button>`}</p>`;
}
