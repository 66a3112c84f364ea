// A tab of the result is fetched and put in place, so that the page keeps its position. The links work without this.
"use strict";

(() => {
  const nav = document.querySelector("[data-tabs]");
  if (!nav) return;

  async function show(address) {
    const panel = document.querySelector("[data-tab]");
    panel.setAttribute("aria-busy", "true");
    const response = await fetch(address);
    if (!response.ok) throw new Error(response.statusText);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    panel.replaceWith(document.importNode(page.querySelector("[data-tab]"), true));
    for (const link of nav.querySelectorAll("a")) {
      const here = new URL(link.href).search === new URL(address, location).search;
      if (here) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.dispatchEvent(new Event("contentchange"));
  }

  nav.addEventListener("click", async (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const y = scrollY;
    try {
      await show(link.href);
      history.pushState(null, "", link.href);
      scrollTo(scrollX, y);
    } catch {
      location.assign(link.href); // as without scripts
    }
  });
  addEventListener("popstate", () => show(location.href).catch(() => location.reload()));
})();
