// The theme: the system's, unless the switch was used. Runs in the head, so that no page flashes in the wrong one.
"use strict";

(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  root.classList.add("js");

  function chosen() {
    try {
      const theme = localStorage.getItem("theme");
      return theme === "dark" || theme === "light" ? theme : null;
    } catch {
      return null; // storage may be forbidden
    }
  }

  function show() {
    const theme = chosen() ?? (system.matches ? "dark" : "light");
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = theme === "dark" ? "Light theme" : "Dark theme";
    document.dispatchEvent(new Event("themechange"));
  }

  // Paper is light. The page goes back to its theme when it has been printed.
  addEventListener("beforeprint", () => {
    root.dataset.theme = "light";
    document.dispatchEvent(new Event("themechange"));
  });
  addEventListener("afterprint", show);
  document.addEventListener("click", (event) => event.target.closest("[data-print]") && print());

  show();
  system.addEventListener("change", show);
  addEventListener("storage", show);

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    for (const one of [button, ...document.querySelectorAll("[data-print]")]) one.hidden = false;
    show();
    button.addEventListener("click", () => {
      const theme = root.dataset.theme === "dark" ? "light" : "dark";
      try {
        localStorage.setItem("theme", theme);
        show();
      } catch {
        root.dataset.theme = theme;
      }
    });
  });
})();
