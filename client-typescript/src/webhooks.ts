/** Deliveries to a webhook, signed as Standard Webhooks demands (HMAC-SHA256 over id, time and body). */

import { isRecord, WebhookRejected } from "./errors.js";

/** Headers of a request: a `Headers`, or an object such as Node's `request.headers`. */
export type HeadersLike = { get(name: string): string | null } | Record<string, string | readonly string[] | undefined>;

/** A delivery that is genuine. */
export interface WebhookDelivery {
  /** The same for every attempt at delivering the same event: what was handled once need not be handled again. */
  id: string;
  /** When it was sent. */
  sentAt: Date;
  /** The body, which is JSON. */
  payload: Record<string, unknown>;
}

/** How to verify a delivery. */
export interface VerifyOptions {
  /** Seconds by which its time may differ from this machine's. Default: 300. */
  toleranceSeconds?: number | undefined;
}

/**
 * Verifies a delivery to a webhook, and gives its payload. Needs WebCrypto: Node, browsers, Deno, Bun, edge functions.
 *
 * @param body the body as it came, unparsed: another spelling of the same JSON has another signature.
 * @param headers the request's; `webhook-id`, `webhook-timestamp` and `webhook-signature` are read.
 * @param secret `whsec_…`; or several, while one replaces another.
 * @throws WebhookRejected for what the service did not sign, or not lately; TypeError for a secret that is none.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: HeadersLike,
  secret: string | readonly string[],
  options: VerifyOptions = {},
): Promise<WebhookDelivery> {
  const id = header(headers, "webhook-id");
  const time = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature").split(" ");
  if (!/^\d{1,15}$/.test(time)) throw new WebhookRejected("webhook-timestamp is no time");
  if (Math.abs(Date.now() / 1000 - Number(time)) > (options.toleranceSeconds ?? 300)) {
    throw new WebhookRejected("it was sent too long ago, or the clocks differ");
  }
  const content = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const head = new TextEncoder().encode(`${id}.${time}.`);
  const signed = new Uint8Array(head.length + content.length);
  signed.set(head);
  signed.set(content, head.length);
  const secrets = typeof secret === "string" ? [secret] : secret;
  const right = await Promise.all(secrets.flatMap((each) => signatures.map((signature) => isSigned(signed, signature, each))));
  if (!right.includes(true)) throw new WebhookRejected("none of its signatures is right");
  const payload = parsed(new TextDecoder().decode(content));
  if (payload === null) throw new WebhookRejected("its body is no JSON object");
  return { id, sentAt: new Date(Number(time) * 1000), payload };
}

async function isSigned(content: Uint8Array<ArrayBuffer>, signature: string, secret: string): Promise<boolean> {
  const key = bytesOf(secret.replace(/^whsec_/, ""));
  if (key === null || key.length === 0) throw new TypeError("a webhook's secret is whsec_ and base64");
  const [version, encoded] = signature.split(",");
  const mac = version === "v1" && encoded ? bytesOf(encoded) : null;
  if (mac === null) return false;
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
  return crypto.subtle.verify("HMAC", imported, mac, content);
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return null;
  }
}

function header(headers: HeadersLike, name: string): string {
  const get = (headers as { get?: unknown }).get;
  let value: unknown;
  if (typeof get === "function") value = (headers as { get(name: string): string | null }).get(name);
  else value = Object.entries(headers).find(([each]) => each.toLowerCase() === name)?.[1];
  if (typeof value !== "string" || value === "") throw new WebhookRejected(`it has no header ${name}`);
  return value;
}

function parsed(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}
