// Draws the figures that stand in the page as JSON. Colours written as var(--name) are looked up in the page's theme.
"use strict";

(() => {
  const config = { responsive: true, displayModeBar: false };

  function figures() {
    return [...document.querySelectorAll("script[data-chart]")].map((script) => ({
      plot: document.getElementById(script.dataset.chart),
      figure: JSON.parse(script.textContent),
    }));
  }

  function coloured(value, style) {
    if (typeof value === "string") {
      const name = value.match(/^var\((--[\w-]+)\)$/);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((one) => coloured(one, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, coloured(one, style)]));
    }
    return value;
  }

  function themed(layout, style) {
    const colour = (name) => style.getPropertyValue(name).trim();
    const made = {
      colorway: [1, 2, 3, 4, 5, 6, 7].map((part) => colour(`--chart-part-${part}`)),
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style.fontFamily, size: 13, color: colour("--chart-text"), ...layout.font },
      hoverlabel: {
        bgcolor: colour("--chart-surface"),
        bordercolor: colour("--chart-muted"),
        font: { family: style.fontFamily, color: colour("--chart-text") },
      },
    };
    for (const key of Object.keys(made).filter((name) => /^[xy]axis\d*$/.test(name))) {
      made[key] = { gridcolor: colour("--chart-grid"), zerolinecolor: colour("--chart-grid"), linecolor: colour("--chart-grid"), ...made[key] };
    }
    return made;
  }

  // A button beside each caption, for mouse and keyboard. The file has the page's surface below it, not nothing.
  function savable({ plot }) {
    const figure = plot.closest("figure");
    if (!figure || figure.querySelector("button.png")) return;
    const caption = figure.querySelector("figcaption");
    const button = Object.assign(document.createElement("button"), { type: "button", className: "png", textContent: "PNG" });
    button.setAttribute("aria-label", `PNG of the chart: ${caption.textContent.trim()}`);
    button.addEventListener("click", () => {
      const surface = getComputedStyle(document.body).getPropertyValue("--chart-surface").trim();
      const drawn = { data: plot.data, layout: { ...plot.layout, paper_bgcolor: surface } };
      const name = [location.pathname.split("/").pop(), plot.id.replace(/-chart$/, "")].filter(Boolean).join("-");
      const { offsetWidth: width, offsetHeight: height } = plot;
      Plotly.downloadImage(drawn, { format: "png", scale: 2, width, height, filename: name });
    });
    caption.after(button);
  }

  async function draw() {
    const style = getComputedStyle(document.body);
    await Promise.all(
      figures().map(({ plot, figure }) =>
        Plotly.react(plot, coloured(figure.data, style), themed(coloured(figure.layout, style), style), config),
      ),
    );
    figures().forEach(savable);
    document.body.dataset.ready = "1";
  }

  document.addEventListener("themechange", draw);
  document.addEventListener("contentchange", draw);
  draw();
})();
