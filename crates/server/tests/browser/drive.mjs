// Plays the scene that is named. Ends with 0 if all was as it should be.
import { launch } from "./browser.mjs";
import * as scenes from "./scenes.mjs";
import { keys } from "./keys.mjs";
import * as members from "./members.mjs";
import * as nodes from "./nodes.mjs";

const scene = { ...scenes, ...members, ...nodes, keys }[process.argv[2]];
const browser = await launch();
let code = 0;
try {
  await scene(browser);
} catch (error) {
  console.log(error.stack);
  code = 1;
}
await browser.close();
console.log("wish: end");
process.exit(code);
