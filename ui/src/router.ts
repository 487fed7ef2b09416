// Five pages, one document: which one the address names, and moving between them without loading
// the document again. The tracker answers each address with the same document.
import { computed, ref } from "vue";

export type Page = "front" | "stats" | "map" | "members" | "settings";

/** The addresses of the pages, in the order of the menu. */
export const PATHS: Record<Page, string> = {
  front: "/",
  stats: "/stats.html",
  map: "/map.html",
  members: "/members.html",
  settings: "/settings.html",
};

/** The page at a path. The tracker answers no other path with this document. */
export function pageAt(path: string): Page {
  if (path.startsWith("/stats")) return "stats";
  if (path.startsWith("/map")) return "map";
  if (path.startsWith("/members")) return "members";
  if (path.startsWith("/settings")) return "settings";
  return "front";
}

const path = ref(location.pathname);
addEventListener("popstate", () => (path.value = location.pathname));

/** The page that is shown. */
export const page = computed(() => pageAt(path.value));

/** Goes to `to`, as a click on a link does. */
export function go(to: Page) {
  if (to === page.value) return;
  history.pushState(null, "", PATHS[to]);
  path.value = PATHS[to];
  scrollTo(0, 0);
}
