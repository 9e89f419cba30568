"use strict";
(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const config = { displaylogo: false, responsive: true, showLink: false, plotlyServerURL: "",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"], toImageButtonOptions: { scale: 2 } };
  for (const [id, figure] of Object.entries(figures)) {
    const place = document.getElementById(id);
    if (place) Plotly.newPlot(place, figure.data, figure.layout, config);
  }
  const root = document.documentElement;
  const buttons = document.querySelectorAll("[data-set]");
  function speak(language) {
    root.dataset.language = language;
    root.lang = language === "en" ? "en" : "zh";
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.set === language));
  }
  for (const button of buttons) button.addEventListener("click", () => speak(button.dataset.set));
  const asked = location.hash.slice(1);
  if (asked === "zh" || asked === "en") speak(asked);
  window.addEventListener("beforeprint", () => {
    for (const detail of document.querySelectorAll("details")) detail.open = true;
  });
  root.dataset.ready = String(Object.keys(figures).length);
})();
