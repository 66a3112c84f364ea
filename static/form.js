// Small comforts of the form. Everything works without them.
"use strict";

(() => {
  const form = document.querySelector("form.calculator");
  const control = (name) => form.querySelector(`[name="${name}"]`); // not by id: that is a picker's search box

  // A part that counts only for a custom choice is shown with that choice, and always where it holds a message.
  for (const part of form.querySelectorAll("details[data-depends-on]")) {
    const owner = control(part.dataset.dependsOn);
    const show = () => {
      const used = owner.value === "custom";
      part.hidden = !used && !part.querySelector(".error");
      part.open = used || part.open;
    };
    owner.addEventListener("change", show);
    show();
  }

  const told = (one) => (one.type === "checkbox" ? String(one.checked) : one.value.trim());

  // The line of a folded part follows what is changed in it.
  for (const part of form.querySelectorAll("details[data-summarised]")) {
    part.addEventListener("change", () => {
      const set = [...part.querySelectorAll("[data-default]")]
        .filter((one) => told(one) !== one.dataset.default && told(one) !== "")
        .map((one) => {
          const label = one.labels[0].textContent.trim();
          if (one.type === "checkbox") return `${label} ${one.checked ? "on" : "off"}`;
          return label === "Engine" ? one.selectedOptions[0].text : `${label} ${one.value.trim()}`;
        });
      part.querySelector(".values").textContent = set.join(", ") || part.dataset.summarised;
    });
  }

  // Typical workloads fill the fields; without scripts they are links.
  for (const presets of form.querySelectorAll("[data-presets]")) {
    const reason = form.querySelector("[data-preset-reason]");
    const holds = (fill, one) => String(fill) === one.value || (fill === "" && one.value === one.dataset.default);
    const mark = () => {
      const chosen = [...presets.querySelectorAll("button")].filter((button) => {
        const pressed = Object.entries(button.fill).every(([name, value]) => holds(value, control(name)));
        button.setAttribute("aria-pressed", String(pressed));
        return pressed;
      });
      reason.textContent = chosen[0]?.dataset.reason ?? "";
      reason.hidden = !reason.textContent;
    };
    for (const link of presets.querySelectorAll("a[data-fill]")) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: link.textContent });
      button.fill = JSON.parse(link.dataset.fill);
      if (link.dataset.reason) button.dataset.reason = link.dataset.reason;
      button.addEventListener("click", () => {
        for (const [name, value] of Object.entries(button.fill)) {
          const one = control(name);
          one.value = value === "" && one.tagName === "SELECT" ? one.dataset.default : value;
          one.dispatchEvent(new Event("change", { bubbles: true }));
        }
      });
      link.replaceWith(button);
    }
    form.addEventListener("input", mark);
    form.addEventListener("change", mark);
    mark();
  }

  // A link to a field opens the part that it is folded into.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const target = link && document.getElementById(link.hash.slice(1));
    const part = target?.closest("details");
    if (part) part.open = true;
    if (target?.matches("input, select")) { // shown in the middle, clear of the bar with the button
      event.preventDefault();
      target.scrollIntoView({ block: "center" });
      target.focus({ preventScroll: true });
    }
  });

  document.querySelector("[data-focus]")?.focus();
})();
