// Ctrl or Cmd with Enter runs the tool from any field; the answer's region then takes the focus back to where it was.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  const form = event.target instanceof Element ? event.target.closest("[data-playground]") : null;
  const button = form?.querySelector("button[type=submit]");
  if (!button || button.disabled) return;
  event.preventDefault();
  form.requestSubmit(button);
});
