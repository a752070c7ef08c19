// Marks the words that two answers do not share. Words are compared where they stand; nothing of the text is changed.
(() => {
  const MOST_WORDS = 6000;
  const MOST_EDITS = 2500;

  // Every word of an element with its place: [{text, node, start, end}].
  function wordsOf(root) {
    const words = [];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT, {
      acceptNode: (node) => (node.parentElement.closest("button, .katex") ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT),
    });
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      for (const match of node.data.matchAll(/[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu)) {
        words.push({ text: match[0], node, start: match.index, end: match.index + match[0].length });
      }
    }
    return words;
  }

  // Myers' O(ND): which words of a and of b belong to no longest common subsequence. Null where they differ too much.
  function differing(a, b) {
    const most = Math.min(a.length + b.length, MOST_EDITS);
    const trace = [];
    let ends = new Map([[1, 0]]);
    for (let d = 0; d <= most; d += 1) {
      trace.push(new Map(ends));
      for (let k = -d; k <= d; k += 2) {
        const down = k === -d || (k !== d && (ends.get(k - 1) ?? -1) < (ends.get(k + 1) ?? -1));
        let x = down ? (ends.get(k + 1) ?? 0) : (ends.get(k - 1) ?? 0) + 1;
        while (x < a.length && x - k < b.length && a[x].text === b[x - k].text) x += 1;
        ends.set(k, x);
        if (x >= a.length && x - k >= b.length) return backtrack(trace, a, b, d);
      }
    }
    return null;
  }

  function backtrack(trace, a, b, d) {
    const onlyA = new Set();
    const onlyB = new Set();
    let x = a.length;
    let y = b.length;
    for (; d > 0; d -= 1) {
      const ends = trace[d];
      const k = x - y;
      const down = k === -d || (k !== d && (ends.get(k - 1) ?? -1) < (ends.get(k + 1) ?? -1));
      const before = down ? k + 1 : k - 1;
      const fromX = ends.get(before) ?? 0;
      const fromY = fromX - before;
      if (down) onlyB.add(fromY);
      else onlyA.add(fromX);
      x = fromX;
      y = fromY;
    }
    return [onlyA, onlyB];
  }

  function highlight(words, indices) {
    for (const index of [...indices].sort((one, other) => other - one)) {
      const word = words[index];
      if (!word) continue;
      const range = document.createRange();
      range.setStart(word.node, word.start);
      range.setEnd(word.node, word.end);
      const mark = document.createElement("mark");
      mark.className = "differs";
      range.surroundContents(mark);
    }
  }

  function clear() {
    for (const mark of document.querySelectorAll("mark.differs")) {
      const parent = mark.parentNode;
      mark.replaceWith(...mark.childNodes);
      parent.normalize();
    }
  }

  function draw(button) {
    clear();
    if (button.getAttribute("aria-pressed") !== "true") return;
    const [one, other] = document.querySelectorAll("[data-stage] [data-answer]");
    const [a, b] = [wordsOf(one), wordsOf(other)];
    const found = a.length + b.length <= MOST_WORDS * 2 ? differing(a, b) : null;
    if (!found) {
      document.getElementById("said").textContent = "These answers differ too much to mark their words.";
      return;
    }
    highlight(a, found[0]);
    highlight(b, found[1]);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-diff]");
    if (!button) return;
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    draw(button);
  });
  document.addEventListener("annotate:shown", () => {
    const button = document.querySelector("[data-diff][aria-pressed=true]");
    if (button) draw(button);
  });
})();
