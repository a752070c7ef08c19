// A task is kept for a person while they are at work on it: their activity renews it. A notice stands only in its last two minutes.
(() => {
  const NOTICE_SECONDS = 120;
  const ACTIVE_MS = 60_000;
  const TICK_MS = 5_000;
  let lastSeen = performance.now();
  let ends = Infinity;
  let whole = 0;
  let isAsking = false;

  const form = () => document.querySelector("[data-judge][data-renew]");
  const left = () => (ends - performance.now()) / 1000;

  async function renew() {
    const of = form();
    if (!of || isAsking) return;
    isAsking = true;
    try {
      const response = await fetch(of.dataset.renew, {
        method: "POST", credentials: "same-origin",
        headers: { "HX-Request": "true", Accept: "application/json", "X-CSRFToken": of.elements.csrfmiddlewaretoken.value },
      });
      if (response.ok) ends = performance.now() + Number((await response.json()).seconds) * 1000;
      else if (response.status === 409) ends = performance.now();
    } catch {
      // no network: what is left runs on
    } finally {
      isAsking = false;
      draw();
    }
  }

  function draw() {
    const box = document.getElementById("lease-notice");
    if (!box) return;
    const seconds = Math.ceil(left());
    const wasHidden = box.hidden;
    box.hidden = seconds > NOTICE_SECONDS;
    if (box.hidden) return;
    const time = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    const text = box.querySelector("[data-lease-text]");
    const isOver = seconds <= 0;
    // Said once when it appears and once when it is over, not every second.
    if (wasHidden || isOver) {
      const words = isOver
        ? "This task is no longer kept for you. Send it all the same: it counts if its place is still free."
        : "This task goes back soon, since nothing has happened here for a while.";
      if (text.textContent !== words) text.textContent = words;
    }
    box.querySelector("[data-lease-time]").textContent = isOver ? "" : time;
    box.querySelector("[data-lease-keep]").hidden = isOver;
  }

  for (const name of ["keydown", "pointermove", "pointerdown", "wheel", "touchmove", "scroll"]) {
    document.addEventListener(name, () => (lastSeen = performance.now()), { passive: true, capture: true });
  }
  document.addEventListener("click", (event) => event.target.closest("[data-lease-keep]") && renew());
  document.addEventListener("annotate:shown", () => {
    const of = form();
    whole = Number(of?.dataset.leaseWhole ?? 0);
    ends = of ? performance.now() + Number(of.dataset.lease) * 1000 : Infinity;
    if (of && Number(of.dataset.lease) < whole / 2) renew();
  });
  setInterval(() => {
    if (!form()) return;
    const isActive = document.visibilityState === "visible" && performance.now() - lastSeen < ACTIVE_MS;
    if (isActive && left() > 0 && left() < Math.max(whole * 0.75, NOTICE_SECONDS)) renew();
    draw();
  }, TICK_MS);
  setInterval(() => left() < NOTICE_SECONDS + 1 && form() && draw(), 1000);
})();
