// A button beside a command copies it. Without the clipboard there is no button, and the text can be selected.
"use strict";

(() => {
  if (!navigator.clipboard) return;
  const status = document.querySelector("[data-copied]");
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Not allowed"; // the browser may refuse
      }
      status.textContent = button.textContent;
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }
})();
