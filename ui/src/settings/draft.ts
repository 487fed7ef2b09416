// A setting as it is entered, and as it is sent. No drawing.
import type { Setting } from "./api";

export type Entered = string | boolean;

/** What a setting's field shows at first. */
export function entered(setting: Setting): Entered {
  const { value } = setting;
  // One that may be neither is chosen from words.
  if (typeof value === "boolean" && setting.choices.length === 0) return value;
  if (Array.isArray(value)) return value.join(", ");
  return value === null ? "" : String(value);
}

/** What is sent for what was entered: numbers as such, all else as the configuration writes it. */
export function sent(kind: Setting["kind"], value: Entered): string | number | boolean | string[] {
  if (typeof value === "boolean") return value;
  const text = value.trim();
  if (kind === "bool" && (text === "true" || text === "false")) return text === "true";
  if (kind === "list") return text === "" ? [] : text.split(/[\s,]+/);
  const isNumber = /^-?\d+(\.\d+)?$/.test(text);
  // A bare number is seconds in a duration and bytes in a size, as in the configuration.
  return isNumber && kind !== "text" ? Number(text) : text;
}

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** The seconds of a duration as the configuration writes it; nothing where it is none. */
export function seconds(text: string): number | undefined {
  const whole = text.trim();
  if (/^\d+$/.test(whole)) return Number(whole);
  if (!/^(\d+[smhd])+$/.test(whole)) return undefined;
  return [...whole.matchAll(/(\d+)([smhd])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? ""] ?? 0),
    0,
  );
}

/** Groups of the settings that can be changed here; what a later tracker adds comes last. */
const GROUPS: [string, RegExp][] = [
  ["interval", /^announce\.(.*interval|jitter|load_max|peer_timeout)$/],
  ["replies", /^announce\./],
  ["http", /^http\./],
  ["access", /^access\./],
  ["pages", /^pages\./],
];

/** What the members' page has. */
const ELSEWHERE = ["private.pricing", "private.double_upload"];

/** The settings that can be changed while the tracker runs, by group. */
export function grouped(settings: Setting[]): [string, Setting[]][] {
  const left = settings.filter(({ key, takes }) => takes === "now" && !ELSEWHERE.includes(key));
  const groups = GROUPS.map(([name, pattern]): [string, Setting[]] => {
    const members = left.filter(({ key }) => pattern.test(key));
    members.forEach((member) => left.splice(left.indexOf(member), 1));
    return [name, members];
  });
  return [...groups, ["other", left] as [string, Setting[]]].filter(([, of]) => of.length > 0);
}
