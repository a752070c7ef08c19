// Short messages in the corner: from HX-Trigger {"toast": {"message", "tone"}}, and where the server cannot be reached.
(() => {
  const SECONDS = 8;

  function show(message, tone) {
    const box = document.getElementById("toasts");
    if (!box) return;
    const toast = document.createElement("div");
    toast.className = `toast is-${["good", "warn", "bad", "info"].includes(tone) ? tone : "info"}`;
    const text = document.createElement("p");
    text.textContent = message;
    const close = document.createElement("button");
    close.type = "button";
    close.dataset.dismiss = "";
    close.setAttribute("aria-label", "Dismiss");
    close.textContent = "×";
    toast.append(text, close);
    box.append(toast);
    later(toast);
  }

  // What says that something is wrong stays until it is dismissed.
  function later(toast) {
    if (toast.matches(".is-bad, .is-error")) return;
    setTimeout(() => (toast.matches(":hover, :focus-within") ? later(toast) : toast.remove()), SECONDS * 1000);
  }

  document.addEventListener("click", (event) => event.target.closest("[data-dismiss]")?.parentElement.remove());
  document.addEventListener("toast", (event) => show(event.detail.message ?? event.detail.value, event.detail.tone));
  document.addEventListener("htmx:sendError", () => {
    if (!document.querySelector("#toasts .is-unreachable")) {
      show("The server cannot be reached. What you see may be old.", "bad");
      document.getElementById("toasts").lastElementChild.classList.add("is-unreachable");
    }
  });
  document.addEventListener("htmx:afterOnLoad", () => document.querySelector("#toasts .is-unreachable")?.remove());
  document.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status > 500) show(`The server answered ${event.detail.xhr.status}. Try again in a moment.`, "bad");
  });
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("#toasts .toast").forEach(later));
})();
