// The table of runs: selection that outlives a refresh, comparison by `c`, no refresh while the tab is hidden.

const form = document.querySelector("[data-compare]");
const MOST = 10;

document.addEventListener("htmx:beforeRequest", (event) => {
  const trigger = event.detail.requestConfig?.triggeringEvent;
  const typing = document.querySelector("#run-rows, #queue")?.contains(document.activeElement) && document.activeElement.matches("select");
  if (!trigger && (document.hidden || typing)) event.preventDefault();
});

if (form) {
  const chosen = new Set();
  const batch = form.querySelector("[data-batch]");
  const all = form.querySelector("[data-select-all]");
  const boxes = () => [...form.querySelectorAll("[data-select]")];
  form.querySelectorAll("[data-compare-plain]").forEach((one) => { one.hidden = true; });
  all.hidden = false;

  const show = () => {
    for (const box of boxes()) {
      box.checked = chosen.has(box.value);
      box.closest("tr").classList.toggle("is-selected", box.checked);
    }
    all.checked = boxes().length > 0 && boxes().every((box) => box.checked);
    all.indeterminate = !all.checked && chosen.size > 0;
    batch.hidden = chosen.size === 0;
    batch.querySelector("[data-batch-count]").textContent = chosen.size;
    const fits = chosen.size >= 2 && chosen.size <= MOST;
    batch.querySelector("[data-batch-compare]").disabled = !fits;
    batch.querySelector("[data-batch-why]").textContent = fits ? "" : chosen.size < 2 ? "Choose at least two to compare." : `Up to ${MOST} can be compared.`;
  };
  const pick = (box) => { box.checked ? chosen.add(box.value) : chosen.delete(box.value); };

  let last = null;
  form.addEventListener("click", (event) => {
    const box = event.target.closest("[data-select]");
    if (!box) return;
    const list = boxes();
    const [from, to] = [list.findIndex((one) => one.value === last), list.indexOf(box)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) {
      for (const one of list.slice(from, to + 1)) { one.checked = box.checked; pick(one); }
    }
    pick(box);
    last = box.value;
    show();
  });
  all.addEventListener("change", () => { boxes().forEach((box) => { box.checked = all.checked; pick(box); }); show(); });
  form.querySelector("[data-batch-clear]").addEventListener("click", () => { chosen.clear(); show(); });
  document.addEventListener("htmx:afterSwap", show);
  document.addEventListener("keydown", (event) => {
    const writes = event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog");
    if (event.key !== "c" || event.ctrlKey || event.metaKey || event.altKey || writes) return;
    if (localStorage.getItem("keys") === "off" || chosen.size < 2 || chosen.size > MOST) return;
    event.preventDefault();
    form.requestSubmit();
  });
  boxes().filter((box) => box.checked).forEach(pick);
  show();
}
