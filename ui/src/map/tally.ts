// How many points came from each country, and how many announces there are each second.

/** Seconds that a rate is taken over. */
const RATE_SECS = 10;

export class Tally {
  /** Since the page was opened, by two letters; nothing for those not known. At most 677. */
  readonly countries = new Map<string, number>();
  total = 0;
  #recent: { at: number; announces: number }[] = [];

  count(country: string) {
    this.countries.set(country, (this.countries.get(country) ?? 0) + 1);
    this.total += 1;
  }

  announced(announces: number, now: number) {
    this.#recent.push({ at: now, announces });
    const oldest = now - RATE_SECS * 1000;
    this.#recent = this.#recent.filter(({ at }) => at > oldest);
  }

  /** Announces per second of late. */
  rate(now: number): number {
    const first = this.#recent[0];
    if (!first) return 0;
    const secs = Math.max(1, (now - first.at) / 1000);
    const recent = this.#recent.filter(({ at }) => at > now - RATE_SECS * 1000);
    return recent.reduce((sum, { announces }) => sum + announces, 0) / secs;
  }

  /** The countries that most points come from. */
  top(count: number): [string, number][] {
    return [...this.countries].sort(([, a], [, b]) => b - a).slice(0, count);
  }
}
