/**
 * Texts by name that the browser stores for this page: `forGood`, and `ofTab` until the tab is closed. Where it is refused (a reader
 * who blocks all cookies) or full, they last until the page is left.
 */
class Stored {
  #which;
  #here = new Map();

  constructor(which) {
    this.#which = which;
  }

  /** What `act` makes of the browser's storage; `otherwise` where it is refused. */
  #quietly(act, otherwise) {
    try {
      return act(globalThis[this.#which]);
    } catch {
      return otherwise;
    }
  }

  get(name) {
    return this.#here.get(name) ?? this.#quietly((storage) => storage.getItem(name), null);
  }

  /** Whether it is stored, and not only here until the page is left. */
  set(name, text) {
    const isStored = this.#quietly((storage) => {
      storage.setItem(name, text);
      return true;
    }, false);
    if (isStored) this.#here.delete(name);
    else this.#here.set(name, text);
    return isStored;
  }

  remove(name) {
    this.#here.delete(name);
    this.#quietly((storage) => storage.removeItem(name));
  }

  names() {
    return [...new Set([...this.#here.keys(), ...this.#quietly((storage) => Object.keys(storage), [])])];
  }
}

export const forGood = new Stored("localStorage");
export const ofTab = new Stored("sessionStorage");
