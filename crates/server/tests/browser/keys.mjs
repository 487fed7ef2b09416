// The pages by keyboard alone: every control is reached, is seen to be, and does what it says.
import { assert, isQuiet, open, PAGES, TOKEN, until, visit } from "./browser.mjs";

/** More stops than any page has. */
const STOPS_MAX = 150;

/** Presses Tab until the page has been gone round, and tells each stop. */
async function walk(page) {
  const stops = [];
  await page.evaluate(() => document.activeElement?.blur());
  for (let press = 0; press < STOPS_MAX; press += 1) {
    await page.keyboard.press("Tab");
    const stop = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return null;
      element.dataset.stop = "yes";
      const shown = [element, element.nextElementSibling, element.closest(".el-input__wrapper")];
      const isSeen = shown.some((one) => {
        const style = one && getComputedStyle(one);
        return style && (style.outlineStyle !== "none" || style.boxShadow.includes("inset"));
      });
      return { isSeen, html: element.outerHTML.slice(0, 160) };
    });
    if (stop === null) break;
    stops.push(stop);
  }
  assert(stops.length < STOPS_MAX, "the keyboard is caught");
  for (const { isSeen, html } of stops) assert(isSeen, `nobody sees where the focus is: ${html}`);
  const missed = await page.evaluate(() => {
    const wanted = "a[href], button, input, select, textarea, summary, [tabindex='0']";
    const all = [...document.querySelectorAll(wanted)].filter((element) => {
      if (element.disabled || element.closest("details:not([open]) > :not(summary)")) return false;
      // Of radio buttons Tab stops at the one that is chosen.
      return (element.type !== "radio" || element.checked) && element.checkVisibility();
    });
    return all.filter(({ dataset }) => !dataset.stop).map(({ outerHTML }) => outerHTML.slice(0, 160));
  });
  assert(missed.length === 0, `not reached: ${missed.join("\n")}`);
  return stops.length;
}

/** Presses Tab until `selector` has the focus. */
async function reach(page, selector) {
  for (let press = 0; press < STOPS_MAX; press += 1) {
    await page.keyboard.press("Tab");
    const there = await page.evaluate((at) => document.activeElement?.matches(at), selector);
    if (there) return;
  }
  throw new Error(`the keyboard does not come to ${selector}`);
}

export async function keys(browser) {
  const page = await visit(browser, {});
  for (const name of Object.keys(PAGES)) {
    await open(page, name);
    const stops = await walk(page);
    assert(stops >= 8, `${name} has ${stops} stops`);
  }

  await open(page, "front");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert(await page.evaluate(() => document.activeElement.id === "main"), "past the menu");
  await open(page, "front");
  await reach(page, "nav a[href='/stats.html']");
  await page.keyboard.press("Enter");
  await page.locator("[data-chart=load] svg").waitFor();
  assert(await page.evaluate(() => document.activeElement.id === "main"), "in the new page");

  await reach(page, ".chart");
  const told = () => page.evaluate(() => document.activeElement.getAttribute("aria-valuenow"));
  const last = Number(await told());
  await page.keyboard.press("ArrowLeft");
  await until("the value before", async () => Number(await told()) === last - 1);
  await page.keyboard.press("Home");
  await until("the first value", async () => Number(await told()) === 0);

  await page.goto("/settings.html");
  await page.locator("#token").waitFor();
  await reach(page, "fieldset input");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  const isDark = () => page.evaluate(() => document.documentElement.classList.contains("dark"));
  await until("the dark theme", isDark);
  await reach(page, "#token");
  await page.keyboard.type(TOKEN);
  await page.keyboard.press("Enter");
  await page.locator("[data-setting]").first().waitFor();
  const stops = await walk(page);
  assert(stops > 20, `the settings have ${stops} stops`);
  await reach(page, "[id='setting-announce.full_scrape']");
  await page.keyboard.press("Space");
  await page.locator("text=1 change not saved").waitFor();
  await reach(page, ".bar button[type=submit]");
  await page.keyboard.press("Enter");
  await page.locator("text=Saved, and in force").waitFor();
  isQuiet(page, "by keyboard");
}
