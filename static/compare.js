// Runs that are put aside to be compared, kept for this window. Without scripts the link leads to the same page.
"use strict";

(() => {
  const MOST = 6;
  const KEY = "compare";

  function kept() {
    try {
      return (sessionStorage.getItem(KEY) ?? "").split(",").filter((id) => /^[\w-]{1,64}$/.test(id));
    } catch {
      return []; // storage may be forbidden
    }
  }

  function keep(ids) {
    try {
      sessionStorage.setItem(KEY, ids.join(","));
    } catch {
      // the link still compares this run
    }
  }

  function show() {
    const ids = kept();
    for (const button of document.querySelectorAll("[data-compare-add]")) {
      const inside = ids.includes(button.dataset.compareAdd);
      button.hidden = false;
      button.textContent = inside ? "Remove from compare" : "Add to compare";
      button.disabled = !inside && ids.length >= MOST;
    }
    for (const link of document.querySelectorAll("[data-compare-link]")) {
      link.textContent = ids.length ? `Compare ${ids.length}` : "Compare";
      if (ids.length) link.href = `/compare?ids=${ids.join(",")}`;
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-compare-add]");
    if (button) {
      const id = button.dataset.compareAdd;
      keep(kept().includes(id) ? kept().filter((one) => one !== id) : [...kept(), id]);
      show();
    }
    if (event.target.closest("[data-compare-clear]")) keep([]);
  });

  // What the address compares is what is put aside.
  const compared = document.querySelector("[data-compared]");
  if (compared) keep(compared.dataset.compared.split(","));
  show();
})();
