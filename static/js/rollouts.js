// Rollouts: opening one changes only what it must, so that a reader keeps the place; a new step is announced, never forced.

const tab = () => document.getElementById("rollouts");

/** Show another address of this tab without leaving the page; whole loading where that fails. */
const open = async (url, { push = true } = {}) => {
  const old = tab();
  old.setAttribute("aria-busy", "true");
  let fresh = null;
  try {
    const answer = await fetch(url, { headers: { "X-Live": "1" } });
    // One picked by chance is told by a redirect within the tab; to the login it is a whole page.
    if (answer.ok && new URL(answer.url).pathname === location.pathname) {
      if (answer.redirected) url = answer.url;
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("rollouts");
    }
  } catch {
    // Loaded whole below.
  }
  if (!fresh) { location.assign(url); return; }
  const shade = document.getElementById("shade")?.checked ?? true;
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const walk = focused?.dataset?.walk;
  const label = focused?.getAttribute?.("aria-label") || focused?.textContent;
  const scrolled = old.querySelector("[data-keep-scroll]")?.scrollTop;
  old.replaceWith(document.adoptNode(fresh));
  const box = document.getElementById("shade");
  if (box) box.checked = shade;
  const list = fresh.querySelector("[data-keep-scroll]");
  if (list && scrolled !== undefined) list.scrollTop = scrolled;
  showCurrent();
  if (focused) {
    const same = walk ? fresh.querySelector(`[data-walk="${CSS.escape(walk)}"]`)
      : [...fresh.querySelectorAll("a, button")].find((one) => (one.getAttribute("aria-label") || one.textContent) === label);
    (same ?? fresh.querySelector("[data-walk][aria-current], [data-walk]"))?.focus({ preventScroll: true });
  }
  if (push) history.pushState({ rollouts: true }, "", url);
  news(latest);
};

/** The open rollout within sight of the list, without moving the page. */
const showCurrent = () => {
  const list = document.querySelector("#rollouts [data-keep-scroll]");
  const row = list?.querySelector("[aria-current]");
  if (!row) return;
  const [box, place] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  if (place.top < box.top || place.bottom > box.bottom) list.scrollTop += place.top - box.top - box.height / 3;
};

let latest = Number(tab()?.dataset.latest) || 0;

/** Say that a later step is there. Somebody who reads the empty page gets it at once. */
const news = (step) => {
  latest = Math.max(latest, step);
  const part = tab();
  if (!part || !latest || latest <= Number(part.dataset.latest || 0)) return;
  if (!part.dataset.step) { open(location.href, { push: false }); return; }
  const place = part.querySelector("[data-news]");
  const query = new URLSearchParams(location.search);
  for (const name of ["step", "open", "page"]) query.delete(name);
  const address = `?${query}${query.size ? "&" : ""}step=${latest}#rollouts`;
  place.querySelector("[data-news-text]").textContent = `The rollouts of step ${latest.toLocaleString("en")} are stored.`;
  place.querySelector("[data-news-link]").setAttribute("href", address);
  place.hidden = false;
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("#rollouts [data-unfold]");
  if (button) {
    const folds = [...document.querySelectorAll("#rollouts .turns details.fold")];
    const open = folds.some((fold) => !fold.open);
    for (const fold of folds) fold.open = open;
    button.textContent = open ? "Fold all" : "Unfold all";
    return;
  }
  const link = event.target.closest("#rollouts a[data-part]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  open(link.href);
});
addEventListener("popstate", () => { if (tab()) open(location.href, { push: false }); });
document.addEventListener("rollouts-stored", (event) => news(event.detail));
showCurrent();
