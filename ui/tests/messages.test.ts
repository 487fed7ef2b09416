import { describe, expect, it } from "vitest";
import en from "../src/messages/en.json";
import ru from "../src/messages/ru.json";
import zh from "../src/messages/zh-CN.json";
import { decide, fill, match } from "../src/messages";

type Message = string | Record<string, string>;
const texts = (message: Message) =>
  typeof message === "string" ? [message] : Object.values(message);
const names = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((found) => found[1]).sort();

describe.each([
  ["ru", ru],
  ["zh-CN", zh],
] as const)("messages in %s", (locale, messages) => {
  const theirs = messages as Record<string, Message>;
  const ours = en as Record<string, Message>;

  it("are all there, and no others", () => {
    expect(Object.keys(theirs)).toEqual(Object.keys(ours));
  });

  it("name the same values", () => {
    for (const [key, message] of Object.entries(ours)) {
      const expected = names(texts(message).at(-1) ?? "");
      for (const text of texts(theirs[key] ?? "")) {
        expect([key, names(text)]).toEqual([key, expected]);
      }
    }
  });

  it("have every plural of their language", () => {
    const categories = new Intl.PluralRules(locale).resolvedOptions().pluralCategories;
    for (const [key, message] of Object.entries(theirs)) {
      if (typeof message === "string") continue;
      expect([key, Object.keys(message).sort()]).toEqual([key, [...categories].sort()]);
    }
  });
});

describe("language", () => {
  it.each([
    ["zh", "zh-CN"],
    ["zh-Hans-SG", "zh-CN"],
    ["zh_CN.UTF-8", "zh-CN"],
    ["zh-TW", undefined],
    ["ru_RU.UTF-8", "ru"],
    ["en-GB", "en"],
    ["de", undefined],
    ["", undefined],
  ])("asked for as %s is %s", (tag, expected) => {
    expect(match(tag)).toBe(expected);
  });

  it("is the operator's, then the one chosen, then the browser's", () => {
    expect(decide("ru", "en", ["zh"])).toBe("ru");
    expect(decide("de_DE", "zh-CN", ["ru"])).toBe("zh-CN");
    expect(decide(null, null, ["fr", "ru-RU", "en"])).toBe("ru");
    expect(decide(null, null, [])).toBe("en");
  });
});

describe("message", () => {
  const plurals = new Intl.PluralRules("ru");
  const number = (value: number) => `<${value}>`;

  it("takes the plural that the number asks for", () => {
    const message = { one: "{n} пир", few: "{n} пира", many: "{n} пиров", other: "{n} пира" };
    const filled = [1, 2, 5, 21, 1.5].map((n) => fill(message, { n }, plurals, number));
    expect(filled).toEqual(["<1> пир", "<2> пира", "<5> пиров", "<21> пир", "<1.5> пира"]);
  });

  it("leaves what it is not given", () => {
    expect(fill("{a} {b}", { a: "x" }, plurals, number)).toBe("x {b}");
  });
});
