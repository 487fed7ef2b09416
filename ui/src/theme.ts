// Light or dark: as the system has it, until someone chooses. `public/before.js` does the same
// before the first paint.
import { ref, watchEffect } from "vue";
import { keep, kept } from "./kept";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const dark = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = ref(dark.matches);
dark.addEventListener("change", () => (systemIsDark.value = dark.matches));

/** What was chosen. */
export const theme = ref<Theme>(THEMES.find((name) => name === kept("theme")) ?? "system");

/** Whether the pages are dark now. */
export const isDark = ref(false);

watchEffect(() => {
  isDark.value = theme.value === "dark" || (theme.value === "system" && systemIsDark.value);
  document.documentElement.classList.toggle("dark", isDark.value);
});

export function chooseTheme(chosen: Theme) {
  theme.value = chosen;
  keep("theme", chosen === "system" ? null : chosen);
}
