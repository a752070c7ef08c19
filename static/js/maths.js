// Typesets <span class="math" data-tex="…"> with KaTeX, which is fetched only where a page has maths.
(() => {
  const { mathsLibrary: library, mathsStyle: style } = document.currentScript.dataset;
  let loading;

  function load() {
    loading ??= new Promise((resolve, reject) => {
      const sheet = Object.assign(document.createElement("link"), { rel: "stylesheet", href: style });
      const script = Object.assign(document.createElement("script"), { src: library, onload: resolve, onerror: reject });
      document.head.append(sheet, script);
    });
    return loading;
  }

  async function typeset(root) {
    const nodes = root.querySelectorAll(".math[data-tex]:not(.is-set)");
    if (!nodes.length) return;
    try {
      await load();
    } catch {
      return; // the source stays readable
    }
    for (const node of nodes) {
      const source = node.textContent;
      try {
        // Untrusted: no \href, \url or \htmlClass; expansion and size are bounded.
        katex.render(node.dataset.tex, node, {
          displayMode: node.classList.contains("is-display"),
          throwOnError: true, trust: false, strict: "ignore", maxExpand: 200, maxSize: 20, output: "htmlAndMathml",
        });
        node.classList.add("is-set");
      } catch {
        node.textContent = source;
      }
    }
  }

  document.addEventListener("DOMContentLoaded", () => typeset(document));
  document.addEventListener("htmx:afterSettle", (event) => typeset(event.detail.elt.parentElement ?? document));
})();
