// Reading: settings of the display take effect at once, answers scroll together, code can be copied, what is blurred is revealed.
(() => {
  const task = () => document.querySelector("[data-task]");

  function copyButtons() {
    for (const block of document.querySelectorAll("[data-stage] .highlight:not(:has(.code-copy))")) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "code-copy button is-small", textContent: "Copy" });
      block.append(button);
    }
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest(".code-copy");
    if (!button) return;
    const code = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });

  // ---- equal scroll ----

  let leader = null;
  let release;
  document.addEventListener("scroll", (event) => {
    const body = event.target;
    if (!body.matches?.(".answer-body") || !task()?.hasAttribute("data-equal-scroll") || (leader && leader !== body)) return;
    leader = body;
    clearTimeout(release);
    release = setTimeout(() => (leader = null), 120);
    const share = body.scrollTop / Math.max(1, body.scrollHeight - body.clientHeight);
    for (const other of task().querySelectorAll(".answer-body")) {
      if (other !== body) other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    }
  }, { capture: true, passive: true });

  // ---- display ----

  document.addEventListener("change", (event) => {
    const form = event.target.closest("[data-look]");
    const on = task();
    if (!form) return;
    const { name, value, checked } = event.target;
    if (on && name === "font_size") on.dataset.font = value;
    if (on && name === "text_width") on.dataset.width = value;
    if (on && name === "layout") on.dataset.layout = value;
    if (on && name === "equal_scroll") on.toggleAttribute("data-equal-scroll", checked);
    const body = new URLSearchParams(new FormData(form));
    fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true", "X-CSRFToken": body.get("csrfmiddlewaretoken") } });
  });

  // ---- what is blurred is out of reach of a screen reader, too, until it is revealed ----

  function veil() {
    const on = task();
    if (!on) return;
    const isHidden = on.hasAttribute("data-sensitive") && !on.querySelector("[data-reveal]")?.checked;
    for (const part of on.querySelectorAll(".is-veiled")) part.inert = isHidden;
  }
  document.addEventListener("change", (event) => event.target.matches("[data-reveal]") && veil());

  document.addEventListener("annotate:shown", () => {
    copyButtons();
    veil();
  });
})();
