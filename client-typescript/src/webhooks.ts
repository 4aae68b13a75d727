/** Deliveries to a webhook, signed as Standard Webhooks demands (HMAC-SHA256 over id, time and body). */

import { isRecord, BadWebhook } from "./errors.js";

/** Headers of a request: a `Headers`, or an object such as Node's `request.headers`. */
export type HeadersLike = { get(name: string): string | null } | Record<string, string | readonly string[] | undefined>;

/** What an endpoint is told. */
export interface WebhookEvent {
  /** The same for every delivery of this event: what was seen before need not be done again. */
  id: string;
  /** `job.completed`, `job.failed`, `job.cancelled`, `job.started`, `webhook.test`, or one of a newer service. */
  type: string;
  /** When it happened (RFC 3339). */
  timestamp: string;
  /** The job, as its status shows it, or what else the type is about. */
  data: Record<string, unknown>;
}

/** How to verify a delivery. */
export interface VerifyOptions {
  /** Seconds by which its time may differ from this machine's. Default: 300. */
  toleranceSeconds?: number | undefined;
}

/**
 * The event of a request to an endpoint, once it is certain that the service sent it. Needs WebCrypto: Node, browsers, Deno, Bun, edge functions.
 *
 * @param body the body as it came, unparsed: another spelling of the same JSON has another signature.
 * @param headers the request's; `webhook-id`, `webhook-timestamp` and `webhook-signature` are read.
 * @param secret `whsec_…`; or several, while one replaces another.
 * @throws BadWebhook for what the service did not sign, or not lately; TypeError for a secret that is none.
 */
export async function verifyWebhook(
  body: string | Uint8Array,
  headers: HeadersLike,
  secret: string | readonly string[],
  options: VerifyOptions = {},
): Promise<WebhookEvent> {
  const id = header(headers, "webhook-id");
  const time = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature").split(" ");
  if (!/^\d{1,15}$/.test(time)) throw new BadWebhook("webhook-timestamp is no time");
  if (Math.abs(Date.now() / 1000 - Number(time)) > (options.toleranceSeconds ?? 300)) {
    throw new BadWebhook("it was sent too long ago, or the clocks differ");
  }
  const content = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const head = new TextEncoder().encode(`${id}.${time}.`);
  const signed = new Uint8Array(head.length + content.length);
  signed.set(head);
  signed.set(content, head.length);
  const secrets = typeof secret === "string" ? [secret] : secret;
  const right = await Promise.all(secrets.flatMap((each) => signatures.map((signature) => isSigned(signed, signature, each))));
  if (!right.includes(true)) throw new BadWebhook("none of its signatures is right");
  const { type, timestamp, data } = parsed(new TextDecoder().decode(content)) ?? {};
  if (typeof type !== "string" || typeof timestamp !== "string" || !isRecord(data)) {
    throw new BadWebhook("its body was not understood");
  }
  return { id, type, timestamp, data };
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
  if (typeof value !== "string" || value === "") throw new BadWebhook(`it has no header ${name}`);
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
