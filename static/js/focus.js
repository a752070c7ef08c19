// What asks for attention (data-focus: an error summary, a problem) takes the focus when it appears.
(() => {
  const take = (root) => {
    const target = root.matches?.("[data-focus]") ? root : root.querySelector("[data-focus]");
    target?.focus();
  };
  document.addEventListener("DOMContentLoaded", () => take(document));
  document.addEventListener("htmx:afterSettle", (event) => take(event.detail.elt));
  // The problem of an earlier attempt goes away with the next one.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.requestConfig.verb !== "get") document.getElementById("problem")?.replaceChildren();
  });
})();
