// The time at work on a task, coarsely: seconds with the page in sight and the person not idle, and seconds with it open.
(() => {
  const IDLE_MS = 30_000;
  const STEP_SECONDS = 5;
  let lastSeen = performance.now();
  let began = performance.now();
  let active = 0;

  const coarse = (seconds) => Math.round(seconds / STEP_SECONDS) * STEP_SECONDS;

  for (const name of ["keydown", "pointermove", "pointerdown", "wheel", "touchmove"]) {
    document.addEventListener(name, () => (lastSeen = performance.now()), { passive: true, capture: true });
  }
  setInterval(() => {
    if (document.visibilityState === "visible" && performance.now() - lastSeen < IDLE_MS) active += 1;
  }, 1000);

  document.addEventListener("annotate:shown", (event) => {
    if (event.detail.isSame) return;
    began = lastSeen = performance.now();
    active = 0;
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-judge], [data-timed]")) return;
    const { elements } = event.target;
    elements.active.value = coarse(active);
    elements.open.value = coarse((performance.now() - began) / 1000);
  }, true);
})();
