/** A text that one view leaves for the next: what was done. */
let name = "";

export const leaveNote = (text) => void (name = text);

/** The name of the text, once; "" where there is none. */
export function takeNote() {
  const left = name;
  name = "";
  return left;
}
