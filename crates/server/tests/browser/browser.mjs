// A browser, and what every scene asks of it: that nothing complains, and that a page is fit for
// those who listen. Playwright and axe come from the packages of `ui/`.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import path from "node:path";
import readline from "node:readline";

const { PEERAGE_URL, PEERAGE_TOKEN, PEERAGE_UI, PEERAGE_PICTURES } = process.env;
const require = createRequire(path.join(PEERAGE_UI, "package.json"));
const { chromium } = require("playwright-core");
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

export const BASE = PEERAGE_URL;
export const TOKEN = PEERAGE_TOKEN;

/** The longest any single thing may take. */
export const LIMIT_MS = 30_000;

export const SIZES = {
  desktop: { width: 1280, height: 860 },
  phone: { width: 390, height: 844 },
};

/** What a page shows once it is there, and that it is not waiting for anything. */
export const PAGES = {
  front: ["/", "dl.totals dd"],
  stats: ["/stats", "[data-chart=load] svg"],
  map: ["/map.html", "[role=img] canvas"],
  settings: ["/settings.html", "#token, [data-setting]"],
};

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the other side do something, and waits until it is done. */
export async function wish(what) {
  console.log(`wish: ${what}`);
  const { done } = await lines.next();
  if (done) throw new Error("nobody is there to do it");
}

export async function launch() {
  return chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

export function assert(condition, text) {
  if (!condition) throw new Error(text);
}

/** A new visitor with a page. What goes wrong in it is kept in `page.complaints`. */
export async function visit(browser, { theme = "light", locale = "en", size = "desktop", ...rest }) {
  const context = await browser.newContext({
    colorScheme: theme,
    locale,
    viewport: SIZES[size],
    baseURL: BASE,
    ...rest,
  });
  context.setDefaultTimeout(LIMIT_MS);
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.complaints.push(message.text());
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    const own = url.host === new URL(BASE).host || url.protocol === "blob:";
    if (!own) page.complaints.push(`asks elsewhere: ${url}`);
  });
  return page;
}

/** Opens a page of ours and waits until it shows something. */
export async function open(page, name) {
  const [address, ready] = PAGES[name];
  await page.goto(address);
  await page.locator(ready).first().waitFor();
}

export async function signIn(page, token = TOKEN) {
  await page.locator("#token").fill(token);
  await page.locator("#token").press("Enter");
}

/** Fails if anything was logged or thrown, or left this tracker. */
export function isQuiet(page, where) {
  assert(page.complaints.length === 0, `${where}: ${page.complaints.join("\n")}`);
}

/** Fails for what keeps people out: labels, contrast, structure. */
export async function isAccessible(page, where) {
  await page.evaluate(AXE);
  const found = await page.evaluate(() => globalThis.axe.run(document));
  const bad = found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
  const told = bad.map(({ id, nodes }) => {
    const [{ html, failureSummary }] = nodes;
    return `${id} (${nodes.length}): ${html}\n${failureSummary}`;
  });
  assert(bad.length === 0, `${where}: ${told.join("\n")}`);
  assert(found.passes.length > 5, `${where}: nothing was looked at`);
}

export async function picture(page, name) {
  await page.mouse.wheel(0, -100_000);
  await page.screenshot({ path: path.join(PEERAGE_PICTURES, `${name}.png`), fullPage: true });
}

/** Asks `attempt` until it gives something that is neither undefined nor false. */
export async function until(what, attempt) {
  const end = Date.now() + LIMIT_MS;
  for (;;) {
    const value = await attempt();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > end) throw new Error(`no ${what} within ${LIMIT_MS / 1000} s`);
    await new Promise((resume) => setTimeout(resume, 100));
  }
}
