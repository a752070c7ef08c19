// The annotate screen by keyboard: a key presses the control that prints it (data-key). Numbers belong to the question that is
// marked; once it is answered the next one is. Without this file every control still works.
// Tells the other annotate-*.js by the event "annotate:shown" that a task stands on the stage (detail.isSame: the one before, again).
(() => {
  const READY_MS = 200; // after a new task appears, a key that was still on its way must not judge it unseen
  let shownAt = -Infinity;
  let readyTimer;
  let shownTask = "";
  let marked = null;
  let from = null; // where the focus was when a key opened a panel

  const stage = () => document.querySelector("[data-stage]");
  const isTyping = (target) => target.matches?.("textarea, select, [contenteditable], input:not([type=radio], [type=checkbox])");
  const isSeen = (element) => element.checkVisibility?.() ?? true;
  const has = (control, key) => control.dataset.key.split(" ").includes(key);

  // ---- the question that numbers answer ----

  const questions = () => [...(stage()?.querySelectorAll("[data-question]") ?? [])].filter(isSeen);
  const isOpen = (question) => {
    if (!("required" in question.dataset)) return false;
    const selects = [...question.querySelectorAll("select")];
    return selects.length ? selects.some((select) => !select.value) : !question.querySelector(":checked");
  };

  function current() {
    if (marked?.isConnected && isSeen(marked)) return marked;
    const all = questions();
    return all.find(isOpen) ?? all.find((question) => question.dataset.question === "choice") ?? all[0] ?? null;
  }

  function mark(question, { tell = false } = {}) {
    marked = question;
    const now = current();
    const all = questions();
    for (const each of all) each.toggleAttribute("data-marked", all.length > 1 && each === now);
    if (!tell || !now) return;
    now.scrollIntoView({ block: "nearest" });
    const said = document.getElementById("said");
    if (said) said.textContent = now.querySelector("legend")?.textContent.trim() ?? "";
  }

  function answered(question) {
    const all = questions();
    const later = all.slice(all.indexOf(question) + 1);
    const next = later.find(isOpen) ?? all.find(isOpen) ?? question;
    mark(next, { tell: next !== question });
  }

  function step(by) {
    const all = questions();
    const at = all.indexOf(current());
    if (all.length) mark(all[(at + by + all.length) % all.length], { tell: true });
  }

  // ---- keys ----

  function controlFor(key) {
    const root = stage();
    if (!root) return null;
    // What is open takes the keys first: in the list of skip reasons 1 is a reason, not an answer.
    const scope = [...root.querySelectorAll("[data-scope]")].find((each) => (each.matches("details") ? each.open : isSeen(each)));
    const find = (within, where = () => true) =>
      within && [...within.querySelectorAll("[data-key]")].find((control) => has(control, key) && isSeen(control) && where(control));
    const now = current();
    const isFree = (control) => !/^[0-9]$/.test(key) || !control.closest("[data-question]");
    return find(scope) ?? find(now) ?? find(root, isFree) ?? null;
  }

  function press(control) {
    if (control.matches("textarea")) return control.focus();
    const question = control.closest("[data-question]");
    if (control.type === "radio" && control.checked && question && !("required" in question.dataset)) {
      control.checked = false; // the same key again takes an optional answer back
      control.dispatchEvent(new Event("change", { bubbles: true }));
      return;
    }
    if (control.matches("summary")) from = document.activeElement;
    control.click();
    if (control.matches("summary")) control.parentElement.querySelector("textarea, .aside-panel button, .aside-panel input")?.focus();
  }

  function close() {
    const open = stage()?.querySelector("details.aside[open]");
    if (open) {
      open.open = false;
      // Opened by its key, it gives the focus back to where it was: Enter sends, and does not open it again.
      if (from?.isConnected && from !== document.body) from.focus();
      else if (from) document.activeElement.blur();
      else open.querySelector("summary").focus();
      from = null;
      return;
    }
    if (isTyping(document.activeElement)) document.activeElement.blur();
  }

  function onKey(event) {
    if (event.defaultPrevented || event.altKey || event.repeat || event.isComposing) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") return close();
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "Enter") sendFrom(event);
      return;
    }
    if (isTyping(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "Enter" && event.target.closest("a, button, summary")) return;
    const control = controlFor(key);
    if (!control || control.disabled) {
      if (key === "Enter" && event.target.closest("#judge")) event.preventDefault(); // no sending by accident
      return;
    }
    event.preventDefault();
    if (performance.now() - shownAt >= READY_MS || control.matches("a, summary, textarea")) press(control);
  }

  // Ctrl and Enter send what is being written, the panel's own text before the judgement.
  function sendFrom(event) {
    const button = event.target.closest(".aside-panel")?.querySelector("[data-ctrl-enter]") ?? stage()?.querySelector("[data-key~=Enter]");
    if (!button || button.disabled) return;
    event.preventDefault();
    button.click();
  }

  // The old task goes: between the swap and its settling, too, no key may judge the new one unseen.
  function hold() {
    shownAt = performance.now();
    clearTimeout(readyTimer); // the one before was about to say that keys count
    stage().removeAttribute("data-ready");
  }

  function shown() {
    const task = document.querySelector("[data-judge]")?.getAttribute("action") ?? "";
    const isSame = task !== "" && task === shownTask; // what was missing is told, or a text was begun: it has been read
    shownTask = task;
    if (isSame) shownAt = -Infinity;
    else hold();
    clearTimeout(readyTimer);
    readyTimer = setTimeout(() => stage()?.setAttribute("data-ready", ""), isSame ? 0 : READY_MS);
    mark(null);
    document.dispatchEvent(new CustomEvent("annotate:shown", { detail: { isSame } }));
  }

  document.addEventListener("keydown", onKey);
  // The second click of a double click must not judge the task that has just come under the pointer.
  document.addEventListener("click", (event) => {
    const isPointer = event.detail > 0 && event.target.closest("[data-stage] [data-send]");
    if (!isPointer || (event.detail === 1 && performance.now() - shownAt >= READY_MS)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  document.addEventListener("change", (event) => {
    const question = event.target.closest?.("[data-question]");
    if (!question) return;
    if (event.target.type === "radio") answered(question);
    else mark(question);
  });
  document.addEventListener("focusin", (event) => {
    const question = event.target.closest?.("[data-question]");
    if (question) mark(question);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-step]");
    if (button) step(Number(button.dataset.step));
  });
  document.addEventListener("annotate:restored", () => mark(null));
  document.addEventListener("DOMContentLoaded", () => stage() && shown());
  document.addEventListener("htmx:beforeSwap", (event) => event.detail.target?.matches("[data-stage]") && hold());
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target?.matches("[data-stage]")) shown();
  });
})();
