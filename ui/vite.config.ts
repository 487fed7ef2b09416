/// <reference types="vitest/config" />
// The build of the pages: `dist`, which is committed and has to come out the same everywhere.
// Names carry a hash of the content and nothing else goes in: no time, no path, no version.
import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

/// Where `npm run dev` finds a running tracker.
const TRACKER = process.env["PEERAGE_URL"] ?? "http://127.0.0.1:6969";

/// What the tracker answers itself.
const ANSWERED = ["/config.json", "/stats.json", "/history.json", "/metrics", "/health", "/api"];

export default defineConfig({
  plugins: [vue({ features: { optionsAPI: true } })],
  cacheDir: "../target/ui-vite",
  build: {
    target: "es2022",
    // No data: addresses, so that the pages' policy need not allow them.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 600,
  },
  server: {
    proxy: {
      ...Object.fromEntries(ANSWERED.map((path) => [path, TRACKER])),
      "/map.ws": { target: TRACKER, ws: true },
    },
  },
  test: { include: ["tests/*.test.ts"], environment: "node" },
});
