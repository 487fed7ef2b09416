// The pages of a private tracker: members and torrents added and changed by hand, and announces that
// follow from it.
import {
  assert,
  BASE,
  isAccessible,
  isQuiet,
  picture,
  signIn,
  SIZES,
  TOKEN,
  until,
  visit,
} from "./browser.mjs";

const HASH = "6161616161616161616161616161616161616161";
const LOCALES = { en: "Members", "zh-CN": "成员", ru: "Участники" };

/** A `.torrent` file, and the info_hash that another program finds in it. */
const FILE =
  "d4:infod6:lengthi3e4:name4:file12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
const FILE_HASH = "3c0f0d7588f502aefd1110d14842812a485a9091";

/** A request to the API. */
async function api(method, path, body) {
  const headers = { authorization: `Bearer ${TOKEN}` };
  const options = { method, headers, body: body && JSON.stringify(body) };
  const reply = await fetch(`${BASE}/api/v1${path}`, options);
  assert(reply.ok, `${method} ${path}: ${reply.status} ${await reply.clone().text()}`);
  return reply.status === 204 ? undefined : reply.json();
}

/** What an announce of [`HASH`] to this URL is answered with. */
async function announce(url, more, hash = HASH) {
  const escaped = hash.replace(/../g, "%$&");
  const peer = `peer_id=-TR4060-000000000000&port=6881&compact=1&${more}`;
  return (await fetch(`${url}?info_hash=${escaped}&${peer}`)).text();
}

async function open(page) {
  await page.goto("/members.html");
  await page.locator("#token").waitFor();
}

/** A member and a torrent are added, announce, are changed, and go. */
export async function members(browser) {
  const page = await visit(browser, {});
  await open(page);
  await isAccessible(page, "members, not signed in");
  await signIn(page);
  const users = page.locator("[data-section=users]");
  const torrents = page.locator("[data-section=torrents]");
  await users.getByText("There is no member yet.").waitFor();

  await page.locator("#user-name").fill("Ann O'Brien / x");
  await page.locator("#user-name").press("Enter");
  const shown = users.locator(".made code");
  await shown.first().waitFor();
  const urls = await shown.allInnerTexts();
  const url = urls.find((text) => text.startsWith("http://"));
  assert(/\/[0-9a-z]{32}\/announce$/.test(url), `an address of her own: ${urls}`);
  assert(urls.some((text) => text.startsWith("udp://")), `one for UDP too: ${urls}`);
  const started = "uploaded=0&downloaded=0&left=100&event=started";
  assert((await announce(url, started)).includes("Unregistered"), "nothing is registered");

  await page.locator("#torrent-hash").fill(HASH.toUpperCase());
  await page.locator("#torrent-name").fill("a file");
  await torrents.getByRole("button", { name: "Add a torrent" }).click();
  await torrents.locator(`[data-torrent="${HASH}"]`).waitFor();
  assert((await announce(url, started)).includes("10:incompletei1e"), "it is registered");
  await announce(url, "uploaded=7000&downloaded=90&left=10");
  const buffer = Buffer.from(FILE);
  const file = { name: "x.torrent", mimeType: "application/x-bittorrent", buffer };
  await torrents.locator("input[type=file]").setInputFiles(file);
  await torrents.locator(`[data-torrent="${FILE_HASH}"]`).waitFor();
  assert((await announce(url, started, FILE_HASH)).includes("10:incompletei1e"), "by its file");

  await search(page);
  await rights(page, url);
  await prices(page, url);
  await isAccessible(page, "members");
  await picture(page, "members");

  const remove = users.getByRole("button", { name: "Remove Ann" });
  await remove.click();
  assert((await announce(url, started)).includes("complete"), "one press removes nobody");
  await remove.click();
  await users.getByText("Nothing is called that.").waitFor();
  assert((await announce(url, started)).includes("Passkey not found"), "she is gone");
  const drop = torrents.locator(`[data-torrent="${HASH}"]`).getByRole("button");
  await drop.click();
  await drop.click();
  await torrents.locator(`[data-torrent="${HASH}"]`).waitFor({ state: "detached" });
  await wrong(page);
  isQuiet(page, "members");
}

/** Who is looked for is found, and who is not there is not. */
async function search(page) {
  await api("PUT", "/users/bob", {});
  const users = page.locator("[data-section=users]");
  await page.locator("#users-like").fill("BOB");
  await users.locator('[data-user="bob"]').waitFor();
  assert((await users.locator("[data-user]").count()) === 1, "he alone");
  await page.locator("#users-like").fill("nobody");
  await users.getByText("Nothing is called that.").waitFor();
  await page.locator("#users-like").fill("");
  const ann = users.locator("[data-user]", { hasText: "Ann O'Brien" });
  await ann.getByText("7 kB").first().waitFor();
  await ann.getByText("0 seeding, 2 downloading").waitFor();
  await api("DELETE", "/users/bob");
  await page.locator("#users-like").fill("ann");
  await users.locator('[data-user="bob"]').waitFor({ state: "detached" });
}

