// Small comforts of the form. Everything works without them.
"use strict";

(() => {
  const form = document.querySelector("form.calculator");

  // A part that counts only for a custom choice is shown with that choice, and always where it holds a message.
  for (const part of form.querySelectorAll("details[data-depends-on]")) {
    const owner = form.elements[part.dataset.dependsOn];
    const show = () => {
      const used = owner.value === "custom";
      part.hidden = !used && !part.querySelector(".error");
      part.open = used || part.open;
    };
    owner.addEventListener("change", show);
    show();
  }

  const told = (control) => (control.type === "checkbox" ? String(control.checked) : control.value.trim());

  // The line of a folded part follows what is changed in it.
  for (const part of form.querySelectorAll("details[data-summarised]")) {
    part.addEventListener("change", () => {
      const set = [...part.querySelectorAll("input, select")]
        .filter((control) => told(control) !== control.dataset.default && told(control) !== "")
        .map((control) => {
          const label = control.labels[0].textContent.trim();
          if (control.type === "checkbox") return `${label} ${control.checked ? "on" : "off"}`;
          return label === "Engine" ? control.selectedOptions[0].text : `${label} ${control.value.trim()}`;
        });
      part.querySelector(".values").textContent = set.join(", ") || "automatic";
    });
  }

  // Typical workloads fill the fields.
  for (const presets of form.querySelectorAll("[data-presets]")) {
    presets.hidden = false;
    presets.addEventListener("click", (event) => {
      const fill = event.target.closest("[data-fill]");
      if (!fill) return;
      for (const [name, value] of Object.entries(JSON.parse(fill.dataset.fill))) {
        form.elements[name].value = value;
        form.elements[name].dispatchEvent(new Event("change", { bubbles: true }));
      }
    });
  }

  // A link to a field opens the part that it is folded into.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    const target = link && document.getElementById(link.hash.slice(1));
    const part = target?.closest("details");
    if (part) part.open = true;
    if (target?.matches("input, select")) {
      event.preventDefault();
      target.scrollIntoView({ block: "center" });
      target.focus({ preventScroll: true });
    }
  });

  document.querySelector("[data-focus]")?.focus();
})();
