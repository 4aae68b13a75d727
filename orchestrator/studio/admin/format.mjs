/** Numbers and times in the reader's language. */
import { duration, language, t, when } from "../words.mjs";

/** The reader's own way of writing, as far as it is of the page's language. */
const place = () => navigator.languages.find((each) => each.startsWith(language)) ?? language;

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(place(), { maximumFractionDigits: digits }).format(value);
export const share = (value, digits = 1) =>
  new Intl.NumberFormat(place(), { style: "percent", maximumFractionDigits: digits }).format(value);
export const money = (value, currency) =>
  new Intl.NumberFormat(place(), { style: "currency", currency }).format(value);

const SIZES = ["kilobyte", "megabyte", "gigabyte", "terabyte"];

export function bytes(value) {
  const step = Math.min(SIZES.length - 1, value < 1e6 ? 0 : Math.floor(Math.log10(value) / 3) - 1);
  const unit = new Intl.NumberFormat(place(), { style: "unit", unit: SIZES[step], maximumFractionDigits: 1 });
  return unit.format(value / 1000 ** (step + 1));
}

/** Seconds, such as 0.4 s, 12 s or 3 min; a dash for none. */
export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return t("seconds", { n: number(value, 1) });
  return value < 5400 ? duration(value) : t("hours", { n: number(value / 3600, 1) });
}

/** Such as "3 minutes ago"; older than a day: the date. */
export function ago(time) {
  const past = (Date.now() - new Date(time)) / 1000;
  const relative = new Intl.RelativeTimeFormat(place(), { numeric: "auto" });
  if (past < 10) return t("justNow");
  if (past < 90) return relative.format(-Math.round(past / 10) * 10, "second");
  if (past < 5400) return relative.format(-Math.round(past / 60), "minute");
  return past < 86400 ? relative.format(-Math.round(past / 3600), "hour") : when(time);
}

/** A day such as 2026-11-27. */
export const day = (text, style = {}) =>
  new Intl.DateTimeFormat(place(), { timeZone: "UTC", day: "numeric", month: "short", ...style }).format(new Date(text));

export const short = (id) => id.slice(0, 8);
