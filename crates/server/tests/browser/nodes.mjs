// What the statistics show of a node among others: while all is well, while Redis is away, after.
import {
  assert,
  BASE,
  isAccessible,
  isQuiet,
  picture,
  SIZES,
  until,
  visit,
  wish,
} from "./browser.mjs";

const LOCALES = { en: "Other nodes", "zh-CN": "其他节点", ru: "Другие узлы" };
const HASH = "c".repeat(20);
const PASSKEY = "k".repeat(32);
/** As the other side has it. */
const SITE_PASSWORD = "site".repeat(8);

const section = (page) => page.locator("[data-section=shared]");

/** Waits until the table shows `value` beside `name`. */
async function shows(page, name, value) {
  const row = section(page).locator("tr").filter({ has: page.getByText(name, { exact: true }) });
  await row.waitFor();
  const shown = () => section(page).innerText();
  const cell = row.locator("td");
  await until(`${name}: ${value}`, async () => (await cell.innerText()) === value).catch(
    async (error) => {
      throw new Error(`${error.message}, but ${await shown()}`);
    },
  );
}

async function says(page, text, kind) {
  await section(page).locator(`p.${kind}`, { hasText: text }).waitFor();
}

async function announce(path, port) {
  const peer = `info_hash=${HASH}&peer_id=-XX0001-00000000${port}&port=${port}&left=1&compact=1`;
  const reply = await fetch(`${BASE}${path}/announce?${peer}&uploaded=0&downloaded=0`);
  const text = await reply.text();
  assert(!text.includes("failure reason"), text);
}

async function update(query) {
  const reply = await fetch(`${BASE}/${SITE_PASSWORD}/update?action=${query}`);
  assert((await reply.text()) === "success", query);
}

async function visitStats(browser, options) {
  const page = await visit(browser, options);
  await page.goto("/stats.html");
  await section(page).waitFor();
  return page;
}

/** In both themes and three languages, on a desk and a phone. */
async function looks(browser, name) {
  for (const size of Object.keys(SIZES)) {
    for (const theme of ["light", "dark"]) {
      for (const [locale, title] of Object.entries(LOCALES)) {
        const where = `${name}-${theme}-${locale}-${size}`;
        const page = await visitStats(browser, { theme, locale, size });
        assert((await section(page).locator("h2").innerText()) === title, `${where}: language`);
        await isAccessible(page, where);
        await picture(page, where);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert(wide <= SIZES[size].width, `${where} is ${wide} wide`);
        isQuiet(page, where);
        await page.context().close();
      }
    }
  }
}

/** Nodes that share the swarms of anyone. */
export async function nodes(browser) {
  const page = await visitStats(browser, {});
  await says(page, "Connected to all of Redis", "soft");
  await shows(page, "Nodes that live, with this one", "2");
  await shows(page, "Messages missed, and asked about", "0");
  await wish("lose messages");
  await shows(page, "Messages missed, and asked about", "2");

  await wish("lose redis");
  await says(page, "it catches up when Redis is back", "bad");
  await announce("", 6001);
  await announce("", 6002);
  await shows(page, "Swarms with news not yet told", "1");
  await shows(page, "Peers with news not yet told", "2");
  await looks(browser, "nodes-away");

  await wish("find redis");
  await says(page, "Connected to all of Redis", "soft");
  await shows(page, "Peers with news not yet told", "0");
  await shows(page, "Parts of 2,048 yet to be told again", "0");
  isQuiet(page, "nodes");
  await picture(page, "nodes");
}

/** Nodes that share the peers of members, and what their site tells. */
export async function memberNodes(browser) {
  const page = await visitStats(browser, {});
  await says(page, "Connected to all of Redis", "soft");
  await shows(page, "Nodes that live, with this one", "2");
  await update(`add_user&passkey=${PASSKEY}&id=1&visible=1`);
  await update(`add_torrent&info_hash=${HASH}&id=1&freetorrent=0`);
  await shows(page, "Updates told to other nodes", "2");
  await shows(page, "Updates not yet told", "0");

  await wish("lose redis");
  await says(page, "credited when Redis is back", "bad");
  await announce(`/${PASSKEY}`, 6001);
  await shows(page, "Announces not yet told", "1");
  await update(`update_torrent&info_hash=${HASH}&freetorrent=1`);
  await shows(page, "Updates not yet told", "1");
  await looks(browser, "member-nodes-away");

  await wish("find redis");
  await says(page, "Connected to all of Redis", "soft");
  await shows(page, "Announces not yet told", "0");
  await shows(page, "Updates told to other nodes", "3");
  // Redis has come back empty: what others may have said is in the tables alone.
  await shows(page, "Reads of the tables for missed updates", "1");
  isQuiet(page, "nodes of a site");
  await picture(page, "member-nodes");
}
