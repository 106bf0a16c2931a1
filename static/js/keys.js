// Keys: Ctrl/⌘ / lists them, / goes to the filter, j and k walk through the rows, x selects one.
// Single keys rest while a field has focus and can be switched off for good (WCAG 2.1.4).

const dialog = document.getElementById("keys");
const single = document.getElementById("keys-single");
const singleKeys = () => localStorage.getItem("keys") !== "off";

const writes = (element) =>
  element instanceof HTMLElement &&
  (element.isContentEditable || ["TEXTAREA", "SELECT"].includes(element.tagName) ||
    (element.tagName === "INPUT" && !["checkbox", "radio", "button", "submit"].includes(element.type)));

const links = () => {
  const named = [...document.querySelectorAll("main [data-walk]")];
  const all = named.length ? named : [...document.querySelectorAll("main tbody tr")].map((row) => row.querySelector("a.name, th a, td a"));
  return all.filter((link) => link?.checkVisibility?.() ?? link);
};

const walk = (step) => {
  const all = links();
  if (!all.length) return;
  const row = document.activeElement?.closest?.("tr, [data-walk]");
  const at = row ? all.findIndex((link) => row.contains(link)) : all.findIndex((link) => link.matches("[aria-current]"));
  const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
  all[next].focus();
};

const ACTS = {
  j: () => walk(1),
  k: () => walk(-1),
  x: () => document.activeElement?.closest?.("tr")?.querySelector("input[type=checkbox]")?.click(),
  "/": () => document.querySelector("main [data-filter], main input[type=search]")?.focus(),
};

if (dialog && single) {
  const open = () => { single.checked = singleKeys(); dialog.showModal(); };
  single.addEventListener("change", () => localStorage.setItem("keys", single.checked ? "on" : "off"));
  for (const button of document.querySelectorAll("[data-keys-open]")) {
    button.addEventListener("click", open);
    button.hidden = false;
  }
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "/") {
      event.preventDefault();
      dialog.open ? dialog.close() : open();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    if (!singleKeys() || writes(document.activeElement)) return;
    if (event.key === "?") {
      event.preventDefault();
      open();
      return;
    }
    // A page names keys itself, by what they press; its j and k come before those of every page.
    const pressed = /^[a-z0-9]$/.test(event.key) && document.querySelector(`main [data-key="${event.key}"]`);
    if (!pressed && !Object.hasOwn(ACTS, event.key)) return;
    event.preventDefault();
    pressed ? pressed.click() : ACTS[event.key]();
  });
}

// Menus close on Escape and on a click elsewhere, as menus do.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});
