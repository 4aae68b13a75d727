/** What Node, browsers and React Native do differently, and what some of them lack. */

/** Whether this is React Native, where a file is an object with a `uri`, and `fetch` does not stream. */
export function isReactNative(): boolean {
  return typeof navigator !== "undefined" && navigator.product === "ReactNative";
}

/** Whether an answer of `fetch` can be read while it arrives. */
export function streams(): boolean {
  return typeof ReadableStream !== "undefined" && typeof TextDecoder !== "undefined" && !isReactNative();
}

/** Thirty-two hexadecimal digits, for an `Idempotency-Key`: they need to be unique, not secret. */
export function uniqueId(): string {
  const bytes = new Uint8Array(16);
  // React Native has no `crypto` unless the app brings one.
  if (typeof crypto !== "undefined" && typeof crypto.getRandomValues === "function") crypto.getRandomValues(bytes);
  else bytes.forEach((_, index) => (bytes[index] = Math.floor(Math.random() * 256)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Why a signal was aborted; React Native's signals do not say. */
export function abortReason(signal: AbortSignal): unknown {
  if (signal.reason !== undefined) return signal.reason;
  const error = new Error("the operation was aborted");
  error.name = "AbortError";
  return error;
}

/** Throws the signal's reason if it is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortReason(signal);
}

const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Resolves after `seconds`, or as soon as the function that `waker` is given is called; rejects when the signal is
 * aborted. Leaves no timer and no listener behind.
 */
export function pause(
  seconds: number,
  signal?: AbortSignal | undefined,
  waker?: (wake: () => void) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(abortReason(signal));
    const end = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
    };
    const wake = (): void => {
      end();
      resolve();
    };
    const aborted = (): void => {
      end();
      reject(signal === undefined ? undefined : abortReason(signal));
    };
    const timer = setTimeout(wake, Math.min(Math.max(seconds, 0) * 1000, LONGEST_TIMER_MS));
    signal?.addEventListener("abort", aborted);
    waker?.(wake);
  });
}

/** A signal that is aborted by the caller's, or when the time is over; `AbortSignal.any` is not everywhere. */
export class Limit {
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #follow = (): void => this.#controller.abort(this.#caller && abortReason(this.#caller));
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Whether the time is over. */
  passed = false;

  constructor(seconds: number, caller: AbortSignal | undefined) {
    this.#caller = caller;
    if (caller?.aborted) this.#follow();
    else caller?.addEventListener("abort", this.#follow);
    this.restart(seconds);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** So many seconds from now on. */
  restart(seconds: number): void {
    clearTimeout(this.#timer);
    const over = (): void => {
      this.passed = true;
      this.#controller.abort();
    };
    this.#timer = setTimeout(over, Math.min(seconds * 1000, LONGEST_TIMER_MS));
  }

  /** No time limit any more; the caller's signal still counts. */
  lift(): void {
    clearTimeout(this.#timer);
  }

  /** Neither counts any more. */
  end(): void {
    this.lift();
    this.#caller?.removeEventListener("abort", this.#follow);
  }
}