/** What a member may do is changed with a switch, and she gets a new address. */
async function rights(page, url) {
  const ann = page.locator("[data-user]", { hasText: "Ann O'Brien" });
  await ann.locator("summary").focus();
  await page.keyboard.press("Enter");
  await ann.getByText(url, { exact: true }).first().waitFor();
  const enabled = ann.locator("[data-right=enabled] [role=switch]");
  await enabled.focus();
  await page.keyboard.press("Space");
  await ann.getByText("disabled", { exact: true }).waitFor();
  const more = "uploaded=7000&downloaded=90&left=10";
  assert((await announce(url, more)).includes("Passkey not found"), "she may not");
  await enabled.focus();
  await page.keyboard.press("Space");
  await ann.getByText("disabled", { exact: true }).waitFor({ state: "detached" });
  assert((await announce(url, more)).includes("8:interval"), "she may again");
  await ann.locator("[data-right=free_leech] .el-switch").click();
  await ann.getByText("free", { exact: true }).waitFor();
  await picture(page, "members-open");
}

/** What transfer costs is changed for one torrent, and for everybody. */
async function prices(page) {
  const torrent = page.locator(`[data-torrent="${HASH}"] select`);
  await torrent.selectOption("free");
  await until("the price", async () => {
    const { torrent } = await api("GET", `/torrents/${HASH}`);
    return torrent.pricing === "free";
  });
  const everybody = page.locator("[data-section=freeleech]");
  await everybody.locator("label", { hasText: "Nothing counts" }).click();
  await until("freeleech", async () => (await api("GET", "/freeleech")).pricing === "neutral");
  await everybody.getByText("Neither uploads nor downloads count.").waitFor();
  await everybody.locator(".el-switch").click();
  await until("double upload", async () => (await api("GET", "/freeleech")).double_upload);
}

/** What is wrong is said, and nothing is done. */
async function wrong(page) {
  page.complaints.length = 0;
  await page.locator("#torrent-hash").fill("nonsense");
  await page.locator("#torrent-hash").press("Enter");
  await page.locator("[data-section=torrents] .error", { hasText: "40 or 64 hex" }).waitFor();
  // The browser itself says that the reply was a refusal.
  const expected = (line) => line.includes("422");
  assert(page.complaints.every(expected), page.complaints.join("\n"));
  page.complaints.length = 0;
}

/** The page of members and the statistics in both themes, three languages, on a desk and a phone. */
export async function membersLook(browser) {
  const users = Array.from({ length: 60 }, (_, number) => ({
    name: `member-${number}`,
    set: { can_leech: number % 7 !== 3, enabled: number % 11 !== 5, free_leech: number % 5 === 0 },
  }));
  const { passkeys } = await api("POST", "/users", { put: users });
  const hashes = Array.from({ length: 8 }, (_, number) => `6${number}`.repeat(20));
  const names = ["Debian 12.9 amd64 netinst", "一部电影", "Кино", "x".repeat(180)];
  const put = hashes.map((info_hash, number) => ({
    info_hash,
    set: { name: names[number % 4], pricing: ["normal", "free", "neutral"][number % 3] },
  }));
  await api("POST", "/torrents", { put });
  for (const [number, { passkey }] of passkeys.slice(0, 20).entries()) {
    const url = `${BASE}/${passkey}/announce`;
    const hash = hashes[number % 8];
    await announce(url, "uploaded=0&downloaded=0&left=900&event=started", hash);
    await announce(url, `uploaded=${number * 1e7}&downloaded=${number * 1e6}&left=0`, hash);
  }
  for (const size of ["desktop", "phone"]) {
    for (const theme of ["light", "dark"]) {
      for (const [locale, word] of Object.entries(LOCALES)) {
        const where = `${theme}-${locale}-${size}`;
        const page = await visit(browser, { theme, locale, size });
        await open(page);
        assert((await page.locator("nav").innerText()).includes(word), `${where}: language`);
        await signIn(page);
        const first = page.locator('[data-user="member-0"]');
        await first.locator("summary").click();
        await first.locator("code").first().waitFor();
        await page.locator("[data-torrent]").first().waitFor();
        await isAccessible(page, `members ${where}`);
        await picture(page, `members-${where}`);
        await fits(page, `members ${where}`, size);
        await page.goto("/stats.html");
        await page.locator("[data-section=private]").waitFor();
        await page.locator("[data-chart=credited] svg").waitFor();
        await isAccessible(page, `statistics ${where}`);
        await picture(page, `private-stats-${where}`);
        await fits(page, `statistics ${where}`, size);
        isQuiet(page, where);
        await page.context().close();
      }
    }
  }
}

async function fits(page, where, size) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert(wide <= SIZES[size].width, `${where} is ${wide} wide`);
}
