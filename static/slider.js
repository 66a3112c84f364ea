// A slider under each box that declares one (data-slider="from to stops"), on a logarithmic scale: stops at 2^n and,
// with two stops per doubling, at 1.5 x 2^n. The box keeps the value and is what is sent; it also takes what no slider reaches.
"use strict";

(() => {
  const valueAt = (stop) => Math.round(stop % 2 ? 1.5 * 2 ** ((stop - 1) / 2) : 2 ** (stop / 2));

  for (const box of document.querySelectorAll("input[data-slider]")) {
    const [from, to, stops] = box.dataset.slider.split(" ").map(Number);
    const stopOf = (value) => 2 * Math.log2(value);
    const label = box.labels[0].textContent.trim();
    const slider = Object.assign(document.createElement("input"), {
      type: "range", className: "slider", min: Math.round(stopOf(from)), max: Math.round(stopOf(to)), step: 3 - stops,
    });
    slider.setAttribute("aria-label", `${label}, slider`);

    function follow() {
      const value = Number(box.value.replace(/[,_]/g, "") || box.dataset.default);
      slider.value = value > 0 ? Math.round(stopOf(value)) : slider.min;
      slider.classList.toggle("unset", !(value > 0));
      slider.setAttribute("aria-valuetext", box.value || box.placeholder);
    }

    slider.addEventListener("input", (event) => {
      event.stopPropagation();
      box.value = valueAt(Number(slider.value));
      slider.classList.remove("unset");
      slider.setAttribute("aria-valuetext", box.value);
      box.dispatchEvent(new Event("input", { bubbles: true }));
    });
    slider.addEventListener("change", (event) => {
      event.stopPropagation();
      box.dispatchEvent(new Event("change", { bubbles: true }));
    });
    box.addEventListener("input", follow);
    box.addEventListener("change", follow);
    box.closest(".control").after(slider);
    follow();
  }
})();
