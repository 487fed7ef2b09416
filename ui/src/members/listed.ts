// A list that is looked through: a search, pages, and what went wrong.
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from "vue";
import { call } from "../settings/api";
import { told } from "../settings/refused";
import { query } from "./api";

/** How long nobody types before it is looked for. */
const QUIET_MS = 250;

export interface Listed<T> {
  entries: ShallowRef<T[]>;
  /** What to go on after; null at the end. */
  next: Ref<number | null>;
  /** What is looked for. */
  like: Ref<string>;
  error: Ref<string>;
  busy: Ref<boolean>;
  /** Whether there has been an answer. */
  asked: Ref<boolean>;
  /** Does something, and says what was wrong. Whether it was done. */
  run: (work: () => Promise<void>) => Promise<boolean>;
  /** Reads the first page again. */
  read: () => Promise<void>;
  /** Reads one page more. */
  more: () => Promise<void>;
  /** Puts what an entry has become in its place. */
  replace: (is: (entry: T) => boolean, by: T | null) => void;
}

/** The list at `path`, whose replies have it under `name`. */
export function listed<T>(path: string, name: string): Listed<T> {
  const entries = shallowRef<T[]>([]);
  const next = ref<number | null>(null);
  const like = ref("");
  const error = ref("");
  const busy = ref(false);
  const asked = ref(false);
  let round = 0;

  async function page(after: number | null) {
    const mine = ++round;
    const reply = await call<Record<string, unknown>>("GET", path + query(like.value, after));
    if (mine !== round) return;
    const found = reply[name] as T[];
    entries.value = after === null ? found : [...entries.value, ...found];
    next.value = reply["next"] as number | null;
    asked.value = true;
  }

  async function run(work: () => Promise<void>) {
    busy.value = true;
    error.value = "";
    try {
      await work();
    } catch (refused) {
      error.value = told(refused);
    }
    busy.value = false;
    return error.value === "";
  }

  const read = () => page(null);
  let timer: ReturnType<typeof setTimeout> | undefined;
  watch(like, () => {
    clearTimeout(timer);
    timer = setTimeout(() => void run(read), QUIET_MS);
  });
  onScopeDispose(() => clearTimeout(timer));
  void run(read);
  return {
    entries,
    next,
    like,
    error,
    busy,
    asked,
    run,
    read,
    more: () => page(next.value),
    replace: (is, by) => {
      entries.value = entries.value.flatMap((entry) => {
        if (!is(entry)) return [entry];
        return by === null ? [] : [by];
      });
    },
  };
}
