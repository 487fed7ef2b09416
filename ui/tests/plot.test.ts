import { expect, it } from "vitest";
import { area, highest, line, runs, scale, stack } from "../src/parts/plot";

const place = (at: number, value: number): [number, number] => [at, value];

it.each([
  [0, [0, 1]],
  [3, [0, 1, 2, 3]],
  [7, [0, 2.5, 5, 7.5]],
  [100, [0, 50, 100]],
  [101, [0, 50, 100, 150]],
  [0.003, [0, 0.001, 0.002, 0.003]],
])("scale up to %f has round steps", (most, ticks) => {
  const found = scale(most, 3);
  expect(found.ticks.map((tick) => +tick.toPrecision(6))).toEqual(ticks);
  expect(found.top).toBeGreaterThanOrEqual(most);
});

it("stacks what is known upon what is below", () => {
  expect(stack([[1, null, 3], [1, 2, null], [1, 1, 1]])).toEqual([
    [1, null, 3],
    [2, 2, null],
    [3, 3, 4],
  ]);
  expect(highest([[null, 2], [1]])).toBe(2);
  expect(highest([])).toBe(0);
});

it("breaks lines and areas where values are unknown", () => {
  const values = [null, 1, 2, null, 3];
  expect(runs(values)).toEqual([[1, 2], [4, 4]]);
  expect(line(values, place)).toBe("M1.0,1.0L2.0,2.0M4.0,3.0h0.01");
  expect(area([1, 2], undefined, place)).toBe("M0.0,1.0L1.0,2.0L1.0,0.0L0.0,0.0Z");
  expect(area([3, 3], [1, 2], place)).toBe("M0.0,3.0L1.0,3.0L1.0,2.0L0.0,1.0Z");
});
