// The points on the map: a ring of bounded size, in which a new point takes the place of the
// oldest. Drawing is a picture for each point, the fainter the older.
import { WAYS } from "./frames";

/** Points seen at once. More come only while more than a thousand arrive each second. */
const POINTS_MAX = 6000;
/** How long a point is seen. */
export const LIFE_MS = 5000;
/** How long its arrival is marked by a ring. */
const RING_MS = 700;
/** Rings at once; with more arrivals they would be noise. */
const RINGS_MAX = 60;

const RADIUS = 2.4;
const GLOW = 7;

export class Points {
  readonly #x = new Float32Array(POINTS_MAX);
  readonly #y = new Float32Array(POINTS_MAX);
  readonly #way = new Uint8Array(POINTS_MAX);
  /** When it came; far in the past where there is none. */
  readonly #at = new Float64Array(POINTS_MAX).fill(-1e9);
  #next = 0;

  add(x: number, y: number, way: number, now: number) {
    this.#x[this.#next] = x;
    this.#y[this.#next] = y;
    this.#way[this.#next] = way;
    this.#at[this.#next] = now;
    this.#next = (this.#next + 1) % POINTS_MAX;
  }

  clear() {
    this.#at.fill(-1e9);
  }

  /** Calls `seen` for each point that is still seen, oldest first, with its age. */
  each(now: number, seen: (x: number, y: number, way: number, age: number) => void): number {
    let count = 0;
    for (let step = 0; step < POINTS_MAX; step += 1) {
      const at = (this.#next + step) % POINTS_MAX;
      const age = now - (this.#at[at] ?? 0);
      if (age >= LIFE_MS) continue;
      seen(this.#x[at] ?? 0, this.#y[at] ?? 0, this.#way[at] ?? 0, Math.max(0, age));
      count += 1;
    }
    return count;
  }

  /** Draws them; without motion a point is there at once and goes at once. */
  draw(
    context: CanvasRenderingContext2D,
    pictures: CanvasImageSource[],
    colours: string[],
    now: number,
    motion: boolean,
  ): number {
    let rings = RINGS_MAX;
    const count = this.each(now, (x, y, way, age) => {
      const left = 1 - age / LIFE_MS;
      const picture = pictures[way];
      if (!picture) return;
      context.globalAlpha = motion ? left ** 1.4 : 0.85;
      context.drawImage(picture, x - GLOW, y - GLOW, GLOW * 2, GLOW * 2);
      if (motion && age < RING_MS && rings > 0) {
        rings -= 1;
        const part = age / RING_MS;
        context.globalAlpha = 0.5 * (1 - part);
        context.strokeStyle = colours[way] ?? "";
        context.beginPath();
        context.arc(x, y, RADIUS + 9 * part, 0, 2 * Math.PI);
        context.stroke();
      }
    });
    context.globalAlpha = 1;
    return count;
  }
}

/** A dot with a glow for each way in, at a scale of the screen. */
export function pictures(colours: string[], scale: number): HTMLCanvasElement[] {
  return WAYS.map((_, way) => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = GLOW * 2 * scale;
    const context = canvas.getContext("2d");
    const colour = colours[way];
    if (!context || !colour) return canvas;
    context.scale(scale, scale);
    const glow = context.createRadialGradient(GLOW, GLOW, RADIUS / 2, GLOW, GLOW, GLOW);
    glow.addColorStop(0, colour);
    // The same colour without any of it: black without any of it would darken the way there.
    glow.addColorStop(1, `${colour}00`);
    context.globalAlpha = 0.4;
    context.fillStyle = glow;
    context.fillRect(0, 0, GLOW * 2, GLOW * 2);
    context.globalAlpha = 1;
    context.fillStyle = colour;
    context.beginPath();
    context.arc(GLOW, GLOW, RADIUS, 0, 2 * Math.PI);
    context.fill();
    return canvas;
  });
}
