// The theme: as the system has it, light, or dark. What is chosen stays.

import { get, say } from "/dash/dom.js";

const themes = ["system", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");
let chosen = localStorage.getItem("pupil-theme");
if (!themes.includes(chosen)) chosen = "system";

// watch applies the theme now and whenever it changes; changed is called after.
export function watch(changed) {
  const apply = () => {
    const dark = chosen === "dark" || (chosen === "system" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    say(get("theme"), "Theme: " + chosen);
    changed();
  };
  system.addEventListener("change", apply);
  get("theme").addEventListener("click", () => {
    chosen = themes[(themes.indexOf(chosen) + 1) % themes.length];
    localStorage.setItem("pupil-theme", chosen);
    apply();
  });
  apply();
}
