// Asking the tracker again and again, and knowing when it is away.
//
// One state for all: whatever asks, the banner tells once. While the tracker is away the last
// answers are kept, and it is asked at growing intervals up to a bound.
import { onScopeDispose, ref, shallowRef, watch, type ShallowRef } from "vue";

/** Longest wait for an answer. */
const ANSWER_MS_MAX = 8000;
/** First and longest pause before asking again in vain. */
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 15_000;
/** Failures in a row that make the tracker away: one may be a restart that nobody need notice. */
const FAILURES_MAX = 2;

/** Whether the tracker is away. */
export const away = ref(false);

let failures = 0;

/** The pause before attempt number `failed` + 1. */
export function retryMs(failed: number): number {
  return Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failed - 1, 10));
}

function succeeded() {
  failures = 0;
  away.value = false;
}

function failed() {
  failures += 1;
  if (failures >= FAILURES_MAX) away.value = true;
}

/** The answer to one question; throws where there is none. A 404 is an answer: `null`. */
export async function ask<T>(path: string): Promise<T | null> {
  let reply: Response;
  try {
    const signal = AbortSignal.timeout(ANSWER_MS_MAX);
    reply = await fetch(path, { signal, headers: { accept: "application/json" } });
    if (reply.status >= 500) throw new Error(`${reply.status}`);
  } catch (error) {
    failed();
    throw error;
  }
  succeeded();
  return reply.ok ? ((await reply.json()) as T) : null;
}

export interface Polled<T> {
  /** The last answer; undefined before the first, null where there is nothing of that name. */
  data: ShallowRef<T | null | undefined>;
}

/** Asks for `path()` every `everyMs` while the page is seen, and at once when the path changes. */
export function poll<T>(path: () => string, everyMs: () => number): Polled<T> {
  const data = shallowRef<T | null>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  let round = 0;

  async function turn() {
    const mine = ++round;
    clearTimeout(timer);
    let pause = everyMs();
    if (!document.hidden) {
      try {
        const answer = await ask<T>(path());
        if (mine === round && !stopped) data.value = answer;
      } catch {
        pause = retryMs(failures);
      }
    }
    if (mine === round && !stopped) timer = setTimeout(turn, pause);
  }

  const seen = () => !document.hidden && void turn();
  document.addEventListener("visibilitychange", seen);
  watch(path, () => void turn());
  void turn();
  onScopeDispose(() => {
    stopped = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  });
  return { data };
}
