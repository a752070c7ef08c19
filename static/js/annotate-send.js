// Sends a judgement and shows the next task at once: it was fetched while this one was read (data-ahead). Where the network is
// away the judgement is kept on this device and sent when it is back; the server takes the same one any number of times.
// Without this file the form posts by itself.
(() => {
  const OUTBOX = "whetstone:outbox";
  const AHEAD_MS = 700;
  const RETRY_MS = 8_000;
  let ahead = null; // {html, url}: the next task, not shown yet
  let aheadTimer;
  let isTrying = false;

  const stage = () => document.querySelector("[data-stage]");
  const token = () => document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
  const headers = () => ({ "HX-Request": "true", "X-CSRFToken": token(), Accept: "text/html" });

  function show(html, url) {
    ahead = null;
    clearTimeout(aheadTimer);
    // For a moment old and new stand side by side, and of panels with one name only one may be open.
    for (const panel of stage().querySelectorAll("details[name]")) panel.removeAttribute("name");
    htmx.swap("#stage", html, { swapStyle: htmx.config.defaultSwapStyle, swapDelay: 0, settleDelay: 0 }, { eventInfo: { target: stage(), elt: stage() } });
    if (url) history.replaceState(history.state, "", url);
    scrollTo({ top: 0, behavior: "instant" });
  }

  function say(text, isKept = false) {
    const box = document.getElementById("sending");
    if (!box) return;
    box.hidden = !text;
    box.querySelector("p").textContent = text;
    box.classList.toggle("is-kept", isKept);
  }

  // ---- what could not be sent ----

  const kept = () => {
    try {
      return JSON.parse(localStorage.getItem(OUTBOX) ?? "[]");
    } catch {
      return [];
    }
  };
  function keep(list) {
    try {
      if (list.length) localStorage.setItem(OUTBOX, JSON.stringify(list));
      else localStorage.removeItem(OUTBOX);
    } catch {
      // private mode or full: what is on the page is all there is
    }
  }

  function tell() {
    const n = kept().length;
    if (!n) return say("");
    const what = n === 1 ? "A judgement is kept on this device" : `${n} judgements are kept on this device`;
    say(`No network. ${what} and sent by itself when it is back.`, true);
  }

  async function retry() {
    if (isTrying || !kept().length) return;
    isTrying = true;
    try {
      for (const entry of kept()) {
        const body = new URLSearchParams(entry.body);
        body.set("csrfmiddlewaretoken", token());
        let response;
        try {
          response = await post(entry.url, body);
        } catch {
          return; // still away
        }
        keep(kept().filter((each) => each.url !== entry.url));
        if (response.status !== 404) await arrived(entry.url, response, { isLate: true });
      }
    } finally {
      isTrying = false;
      tell();
    }
  }

  // ---- sending ----

  async function post(url, body) {
    const response = await fetch(url, { method: "POST", headers: headers(), body, credentials: "same-origin" });
    if (response.status >= 500 || response.status === 429) throw new Error(`${response.status}`); // nothing was stored
    return response;
  }

  async function arrived(url, response, { isLate = false, shownUrl = "" } = {}) {
    if (response.redirected || response.status === 403) return location.reload(); // signed out meanwhile; a draft stands
    const html = await response.text();
    const next = response.headers.get("HX-Replace-Url");
    if (response.ok) document.dispatchEvent(new CustomEvent("annotate:sent", { detail: { url } }));
    const isHere = document.querySelector("[data-judge]")?.getAttribute("action") === new URL(url, location.href).pathname;
    if (response.ok && !isHere && (isLate || (next && next === shownUrl))) {
      document.getElementById("said")?.replaceChildren("Saved.");
      return;
    }
    const elsewhere = response.headers.get("HX-Redirect"); // the conversation that a judged turn belongs to
    if (elsewhere) return isLate && !isHere ? document.getElementById("said")?.replaceChildren("Saved.") : location.assign(elsewhere);
    show(html, response.ok ? next : "");
  }

  async function send(form, url, body, isWhole) {
    form.dataset.sending = "";
    document.documentElement.dataset.sending = "";
    const shownUrl = isWhole && ahead ? ahead.url : "";
    if (shownUrl) show(ahead.html, ahead.url);
    try {
      const response = await post(url, body);
      await arrived(url, response, { shownUrl });
      if (!isWhole) document.dispatchEvent(new CustomEvent("annotate:ranked")); // what was begun is a draft, too
    } catch {
      if (isWhole) keep([...kept().filter((each) => each.url !== url), { url, body: body.toString(), at: Date.now() }]);
      delete form.dataset.sending;
      tell();
    } finally {
      delete document.documentElement.dataset.sending;
    }
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!form.matches("[data-judge]") || event.defaultPrevented) return;
    event.preventDefault();
    if ("sending" in form.dataset) return; // a double click
    const { submitter } = event;
    const isWhole = submitter?.name !== "begin";
    if (submitter?.name === "choice") submitter.setAttribute("aria-pressed", "true");
    const body = new URLSearchParams(new FormData(form, submitter));
    send(form, form.getAttribute("action"), body, isWhole);
  });

  // ---- the next task ----

  async function fetchAhead() {
    const form = document.querySelector("[data-judge][data-ahead]");
    if (!form || ahead || document.visibilityState !== "visible") return;
    const from = form.dataset.ahead;
    try {
      const response = await fetch(from, { method: "POST", headers: headers(), credentials: "same-origin" });
      const url = response.headers.get("HX-Replace-Url");
      if (response.status !== 200 || !url) return;
      const html = await response.text();
      if (document.querySelector("[data-judge]")?.dataset.ahead === from) ahead = { html, url };
    } catch {
      // no network: the next task comes with the answer to this one
    }
  }

  // What was fetched and never shown goes back at once.
  addEventListener("pagehide", () => {
    const form = document.querySelector("[data-judge][data-ahead]");
    if (!ahead || !form) return;
    ahead = null;
    navigator.sendBeacon(form.dataset.leave, new URLSearchParams({ csrfmiddlewaretoken: token() }));
  });
  const later = () => {
    clearTimeout(aheadTimer);
    aheadTimer = setTimeout(fetchAhead, AHEAD_MS);
  };
  document.addEventListener("annotate:shown", () => {
    ahead = null;
    later();
    tell();
  });
  addEventListener("pageshow", (event) => event.persisted && later());
  addEventListener("online", retry);
  setInterval(retry, RETRY_MS);
  document.addEventListener("DOMContentLoaded", retry);
})();
