// The page's language, the same sentences that the templates have.
let entries = {};

/** Called by the script of the language, the first of a page: were it awaited here, a page would count as loaded before its scripts listen. */
export function say(sentences) {
  entries = sentences;
}

/** The sentence of a dotted key with {name} filled in; a table of `one` and `other` goes by the number `n`. */
export function t(key, values = {}) {
  let found = key.split(".").reduce((table, part) => table[part], entries);
  if (typeof found === "object") found = values.n === 1 ? found.one : found.other;
  return found.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

const lang = document.documentElement.lang;
export const clock = new Intl.DateTimeFormat(lang, { timeStyle: "medium", hourCycle: "h23" });
export const moment = new Intl.DateTimeFormat(lang, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
const number = new Intl.NumberFormat(lang, { maximumFractionDigits: 2 });
export const shown = (value) => number.format(value);
