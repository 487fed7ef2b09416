// What the pages say, in the reader's language.
//
// A message is a text with {names} in it, or one text for each plural category of its language, of
// which the number `n` decides. Numbers are written as the language writes them. The files in
// `messages/` are loaded when they are needed; `docs/translating.md` says how to add one.
import { computed, shallowRef } from "vue";
import type en from "./messages/en.json";
import { keep, kept } from "./kept";

export const LOCALES = ["en", "zh-CN", "ru"] as const;
export type Locale = (typeof LOCALES)[number];

/** How a language calls itself. */
export const LOCALE_NAMES: Record<Locale, string> = {
  en: "English",
  "zh-CN": "简体中文",
  ru: "Русский",
};

export type Key = keyof typeof en;
type Plural = Partial<Record<Intl.LDMLPluralRule, string>> & { other: string };
export type Messages = Record<Key, string | Plural>;
export type Values = Record<string, string | number>;

const LOADERS: Record<Locale, () => Promise<{ default: unknown }>> = {
  en: () => import("./messages/en.json"),
  "zh-CN": () => import("./messages/zh-CN.json"),
  ru: () => import("./messages/ru.json"),
};

const spoken = shallowRef<{ locale: Locale; messages: Messages; plurals: Intl.PluralRules }>();

/** The language of the page. */
export const locale = computed<Locale>(() => spoken.value?.locale ?? "en");

/** The language of ours that `tag` asks for, if any: `zh`, `zh-Hans-CN` and `zh_CN.UTF-8`. */
export function match(tag: string): Locale | undefined {
  const [language, ...rest] = tag.toLowerCase().split(/[-_.@]/);
  if (language === "zh" && rest.some((part) => ["tw", "hk", "mo", "hant"].includes(part))) {
    // Traditional characters are another script: better English than the wrong one.
    return undefined;
  }
  return LOCALES.find((ours) => ours.toLowerCase().split("-")[0] === language);
}

/** The language to speak: the operator's, else the one chosen, else the browser's. */
export function decide(
  forced: string | null,
  chosen: string | null,
  wanted: readonly string[],
): Locale {
  const tags = [forced, chosen, ...wanted];
  for (const tag of tags) {
    const found = tag ? match(tag) : undefined;
    if (found) return found;
  }
  return "en";
}

/** Speaks `to` from now on. */
export async function speak(to: Locale) {
  const messages = (await LOADERS[to]()).default as Messages;
  spoken.value = { locale: to, messages, plurals: new Intl.PluralRules(to) };
  document.documentElement.lang = to;
}

/** Speaks the language that was decided on. */
export function speakDecided(forced: string | null): Promise<void> {
  return speak(decide(forced, kept("locale"), navigator.languages));
}

/** Speaks what the reader has chosen, now and next time. */
export function chooseLocale(chosen: Locale): Promise<void> {
  keep("locale", chosen);
  return speak(chosen);
}

/** Fills in a message: `n` chooses the plural, numbers are grouped. */
export function fill(
  message: string | Plural,
  values: Values,
  plurals: Intl.PluralRules,
  number: (value: number) => string,
): string {
  const count = values["n"];
  const category = typeof count === "number" ? plurals.select(count) : "other";
  const text = typeof message === "string" ? message : (message[category] ?? message.other);
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
    const value = values[name];
    return value === undefined ? whole : typeof value === "number" ? number(value) : value;
  });
}

/** The message `key` in the page's language. */
export function t(key: Key, values: Values = {}): string {
  if (!spoken.value) return "";
  const { locale, messages, plurals } = spoken.value;
  return fill(messages[key], values, plurals, (value) => value.toLocaleString(locale));
}

/** The message that a name from the tracker has, or the name itself where it has none. */
export function named(group: string, name: string): string {
  const key = `${group}.${name}`;
  const known = spoken.value && Object.hasOwn(spoken.value.messages, key);
  return known ? t(key as Key) : name.replaceAll("_", " ");
}
