// Numbers, sizes, durations and times as the reader's language writes them.
import { locale } from "./messages";

type Options = Intl.NumberFormatOptions;

const formats = new Map<string, Intl.NumberFormat>();

function format(options: Options, tag: string = locale.value): Intl.NumberFormat {
  const key = tag + JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    found = new Intl.NumberFormat(tag, options);
    formats.set(key, found);
  }
  return found;
}

/** What stands where nothing is known. */
export const NOTHING = "–";

/** A whole number, grouped. */
export function whole(value: number | null | undefined): string {
  return value == null ? NOTHING : format({ maximumFractionDigits: 0 }).format(value);
}

/** A rate: more digits the smaller it is. */
export function rate(value: number | null | undefined): string {
  if (value == null) return NOTHING;
  const digits = value === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return format({ maximumFractionDigits: digits }).format(value);
}

/** A number with a fixed count of decimals. */
export function fixed(value: number | null | undefined, digits: number): string {
  const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
  return value == null ? NOTHING : format(options).format(value);
}

/** Short, for an axis: 1.2K, 3万, 4 тыс. */
export function compact(value: number): string {
  return format({ notation: "compact", maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

const BYTE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"];

/** A size in steps of 1000, as the units say. */
export function bytes(value: number | null | undefined): string {
  if (value == null) return NOTHING;
  let unit = 0;
  let scaled = value;
  while (scaled >= 999.5 && unit < BYTE_UNITS.length - 1) {
    scaled /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || scaled >= 100 ? 0 : 1;
  const unitDisplay = unit === 0 ? "long" : "short";
  const options = { style: "unit", unit: BYTE_UNITS[unit], unitDisplay } as Options;
  return format({ ...options, maximumFractionDigits: digits }).format(scaled);
}

/** A part of a whole as per cent. */
export function percent(part: number): string {
  return format({ style: "percent", maximumFractionDigits: part < 0.1 ? 1 : 0 }).format(part);
}

const DURATION_UNITS: [string, number][] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** A duration by its two largest units: 3 days 4 hr, 29 min 59 sec. */
export function duration(secs: number | null | undefined): string {
  if (secs == null) return NOTHING;
  let rest = Math.round(secs);
  const parts: string[] = [];
  for (const [unit, size] of DURATION_UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || (unit === "second" && parts.length === 0)) {
      const unitDisplay = unit === "day" ? "long" : "short";
      parts.push(format({ style: "unit", unit, unitDisplay } as Options).format(count));
    } else if (parts.length > 0) {
      break;
    }
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** Microseconds in the unit that suits them. */
export function latency(micros: number | null | undefined): string {
  if (micros == null) return NOTHING;
  const unit = micros < 1000 ? "microsecond" : "millisecond";
  const value = micros < 1000 ? micros : micros / 1000;
  const options = { style: "unit", unit, unitDisplay: "short" } as Options;
  return format({ ...options, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

/** A moment, by seconds since the UNIX epoch: date and time. */
export function moment(secs: number): string {
  const options: Intl.DateTimeFormatOptions = { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(locale.value, options).format(secs * 1000);
}

/** A time of day, with seconds where they matter. */
export function clock(secs: number, withSeconds: boolean): string {
  const timeStyle = withSeconds ? "medium" : "short";
  return new Intl.DateTimeFormat(locale.value, { timeStyle }).format(secs * 1000);
}

/** A country by its two letters, in the reader's language. */
export function country(code: string): string {
  try {
    return new Intl.DisplayNames(locale.value, { type: "region" }).of(code) ?? code;
  } catch {
    return code;
  }
}
