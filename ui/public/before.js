// Runs before the first paint, so that a chosen theme does not flash the other one, and so that
// the text for those without JavaScript is not seen by those with it.
(function () {
  var theme = null;
  try {
    theme = localStorage.getItem("peerage.theme");
  } catch (refused) {
    // The browser keeps nothing for us: the system's theme it is.
  }
  var dark = theme === "dark" ||
    (theme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.className = dark ? "js dark" : "js";
})();
