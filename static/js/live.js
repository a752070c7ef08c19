// A live conversation: Ctrl+Enter sends; what is typed survives a reload and a lost network; the tab says when answers are there.
// Without this file the button still sends.
(() => {
  const PREFIX = "live:";
  const plainTitle = document.title;
  const page = () => document.querySelector("[data-live]");
  const field = () => document.querySelector("[data-compose] textarea");

  function remembered(key, value) {
    try {
      if (value === undefined) return localStorage.getItem(PREFIX + key);
      if (value) localStorage.setItem(PREFIX + key, value);
      else localStorage.removeItem(PREFIX + key);
    } catch {
      // a browser that keeps nothing: the field itself is all there is
    }
    return null;
  }

  function begin() {
    const here = page();
    const text = field();
    if (here && text && !text.value) text.value = remembered(here.dataset.live) || "";
    if (here && here.dataset.state === "wait") remembered(here.dataset.live, ""); // it is stored
    const judged = !here && document.querySelector("#stage .answers");
    document.title = judged && document.hidden ? "Both answers are there" : plainTitle;
  }

  document.addEventListener("DOMContentLoaded", begin);
  document.addEventListener("htmx:afterSettle", begin);
  document.addEventListener("visibilitychange", () => document.hidden || (document.title = plainTitle));
  document.addEventListener("input", (event) => {
    if (event.target === field() && page()) remembered(page().dataset.live, event.target.value);
  });
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.target !== field()) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });
})();
