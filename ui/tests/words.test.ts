import { describe, expect, it } from "vitest";
import { bytes, duration, latency, percent, rate, whole } from "../src/format";
import { retryMs } from "../src/live";
import { pauseMs } from "../src/map/feed";
import { entered, grouped, seconds, sent } from "../src/settings/draft";
import type { Setting } from "../src/settings/api";

describe("numbers", () => {
  it.each([
    [whole(1234567), "1,234,567"],
    [whole(null), "–"],
    [rate(0), "0"],
    [rate(0.123), "0.12"],
    [rate(12.34), "12.3"],
    [rate(1234.5), "1,235"],
    [percent(0.051), "5.1%"],
    [bytes(0), "0 bytes"],
    [bytes(999), "999 bytes"],
    [bytes(16_100_000), "16.1 MB"],
    [bytes(999_960), "1 MB"],
    [latency(197), "197 μs"],
    [latency(1300), "1.3 ms"],
    [duration(0), "0 sec"],
    [duration(1799), "29 min 59 sec"],
    [duration(3600), "1 hr"],
    [duration(90_061), "1 day 1 hr"],
  ])("%s is written so", (written, expected) => {
    expect(written.replace("µ", "μ")).toBe(expected);
  });
});

it("pauses grow and have a bound", () => {
  const pauses = [1, 2, 3, 4, 5, 50].map((failed) => retryMs(failed));
  expect(pauses).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000]);
  expect(pauseMs(1, 0)).toBe(1000);
  expect(pauseMs(99, 1)).toBe(37_500);
});

describe("setting", () => {
  const setting = (key: string, rest: Partial<Setting> = {}) =>
    ({ key, kind: "duration", choices: [], takes: "now", value: "1m", ...rest }) as Setting;

  it.each([
    ["duration", "10m", "10m"],
    ["duration", " 600 ", 600],
    ["duration", "auto", "auto"],
    ["number", "1.5", 1.5],
    ["text", "15", "15"],
    ["bool", true, true],
    ["bool", "true", true],
    ["bool", "auto", "auto"],
    ["list", "a, b  c", ["a", "b", "c"]],
    ["list", " ", []],
  ] as const)("of kind %s entered as %s is sent", (kind, value, expected) => {
    expect(sent(kind, value)).toEqual(expected);
  });

  it("is shown as it is written", () => {
    expect(entered(setting("a"))).toBe("1m");
    expect(entered(setting("a", { value: null }))).toBe("");
    expect(entered(setting("a", { value: ["x", "y"] }))).toBe("x, y");
    expect(entered(setting("a", { value: true }))).toBe(true);
    expect(entered(setting("a", { value: true, choices: ["auto"] }))).toBe("true");
  });

  it.each([["90", 90], ["1h30m", 5400], ["2d", 172_800], ["auto", undefined], ["", undefined]])(
    "duration %s is told in words",
    (text, expected) => expect(seconds(text)).toBe(expected),
  );

  it("has a group, and what is new comes last", () => {
    const keys = ["http.timeout", "announce.jitter", "announce.numwant_default", "new.thing"];
    const fixed = setting("listen.port", { takes: "restart" });
    const groups = grouped([...keys.map((key) => setting(key)), fixed]);
    const told = groups.map(([name, of]) => [name, of.map(({ key }) => key)]);
    expect(told).toEqual([
      ["interval", ["announce.jitter"]],
      ["replies", ["announce.numwant_default"]],
      ["http", ["http.timeout"]],
      ["other", ["new.thing"]],
    ]);
  });
});
