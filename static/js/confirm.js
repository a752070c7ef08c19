// A form or button with data-confirm="Sentence?" asks before it is sent; data-confirm-yes="Word" names the button.
(() => {
  const asked = new WeakSet();

  function ask(element, go) {
    const dialog = document.getElementById("confirm");
    dialog.querySelector("#confirm-question").textContent = element.dataset.confirm;
    dialog.querySelector("button[data-confirm-yes]").textContent = element.dataset.confirmYes || "Go ahead";
    dialog.returnValue = "";
    dialog.addEventListener("close", () => dialog.returnValue === "yes" && go(), { once: true });
    dialog.showModal();
  }

  document.addEventListener("submit", (event) => {
    const form = event.target;
    const source = event.submitter?.dataset.confirm ? event.submitter : form;
    if (!source.dataset.confirm || form.hasAttribute("hx-post") || asked.delete(form)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const submitter = event.submitter;
    ask(source, () => {
      asked.add(form);
      form.requestSubmit(submitter);
    });
  }, true);

  document.addEventListener("htmx:confirm", (event) => {
    const element = event.detail.elt;
    const submitter = event.detail.triggeringEvent?.submitter;
    const source = submitter?.dataset.confirm ? submitter : element;
    if (!source.dataset.confirm) return;
    event.preventDefault();
    ask(source, () => event.detail.issueRequest(true));
  });
})();
