// What is entered survives a reload, a crash and a lost network: kept on this device at once, on the server soon after.
// Gone from both when it is sent.
(() => {
  const PREFIX = "whetstone:draft:";
  const SAVE_MS = 1500;
  const KEEP_MS = 14 * 24 * 3600 * 1000;
  const SKIPPED = new Set(["csrfmiddlewaretoken", "active", "open"]);
  let timer;
  let isDirty = false;

  const form = () => document.querySelector("[data-judge][data-draft]");
  const nameOf = (task) => PREFIX + task.dataset.draft.split("/").at(-3);

  function fields(of) {
    const given = {};
    for (const [name, value] of new FormData(of)) if (!SKIPPED.has(name)) (given[name] ??= []).push(value);
    return given;
  }

  function store(of, number) {
    try {
      localStorage.setItem(nameOf(of), JSON.stringify({ number, at: Date.now(), fields: fields(of) }));
    } catch {
      // private mode or full: the server's draft remains
    }
  }

  function state(text) {
    const box = document.querySelector("[data-draft-state]");
    if (box) box.textContent = text;
  }

  function restore(of) {
    let local = null;
    try {
      local = JSON.parse(localStorage.getItem(nameOf(of)));
    } catch {
      return;
    }
    if (!local || local.number <= Number(of.dataset.draftNumber)) return;
    for (const control of of.elements) {
      if (!control.name || SKIPPED.has(control.name) || control.type === "submit" || control.form !== of) continue;
      const values = local.fields[control.name] ?? [];
      if (control.type === "radio" || control.type === "checkbox") control.checked = values.includes(control.value);
      else control.value = values[0] ?? "";
    }
    of.dataset.draftNumber = local.number;
    state("Brought back from this device.");
    document.dispatchEvent(new CustomEvent("annotate:restored"));
  }

  async function save() {
    clearTimeout(timer);
    const of = form();
    if (!of || !isDirty) return;
    isDirty = false;
    const body = new URLSearchParams(new FormData(of));
    body.set("number", of.dataset.draftNumber);
    try {
      const response = await fetch(of.dataset.draft, {
        method: "POST", body, keepalive: body.toString().length < 60_000, credentials: "same-origin",
        headers: { "HX-Request": "true", "X-CSRFToken": body.get("csrfmiddlewaretoken") },
      });
      state(response.ok ? "Draft saved." : "Draft kept on this device.");
    } catch {
      isDirty = true;
      state("Draft kept on this device.");
    }
  }

  function changed(event) {
    const of = form();
    if (!of || (event && event.target.form !== of) || "sending" in of.dataset) return;
    of.dataset.draftNumber = Date.now();
    isDirty = true;
    store(of, Number(of.dataset.draftNumber));
    clearTimeout(timer);
    timer = setTimeout(save, SAVE_MS);
  }

  document.addEventListener("input", changed);
  document.addEventListener("change", changed);
  document.addEventListener("annotate:ranked", () => changed());
  document.addEventListener("annotate:shown", () => {
    isDirty = false;
    clearTimeout(timer);
    const of = form();
    if (of) restore(of);
  });
  document.addEventListener("annotate:sent", (event) => {
    const key = event.detail.url.split("/").filter(Boolean).at(-1);
    localStorage.removeItem(PREFIX + key);
  });
  document.addEventListener("submit", () => clearTimeout(timer), true);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && save());
  addEventListener("online", () => isDirty && save());

  document.addEventListener("DOMContentLoaded", () => {
    for (const name of Object.keys(localStorage).filter((each) => each.startsWith(PREFIX))) {
      try {
        if (Date.now() - JSON.parse(localStorage.getItem(name)).at > KEEP_MS) localStorage.removeItem(name);
      } catch {
        localStorage.removeItem(name);
      }
    }
  });
})();
