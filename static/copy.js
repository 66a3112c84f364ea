// Buttons that copy: a command (data-copy: the id of what holds it) or an address (data-copy-address: a link, or "" for
// this page's). Without the clipboard there is no button, and the text can be selected.
"use strict";

(() => {
  if (!navigator.clipboard) return;

  const reveal = () => {
    for (const button of document.querySelectorAll("[data-copy], [data-copy-address]")) button.hidden = false;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-address]");
    if (!button) return;
    const { copy, copyAddress } = button.dataset;
    const text = copy ? document.getElementById(copy).textContent : new URL(copyAddress, location.href).href;
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not allowed"; // the browser may refuse
    }
    const status = document.querySelector("[data-copied]");
    if (status) status.textContent = button.textContent;
    setTimeout(() => (button.textContent = label), 2000);
  });

  document.addEventListener("contentchange", reveal);
  reveal();
})();
