// What the browser keeps of a visitor's choices. Where it keeps nothing (a private window, a strict
// setting) the choice holds for the page.

/** What was kept under `name`. */
export function kept(name: string): string | null {
  try {
    return localStorage.getItem(`peerage.${name}`);
  } catch {
    return null;
  }
}

/** Keeps `value` under `name`; null to forget it. */
export function keep(name: string, value: string | null) {
  try {
    if (value === null) localStorage.removeItem(`peerage.${name}`);
    else localStorage.setItem(`peerage.${name}`, value);
  } catch {
    // It holds for this page alone.
  }
}
