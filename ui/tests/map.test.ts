import { describe, expect, it } from "vitest";
import { decode } from "../src/map/frames";
import { LIFE_MS, Points } from "../src/map/points";
import { Tally } from "../src/map/tally";
import { world } from "../src/map/world";

function bytes(hex: string): ArrayBuffer {
  const pairs = hex.replaceAll(" ", "").match(/../g) ?? [];
  return new Uint8Array(pairs.map((pair) => parseInt(pair, 16))).buffer;
}

describe("frame", () => {
  // Version 1, two points of 300 announces: Berlin over UDP IPv4, and 10 S 120.5 W of nowhere.
  const whole = "01 00 02 00 2c 01 00 00" + "0d 02 86 00 00 00 44 45" + "9c ff 4b fb 03 00 00 00";

  it("is read as it is written", () => {
    expect(decode(bytes(whole))).toEqual({
      announces: 300,
      points: [
        { latitude: 52.5, longitude: 13.4, way: 0, country: "DE" },
        { latitude: -10, longitude: -120.5, way: 3, country: "" },
      ],
    });
    expect(decode(bytes("01 00 00 00 07 00 00 00"))).toEqual({ announces: 7, points: [] });
  });

  it("is refused when it is cut or of another version", () => {
    const all = whole.replaceAll(" ", "");
    for (let length = 0; length < all.length; length += 2) {
      expect([length, decode(bytes(all.slice(0, length)))]).toEqual([length, undefined]);
    }
    expect(decode(bytes(`02${all.slice(2)}`))).toBeUndefined();
  });
});

it("points fade with their age, the newest in place of the oldest", () => {
  const points = new Points();
  const seen = (now: number) => points.each(now, () => undefined);
  points.add(1, 2, 3, 1000);
  points.add(4, 5, 0, 2000);
  const found: number[][] = [];
  points.each(2500, (...point) => found.push(point));
  expect(found).toEqual([[1, 2, 3, 1500], [4, 5, 0, 500]]);
  expect(seen(1000 + LIFE_MS)).toBe(1);
  for (let at = 0; at < 10_000; at += 1) points.add(0, 0, 0, 3000);
  expect(seen(3000)).toBe(6000);
  points.clear();
  expect(seen(3000)).toBe(0);
});

it("countries are counted and announces are a rate", () => {
  const tally = new Tally();
  for (const country of ["DE", "FR", "DE", ""]) tally.count(country);
  expect(tally.top(2)).toEqual([["DE", 2], ["FR", 1]]);
  expect(tally.total).toBe(4);
  expect(tally.rate(0)).toBe(0);
  for (let at = 0; at <= 4000; at += 250) tally.announced(10, at);
  expect(tally.rate(4000)).toBeCloseTo(170 / 4);
  expect(tally.rate(60_000)).toBe(0);
});

it("places are where they are on the map", () => {
  const { width, height, place } = world(1000);
  expect(height).toBeGreaterThan(350);
  const [x, y] = place(0, 0) ?? [];
  expect(x).toBeCloseTo(width / 2);
  expect(y).toBeGreaterThan(height / 2);
  expect(place(52.5, 13.4)?.[0]).toBeGreaterThan(width / 2);
  expect(place(-80, 0)).toBeUndefined();
});
