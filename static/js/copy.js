// Buttons with data-copy put that text on the clipboard and say so.

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const before = button.getAttribute("aria-label");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    say(button, "Copied");
  } catch {
    say(button, "The browser refused; select the text and copy it");
  }
  setTimeout(() => before === null ? button.removeAttribute("aria-label") : say(button, before), 2000);
});

function say(button, words) {
  button.setAttribute("aria-label", words);
  button.title = words;
}
