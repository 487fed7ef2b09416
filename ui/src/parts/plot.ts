// The arithmetic of a chart: scales, lines and areas. No drawing.
import type { Points } from "../stats/body";

/** A scale from 0 with about `steps` round steps, up to at least `highest`. */
export function scale(highest: number, steps: number): { top: number; ticks: number[] } {
  if (!(highest > 0)) return { top: 1, ticks: [0, 1] };
  const rough = highest / steps;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) ?? 10);
  const count = Math.ceil(highest / step - 1e-9);
  return { top: count * step, ticks: Array.from({ length: count + 1 }, (_, at) => at * step) };
}

/** Each series upon those before it. Unknown where its own value is. */
export function stack(series: Points[]): Points[] {
  const sums: number[] = [];
  return series.map((values) =>
    values.map((value, at) => {
      if (value === null) return null;
      const upTo = (sums[at] ?? 0) + value;
      sums[at] = upTo;
      return upTo;
    }),
  );
}

/** The highest value of all, 0 where there is none. */
export function highest(series: Points[]): number {
  return series.flat().reduce<number>((most, value) => Math.max(most, value ?? 0), 0);
}

/** Runs of values without a gap: first and last index. */
export function runs(values: Points): [number, number][] {
  const found: [number, number][] = [];
  values.forEach((value, at) => {
    if (value === null) return;
    const last = found.at(-1);
    if (last && last[1] === at - 1) last[1] = at;
    else found.push([at, at]);
  });
  return found;
}

type Place = (index: number, value: number) => [number, number];

function points(values: Points, from: number, to: number, place: Place): string[] {
  const found: string[] = [];
  for (let at = from; at <= to; at += 1) {
    const [x, y] = place(at, values[at] ?? 0);
    found.push(`${x.toFixed(1)},${y.toFixed(1)}`);
  }
  return found;
}

/** The path of a line, broken where values are unknown. */
export function line(values: Points, place: Place): string {
  return runs(values)
    .map(([from, to]) => {
      const at = points(values, from, to, place);
      // A lone value is seen as a dot, by its round ends.
      return `M${at.join("L")}${from === to ? "h0.01" : ""}`;
    })
    .join("");
}

/** The path of the area between a line and the one below it, or the ground. */
export function area(values: Points, below: Points | undefined, place: Place): string {
  return runs(values)
    .map(([from, to]) => {
      const ground = below ?? values.map(() => 0);
      const back = points(ground, from, to, place).reverse();
      return `M${[...points(values, from, to, place), ...back].join("L")}Z`;
    })
    .join("");
}
