// What is done with the pages, scene by scene. Each fails by throwing.
import {
  assert,
  BASE,
  isAccessible,
  isQuiet,
  open,
  PAGES,
  picture,
  signIn,
  SIZES,
  TOKEN,
  until,
  visit,
  wish,
} from "./browser.mjs";

const LOCALES = { en: "Statistics", "zh-CN": "统计", ru: "Статистика" };

/** Most bytes of the first page as they travel. */
const FIRST_BYTES_MAX = 400_000;

export const desktop = (browser) => looks(browser, "desktop");
export const phone = (browser) => looks(browser, "phone");

/** Every page in both themes and three languages: a picture of each, no complaints. */
async function looks(browser, size) {
  for (const theme of ["light", "dark"]) {
    for (const [locale, word] of Object.entries(LOCALES)) {
      const page = await visit(browser, { theme, locale, size });
      for (const name of Object.keys(PAGES)) {
        const where = `${name}-${theme}-${locale}-${size}`;
        await open(page, name);
        if (name === "map") await points(page);
        assert((await page.locator("nav").innerText()).includes(word), `${where}: language`);
        assert((await page.locator("html").getAttribute("lang")) === locale, `${where}: lang`);
        const dark = await page.evaluate(() => document.documentElement.className);
        assert(dark.includes("dark") === (theme === "dark"), `${where}: ${dark}`);
        await isAccessible(page, where);
        await picture(page, where);
        if (name === "settings") await settingsLook(page, where);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert(wide <= SIZES[size].width, `${where} is ${wide} wide`);
      }
      isQuiet(page, `${theme} ${locale} ${size}`);
      await page.context().close();
    }
  }
}

async function settingsLook(page, where) {
  await signIn(page);
  await page.locator("[data-setting]").first().waitFor();
  await page.locator("[data-list=deny] li, [data-list=deny] textarea").first().waitFor();
  // A setting without a name in this language shows its key, and one without a group is last.
  const names = await page.locator("[data-setting] .words > :first-child").allTextContents();
  const unnamed = names.map((name) => name.trim()).filter((name) => /^[a-z]+\.[a-z_]+$/.test(name));
  assert(names.length > 10 && unnamed.length === 0, `no name for ${unnamed}`);
  await page.locator("details summary").click();
  await isAccessible(page, `${where} signed in`);
  await picture(page, where.replace("settings", "settings-in"));
}

/** Waits until there are points on the map. */
function points(page) {
  return until("points on the map", async () => {
    const count = await page.locator("[data-points]").getAttribute("data-points");
    return Number(count) > 0;
  });
}

/** Numbers move, charts grow, points appear where the load comes from. */
export async function moves(browser) {
  const page = await visit(browser, {});
  await open(page, "front");
  const totals = () => page.locator("dl.totals").innerText();
  const before = await totals();
  await until("other totals", async () => (await totals()) !== before);

  await open(page, "stats");
  const tile = (name) => page.locator(`[data-tile=${name}] dd`).first().innerText();
  const peers = await tile("peers");
  await until("more peers", async () => (await tile("peers")) !== peers);
  await until("requests", async () => Number((await tile("requests")).replace(",", "")) > 50);
  const line = () => page.locator(".chart path.line").first().getAttribute("d");
  const drawn = await line();
  assert(drawn.startsWith("M"), drawn);
  await until("a longer line", async () => (await line()) !== drawn);
  await page.locator("text=Transmission").first().waitFor();
  for (const span of ["Hour", "Day"]) {
    await page.getByText(span, { exact: true }).click();
    await page.locator(`.chart[aria-label="Requests per second"]`).waitFor();
  }
  isQuiet(page, "statistics");

  await open(page, "map");
  await points(page);
  for (const code of ["DE", "JP"]) await page.locator(`[data-country=${code}]`).waitFor();
  await page.locator("text=Germany").waitFor();
  const pixels = await until("pixels of points", () =>
    page.evaluate(() => {
      const canvas = document.querySelector("canvas.over");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return data.some((value, at) => at % 4 === 3 && value > 100);
    }),
  );
  assert(pixels, "the points are seen");
  isQuiet(page, "map");

  const still = await visit(browser, { reducedMotion: "reduce" });
  await open(still, "map");
  await points(still);
  isQuiet(still, "map without motion");
}

/** The interval that the next announce is told, or why it is refused. */
async function interval() {
  const query = "info_hash=bbbbbbbbbbbbbbbbbbbb&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7&left=1";
  const reply = await (await fetch(`${BASE}/announce?${query}`)).text();
  return reply.includes("failure reason") ? reply : reply.match(/8:intervali(\d+)e/)[1];
}

