// Colour theme and row density. A cookie lets the server draw the next page without a flash.

const YEAR = 365 * 24 * 3600;
const THEMES = ["auto", "light", "dark"];

const remember = (name, value) => {
  localStorage.setItem(name, value);
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${value}; path=/; max-age=${YEAR}; samesite=lax${secure}`;
};

const set = (name, value, plain) => {
  if (value === plain) delete document.documentElement.dataset[name];
  else document.documentElement.dataset[name] = value;
};

const label = (button, words) => {
  button.setAttribute("aria-label", words);
  button.title = words;
};

// The admin's own switch writes localStorage only; take its choice over.
const kept = localStorage.getItem("theme");
if (THEMES.includes(kept) && kept !== (document.documentElement.dataset.theme ?? "auto")) {
  set("theme", kept, "auto");
  remember("theme", kept);
}

for (const button of document.querySelectorAll("[data-theme-switch]")) {
  const show = () => label(button, `Colour theme: ${document.documentElement.dataset.theme ?? "as the system"}`);
  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme ?? "auto";
    const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length];
    set("theme", next, "auto");
    remember("theme", next);
    show();
    document.dispatchEvent(new CustomEvent("themechange", { detail: next }));
  });
  show();
  button.hidden = false;
}

for (const button of document.querySelectorAll("[data-density-switch]")) {
  const show = () => label(button, `Row density: ${document.documentElement.dataset.density ?? "comfortable"}`);
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.density === "compact" ? "comfortable" : "compact";
    set("density", next, "comfortable");
    remember("density", next);
    show();
  });
  show();
  button.hidden = false;
}
