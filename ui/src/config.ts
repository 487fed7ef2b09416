// What the tracker says of itself once: `/config.json`.
import { shallowRef } from "vue";

/** See the manual; everything in it is public. */
export interface Config {
  version: string;
  /** What `--locale` says, if anything. */
  locale: string | null;
  mode: string;
  announce_urls: string[];
  pages: { map: boolean; settings: boolean; members: boolean; largest: boolean };
  /** Whether the tracker knows where addresses are. */
  locations: boolean;
}

/** Undefined until it has come. */
export const config = shallowRef<Config>();

/** Reads it. Where the tracker is away, what was known stays. */
export async function readConfig(): Promise<void> {
  try {
    const reply = await fetch("/config.json", { signal: AbortSignal.timeout(10_000) });
    if (reply.ok) config.value = (await reply.json()) as Config;
  } catch {
    // The pages say that the tracker is away, and ask again when it is back.
  }
}
