/** Painting over the photo what shall stay, with a mouse, a pen or a finger. */
import { html, useEffect, useRef } from "./ui.mjs";
import { t } from "./words.mjs";

/** Pixels of the mask's longer side. Its border is blended over 1 % of the picture, so that more would not show. */
const LONGEST = 1024;
/** Points of a stroke that are nearer to each other, in shares of the photo, are one. */
const NEAR = 0.004;

/** The mask's size for a photo: of its shape. */
function sizeOf({ width, height }) {
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

/**
 * Draws a stroke, `{size, erase, points}`, from one of its points on: `size` is a share of the longer side, points are
 * [x, y] in 0..1 of the photo.
 */
function paint(pen, { size, erase, points }, from = 0) {
  const { width, height } = pen.canvas;
  pen.globalCompositeOperation = erase ? "destination-out" : "source-over";
  pen.lineWidth = size * Math.max(width, height);
  pen.lineCap = pen.lineJoin = "round";
  const [[x, y], ...rest] = points.slice(from);
  pen.beginPath();
  pen.moveTo(x * width, y * height);
  // A line that goes nowhere would not be drawn, and a tap shall leave a dot.
  pen.lineTo(x * width + 0.01, y * height);
  for (const [toX, toY] of rest) pen.lineTo(toX * width, toY * height);
  pen.stroke();
}

/** What was painted as the service takes it, white on black: a PNG; null where nothing is left of it. */
export async function maskOf(strokes, photo) {
  if (!strokes.some((each) => !each.erase)) return null;
  const canvas = Object.assign(document.createElement("canvas"), sizeOf(photo));
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.strokeStyle = "#fff";
  for (const stroke of strokes) paint(pen, stroke);
  const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
  if (!data.some((value, place) => place % 4 === 3 && value > 127)) return null;
  pen.globalCompositeOperation = "destination-over";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

/** `active`: whether one paints now. `onStroke` gets each stroke when it is done. */
export function Brush({ photo, strokes, active, size, erase, onStroke }) {
  const at = useRef();
  const ring = useRef();
  const stroke = useRef(null);

  useEffect(() => {
    const pen = at.current.getContext("2d");
    pen.clearRect(0, 0, at.current.width, at.current.height);
    pen.strokeStyle = getComputedStyle(at.current).color;
    for (const each of strokes) paint(pen, each);
  }, [strokes, photo]);

  const point = (event) => {
    const box = at.current.getBoundingClientRect();
    // About as fine as the mask's pixels, and short: they are remembered with the room.
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => Math.round(share * 1000) / 1000);
  };
  const show = (event) => {
    const [x, y] = point(event);
    Object.assign(ring.current.style, { left: `${100 * x}%`, top: `${100 * y}%` });
  };
  const down = (event) => {
    if (!active || event.button !== 0 || stroke.current) return;
    at.current.setPointerCapture(event.pointerId);
    stroke.current = { of: event.pointerId, size, erase, points: [point(event)] };
    paint(at.current.getContext("2d"), stroke.current);
  };
  const move = (event) => {
    show(event);
    if (stroke.current?.of !== event.pointerId) return;
    const { points } = stroke.current;
    const from = points.length - 1;
    // Between two frames a pen goes a long way, of which the event alone has but the end.
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const each of (passed.length ? passed : [event]).map(point)) {
      const [x, y] = points.at(-1);
      if (Math.hypot(each[0] - x, each[1] - y) > NEAR) points.push(each);
    }
    paint(at.current.getContext("2d"), stroke.current, from);
  };
  const up = (event) => {
    if (stroke.current?.of !== event.pointerId) return;
    const { of, ...done } = stroke.current;
    stroke.current = null;
    onStroke(done);
  };
  const { width, height } = sizeOf(photo);
  // The ring is as wide as the brush: both are shares of the longer side.
  const wide = { "--brush": `${(100 * size * Math.max(width, height)) / width}%` };
  return html`<div class="brush" data-active=${active} style=${wide} hidden=${!active && strokes.length === 0}>
    <canvas ref=${at} width=${width} height=${height} role="img" aria-label=${t("paintedArea")}
      onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up}></canvas>
    <span ref=${ring} class="ring" aria-hidden="true"></span>
  </div>`;
}
