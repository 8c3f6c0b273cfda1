"use strict";
// Light, dark, or the system's theme; stored if the browser lets a file store values.
(() => {
  const NAMES = ["auto", "light", "dark"];
  const KEY = "spatialdata-theme";

  const stored = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };

  const apply = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    const button = document.getElementById("theme");
    if (button) {
      button.textContent = { auto: "◐", light: "☀", dark: "☾" }[name];
      button.title = `Theme: ${name}`;
      button.setAttribute("aria-label", `Theme: ${name}`);
    }
  };

  let current = NAMES.includes(stored()) ? stored() : "auto";
  apply(current);
  document.addEventListener("DOMContentLoaded", () => {
    apply(current);
    document.getElementById("theme")?.addEventListener("click", () => {
      current = NAMES[(NAMES.indexOf(current) + 1) % NAMES.length];
      apply(current);
      try {
        localStorage.setItem(KEY, current);
      } catch {
        // The choice is not stored.
      }
    });
  });
})();
