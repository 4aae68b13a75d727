/** Preact with htm: `html` makes elements from text, without a build. */
import { h, render } from "./vendor/preact.mjs";
import htm from "./vendor/htm.mjs";

export const html = htm.bind(h);
export { render };
export { useCallback, useEffect, useMemo, useRef, useState } from "./vendor/hooks.mjs";
