// Sliders beside number boxes: the slider goes in decades, the box holds the number. Without JavaScript the boxes do.
"use strict";

(() => {
  function written(value) {
    const digits = Math.max(0, 2 - Math.floor(Math.log10(value)));
    return String(Number(value.toFixed(Math.min(digits, 6))));
  }

  for (const slider of document.querySelectorAll("[data-slider] input[type=range]")) {
    const box = document.getElementById(slider.dataset.of);
    slider.hidden = false;
    slider.addEventListener("input", () => {
      box.value = written(10 ** Number(slider.value));
    });
    box.addEventListener("input", () => {
      const value = Number(box.value);
      if (value > 0) slider.value = String(Math.log10(value));
    });
  }
})();
