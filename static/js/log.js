// A log (.log[data-tail]) shows its end, unless the reader has scrolled up; it stays there over swaps.
(() => {
  const places = new Map();
  const atEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 24;
  const settle = () => {
    for (const log of document.querySelectorAll(".log[data-tail]")) {
      const place = places.get(log.id);
      log.scrollTop = place === undefined ? log.scrollHeight : place;
    }
  };
  document.addEventListener("htmx:beforeSwap", () => {
    for (const log of document.querySelectorAll(".log[data-tail][id]")) {
      if (atEnd(log)) places.delete(log.id);
      else places.set(log.id, log.scrollTop);
    }
  });
  document.addEventListener("htmx:afterSettle", settle);
  document.addEventListener("DOMContentLoaded", settle);
})();