/** Who signs in changes a setting, and the next announce is told so. */
export async function changes(browser) {
  const page = await visit(browser, {});
  await open(page, "settings");
  await signIn(page, "peerage_admin_no");
  await page.locator("[role=alert]", { hasText: "not valid" }).waitFor();
  const ours = page.complaints.splice(0);
  assert(ours.every((text) => text.includes("401")), ours.join("\n"));
  await signIn(page);
  const field = (key) => page.locator(`[id="setting-announce.${key}"]`);
  await field("jitter").waitFor();
  assert((await interval()) !== "600", "it is not so to begin with");

  for (const key of ["interval", "min_interval", "max_interval"]) await field(key).fill("10m");
  await field("jitter").fill("soon");
  await page.locator("text=4 changes not saved").waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("[data-setting='announce.jitter'] [role=alert]", { hasText: "must be" })
    .waitFor();
  assert((await field("jitter").getAttribute("aria-invalid")) === "true", "it is said to be wrong");
  assert((await interval()) !== "600", "nothing is changed if one thing is wrong");
  await isAccessible(page, "settings with an error");
  await picture(page, "settings-wrong");
  const refused = page.complaints.splice(0);
  assert(refused.every((text) => text.includes("422")), refused.join("\n"));

  await field("jitter").fill("0");
  await page.getByRole("button", { name: "Save" }).click();
  await page.locator("text=Saved, and in force").waitFor();
  await until("the new interval", async () => (await interval()) === "600");
  const from = page.locator("[data-setting='announce.jitter']", { hasText: "Changed here" });
  await from.waitFor();
  await picture(page, "settings-saved");

  await wish("stop");
  await wish("start");
  assert((await interval()) === "600", "it is kept over a restart");
  await page.reload();
  await from.waitFor();
  await page.getByRole("button", { name: "Take back the change of: Spread" }).click();
  await page.locator("text=Saved, and in force").waitFor();
  assert((await field("jitter").inputValue()) === "1m", "it is what it was");
  page.complaints.splice(0);

  await list(page);
  await token(page);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.locator("#token").waitFor();
  const kept = await page.evaluate(() => [sessionStorage.length, JSON.stringify(localStorage)]);
  assert(kept[0] === 0 && !kept[1].includes("peerage_admin"), `kept: ${kept}`);
  isQuiet(page, "settings");
}

/** A swarm that is put on the deny list is refused, and no longer when it is taken off. */
async function list(page) {
  const hash = "62".repeat(20);
  const deny = page.locator("[data-list=deny]");
  await deny.locator("textarea").fill(hash.toUpperCase());
  await deny.getByRole("button", { name: "Add" }).click();
  await deny.locator("li", { hasText: hash }).waitFor();
  await until("a refusal", async () => (await interval()).includes("failure reason"));
  await deny.getByRole("button", { name: `Remove ${hash}` }).click();
  await deny.locator("li").waitFor({ state: "detached" });
  await until("an answer", async () => !(await interval()).includes("failure reason"));
}

/** A token is made, works, and does so no longer when it is removed. */
async function token(page) {
  await page.locator("#token-name").fill("a visitor");
  await page.getByRole("button", { name: "Make a token" }).click();
  const text = await page.locator(".made code").innerText();
  const ask = () => {
    const headers = { authorization: `Bearer ${text}` };
    return fetch(`${BASE}/api/v1/session`, { headers }).then(({ status }) => status);
  };
  assert((await ask()) === 200, "it is taken");
  await picture(page, "settings-token");
  const remove = page.getByRole("button", { name: "Remove a visitor" });
  await remove.click();
  assert((await ask()) === 200, "one press removes nothing");
  await remove.click();
  await remove.waitFor({ state: "detached" });
  assert((await ask()) === 401, "it is no longer taken");
}

/** The tracker goes: calm, with the last numbers. It comes back: all goes on by itself. */
export async function returns(browser) {
  const page = await visit(browser, {});
  const map = await visit(browser, {});
  await open(page, "stats");
  await open(map, "map");
  await points(map);
  const banner = page.locator("[role=status]", { hasText: "does not answer" });
  assert((await banner.count()) === 0, "it is there");
  const state = (name) => map.locator(`[data-state=${name}]`).waitFor();
  await state("live");

  await wish("stop");
  await banner.waitFor();
  await page.locator(".stale [data-tile=peers]").waitFor();
  const peers = await page.locator("[data-tile=peers] dd").first().innerText();
  assert(/[1-9]/.test(peers), `the last numbers are kept, not ${peers}`);
  await isAccessible(page, "statistics without a tracker");
  await picture(page, "away-stats");
  await state("away");
  await picture(map, "away-map");

  await wish("start");
  await banner.waitFor({ state: "detached" });
  await page.locator(".stale").waitFor({ state: "detached" });
  const tile = page.locator("[data-tile=requests] dd").first();
  await until("new numbers", async () => /[1-9]/.test(await tile.innerText()));
  await state("live");
  await points(map);
  assert(page.url().endsWith("/stats"), "without loading anew");
}

/** What the first page weighs as it travels, and what it says where no script runs. */
export async function first(browser) {
  const page = await visit(browser, {});
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  let bytes = 0;
  session.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
  await open(page, "front");
  await page.waitForLoadState("networkidle").catch(() => undefined);
  console.log(`the first page is ${bytes} bytes as it travels`);
  assert(bytes > 10_000, "it was measured");
  assert(bytes < FIRST_BYTES_MAX, `${bytes} bytes are more than ${FIRST_BYTES_MAX}`);
  const port = new URL(BASE).port;
  const urls = [`udp://127.0.0.1:${port}/announce`, `http://127.0.0.1:${port}/announce`];
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  for (const url of urls) {
    await page.getByRole("button", { name: `Copy ${url}` }).click();
    const copied = await until("the text", () =>
      page.evaluate(() => navigator.clipboard.readText().catch(() => undefined)),
    );
    assert(copied === url, copied);
  }

  const plain = await visit(browser, { javaScriptEnabled: false });
  await plain.goto("/");
  for (const url of urls) await plain.getByText(url, { exact: true }).waitFor();
  await picture(plain, "front-without-javascript");
  isQuiet(plain, "without JavaScript");

  const chosen = await visit(browser, { locale: "fr" });
  await open(chosen, "front");
  await chosen.locator("header select").selectOption("ru");
  await chosen.locator("text=Адреса для анонсов").waitFor();
  await chosen.reload();
  await chosen.locator("text=Адреса для анонсов").waitFor();
  assert(TOKEN.length > 20, "there is a token");
}
