/* The recipe editor: marks fields with errors after live updates, warns before typed changes are left behind. */

const form = document.querySelector("[data-recipe-form]");

function markErrors() {
  for (const slot of form.querySelectorAll(".error-slot")) {
    const field = document.getElementById(slot.id.replace(/-error$/, ""));
    if (!field || !field.matches("input, select, textarea")) continue;
    if (slot.querySelector(".error")) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  }
}

/** Marks a place that a link of the summary names, also inside a closed fold. */
function openTarget(event) {
  const link = event.target.closest('a[href^="#f-"]');
  const target = link && document.getElementById(link.hash.slice(1));
  if (!target) return;
  const fold = target.closest("details");
  if (fold) fold.open = true;
  if (target.matches("input, select, textarea")) {
    event.preventDefault();
    target.scrollIntoView({ block: "center" });
    target.focus();
  }
}

if (form) {
  let dirty = false;
  form.addEventListener("input", () => { dirty = true; });
  form.addEventListener("submit", () => { dirty = false; });
  addEventListener("beforeunload", (event) => { if (dirty) event.preventDefault(); });
  document.body.addEventListener("htmx:afterSettle", markErrors);
  document.addEventListener("click", openTarget);
}
