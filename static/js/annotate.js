// The annotate screen by keyboard: a key presses the button that prints it (data-key). Also the time at work, coarsely.
// Without this file every button still works.
(() => {
  const READY_MS = 200; // after a new task appears, a key that was still on its way must not judge it unseen
  const IDLE_MS = 30_000;
  const STEP_SECONDS = 5;
  let shownAt = -Infinity;
  let lastSeen = performance.now();
  let seconds = 0;

  const stage = () => document.querySelector("[data-stage]");
  const isTyping = (target) => target.matches?.("textarea, select, [contenteditable], input:not([type=radio], [type=checkbox])");

  function buttonFor(key) {
    // What is open takes the keys first: in the list of skip reasons 1 is a reason, not an answer.
    const open = stage()?.querySelector("details[data-scope][open]");
    for (const scope of [open, stage()]) {
      const found = scope && [...scope.querySelectorAll("[data-key]")].find((button) => button.dataset.key.split(" ").includes(key));
      if (found) return found;
    }
    return null;
  }

  function close() {
    const open = stage()?.querySelector("details.aside[open]");
    if (!open) return;
    open.open = false;
    open.querySelector("summary").focus();
  }

  function onKey(event) {
    lastSeen = performance.now();
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return close();
    if (isTyping(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && event.target.closest("a, button, summary")) return;
    const button = buttonFor(key);
    if (!button || button.disabled) return;
    event.preventDefault();
    if (button.form?.method === "post" && button.type === "submit" && performance.now() - shownAt < READY_MS) return;
    button.click();
    if (button.matches("summary")) button.parentElement.querySelector("textarea, .aside-panel button")?.focus();
  }

  function begin() {
    shownAt = lastSeen = performance.now();
    seconds = 0;
  }

  document.addEventListener("keydown", onKey);
  for (const name of ["pointermove", "pointerdown", "wheel", "touchmove"]) {
    document.addEventListener(name, () => (lastSeen = performance.now()), { passive: true });
  }
  setInterval(() => {
    if (document.visibilityState === "visible" && performance.now() - lastSeen < IDLE_MS) seconds += 1;
  }, 1000);

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-judge]")) return;
    form.elements.active.value = Math.round(seconds / STEP_SECONDS) * STEP_SECONDS;
    event.submitter?.setAttribute("aria-pressed", "true");
  }, true);

  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.matches("[data-stage]")) begin();
  });
  // It did not arrive: the choice may be made again, and what was typed is still there.
  document.addEventListener("htmx:sendError", () => {
    for (const button of document.querySelectorAll("[data-judge] [aria-pressed]")) button.removeAttribute("aria-pressed");
  });
})();
