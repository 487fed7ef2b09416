// The start of the pages: the language first, so that nothing is seen in the wrong one.
import { createApp } from "vue";
import App from "./App.vue";
import { config, readConfig } from "./config";
import { speakDecided } from "./messages";
import "element-plus/theme-chalk/base.css";
import "./styles/palette.css";
import "./styles/base.css";

await readConfig();
await speakDecided(config.value?.locale ?? null);
createApp(App).mount("#app");
