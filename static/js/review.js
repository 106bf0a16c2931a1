// The label bar: keys 1 to 5 label the open rollout, m goes to the note, Escape leaves it. Nothing typed is lost.

const bar = () => document.getElementById("label-bar");
const singleKeys = () => localStorage.getItem("keys") !== "off";

/** Send the form as it stands and put the answer in place of the bar; the focus stays on the same control. */
const send = async (form, button) => {
  const old = bar();
  const data = new FormData(form, button);
  old.setAttribute("aria-busy", "true");
  let fresh = null;
  try {
    const answer = await fetch(form.action, { method: "POST", body: data, headers: { "X-Live": "1" } });
    if (!answer.redirected && [200, 422].includes(answer.status)) {
      fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("label-bar");
    }
  } catch {
    // Told below.
  }
  old.removeAttribute("aria-busy");
  if (!fresh) {
    form.querySelector("[data-label-status]").textContent =
      "The label was not saved: the platform did not answer as it should. What you wrote is still here; try again.";
    return;
  }
  // Somebody who went on to another rollout meanwhile sees that one's bar, which is not this one.
  if (!old.isConnected) return;
  const name = button.name, value = button.value, had = old.contains(document.activeElement);
  old.replaceWith(document.adoptNode(fresh));
  if (had) (fresh.querySelector(`button[name="${name}"][value="${CSS.escape(value)}"]`) ?? fresh.querySelector("button"))?.focus();
};

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-label-bar]");
  if (!form || !bar() || !event.submitter) return;
  event.preventDefault();
  if (bar().getAttribute("aria-busy") !== "true") send(form, event.submitter);
});

const writes = (element) =>
  element instanceof HTMLElement && (element.isContentEditable || ["TEXTAREA", "SELECT"].includes(element.tagName) ||
    (element.tagName === "INPUT" && !["checkbox", "radio", "button", "submit"].includes(element.type)));

document.addEventListener("keydown", (event) => {
  const place = bar();
  const active = document.activeElement;
  if (!place || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && active?.id === "label-note") { active.blur(); return; }
  if (!singleKeys() || writes(active)) return;
  const button = place.querySelector(`[data-label-key="${CSS.escape(event.key)}"]`);
  const note = event.key === "m" ? document.getElementById("label-note") : null;
  if (!button && !note) return;
  event.preventDefault();
  button ? button.click() : note.focus();
});
