// The live feed of the map, for as long as the page is seen.
import { onScopeDispose, ref, type Ref } from "vue";
import { decode, type Frame } from "./frames";

export type State = "connecting" | "live" | "away" | "none";

/** Said by a tracker that does not know where addresses are. */
const NO_LOCATIONS = 4404;
/** How long a connection has to last to be taken for a live one before its first frame. */
const SETTLED_MS = 800;
/** How long until it is asked again whether it knows by now. */
const NONE_MS = 30_000;
/** Pauses before connecting again: they double up to a bound. */
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 30_000;
/** Longest wait for a connection. */
const OPEN_MS_MAX = 8000;

/** The pause after `failed` failures in a row: up to a quarter longer, so that not all viewers of
 * a tracker that comes back come at once. */
export function pauseMs(failed: number, random: number): number {
  const pause = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failed - 1, 10));
  return pause * (1 + random / 4);
}

/** Hands every frame to `take`. */
export function useFeed(take: (frame: Frame) => void): Ref<State> {
  const state = ref<State>("connecting");
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failed = 0;

  function settled() {
    failed = 0;
    state.value = "live";
  }

  function connect() {
    clearTimeout(timer);
    const url = new URL("/map.ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const mine = new WebSocket(url);
    socket = mine;
    mine.binaryType = "arraybuffer";
    timer = setTimeout(() => mine.close(), OPEN_MS_MAX);
    mine.onopen = () => {
      // Nobody announcing, there are no frames. One without locations closes at once instead.
      clearTimeout(timer);
      timer = setTimeout(settled, SETTLED_MS);
    };
    mine.onmessage = ({ data }) => {
      const frame = data instanceof ArrayBuffer ? decode(data) : undefined;
      if (!frame) return;
      settled();
      take(frame);
    };
    mine.onclose = ({ code }) => {
      if (socket !== mine) return;
      failed += 1;
      state.value = code === NO_LOCATIONS ? "none" : "away";
      clearTimeout(timer);
      const pause = code === NO_LOCATIONS ? NONE_MS : pauseMs(failed, Math.random());
      timer = setTimeout(connect, pause);
    };
  }

  function disconnect() {
    clearTimeout(timer);
    const mine = socket;
    socket = undefined;
    mine?.close();
  }

  // Nobody looks at a page in the background: the tracker need not feed it.
  const seen = () => {
    if (document.hidden) disconnect();
    else if (!socket) connect();
  };
  document.addEventListener("visibilitychange", seen);
  seen();
  onScopeDispose(() => {
    document.removeEventListener("visibilitychange", seen);
    disconnect();
  });
  return state;
}
