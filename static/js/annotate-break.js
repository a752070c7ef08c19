// A gentle word about a break after so many minutes of work, for those who asked for one (data-break-minutes). Nothing is sent.
(() => {
  const IDLE_MS = 30_000;
  const REST_MS = 5 * 60_000; // away for this long was a break
  const LATER_SECONDS = 10 * 60;
  const KEY = "whetstone-worked"; // seconds since the last break, when they were last counted, and at how many to speak
  const note = document.querySelector("[data-break-minutes]");
  const limit = Number(note?.dataset.breakMinutes) * 60;
  if (!limit) return;

  let lastSeen = Date.now();
  let [seconds, at, due] = kept();

  function kept() {
    try {
      const [worked, when, then] = (sessionStorage.getItem(KEY) || "").split(" ").map(Number);
      return [worked || 0, when || Date.now(), then || limit];
    } catch {
      return [0, Date.now(), limit];
    }
  }

  function keep() {
    try {
      sessionStorage.setItem(KEY, `${seconds} ${at} ${due}`);
    } catch {
      // Without storage it counts on this page alone.
    }
  }

  function begin() {
    [seconds, at, due] = [0, Date.now(), limit];
    note.hidden = true;
    keep();
  }

  function later() {
    due = seconds + LATER_SECONDS;
    note.hidden = true;
    keep();
  }

  for (const name of ["keydown", "pointermove", "pointerdown", "wheel", "touchmove"]) {
    document.addEventListener(name, () => (lastSeen = Date.now()), { passive: true, capture: true });
  }
  setInterval(() => {
    const now = Date.now();
    if (now - at > REST_MS) begin();
    if (document.visibilityState !== "visible" || now - lastSeen > IDLE_MS) return;
    at = now;
    seconds += 1;
    if (seconds % 5 === 0) keep();
    if (seconds >= due && note.hidden) {
      note.querySelector("[data-break-text]").textContent = `You have worked for ${Math.round(seconds / 60)} minutes.`;
      note.hidden = false;
    }
  }, 1000);
  note.addEventListener("click", (event) => {
    if (event.target.closest("[data-break-done]")) begin();
    else if (event.target.closest("[data-break-later]")) later();
  });
})();
