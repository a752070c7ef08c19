// What the reader is at survives the page drawing itself anew.
(() => {
  // A disclosure (details[id][data-keep]) stays as the reader left it.
  const kept = new Map();
  const all = () => document.querySelectorAll("details[id][data-keep]");

  // A refresh by the clock waits while a question is open or a field is written in: it would take the form away.
  const isBusy = (target) =>
    document.querySelector("dialog[open]") ||
    document.activeElement?.matches("input, textarea, select") && target.contains(document.activeElement);

  document.addEventListener("htmx:beforeSwap", (event) => {
    const { requestConfig, target } = event.detail;
    const isByClock = requestConfig.verb === "get" && !requestConfig.triggeringEvent;
    if (isByClock && isBusy(target)) {
      event.detail.shouldSwap = false;
      return;
    }
    for (const details of all()) kept.set(details.id, details.open);
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const details of all()) if (kept.has(details.id)) details.open = kept.get(details.id);
  });
})();
