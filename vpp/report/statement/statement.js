"use strict";
(function () {
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
  // Paper cannot be unfolded; afterwards the screen is as it was.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const detail of opened) detail.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const detail of opened) detail.open = false;
  });
})();
