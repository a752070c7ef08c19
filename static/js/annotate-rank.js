// A ranking as cards: type the letters in order, tap, drag, move by arrows, or place each answer by comparing it with others.
// The numbered selects under it stay the form's fields; without this file they are what a person fills in.
(() => {
  const WORDS = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th"];
  let board = null; // {root, letters, hasTies, groups: [["B"], ["A", "C"]], isTie, asking}

  const select = (letter) => board.root.querySelector(`select[name="rank-${letter}"]`);
  const placed = () => board.groups.flat();
  const rest = () => board.letters.filter((letter) => !placed().includes(letter));

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const key = (text) => make("kbd", {}, text);

  // ---- the order ----

  function read() {
    const byRank = new Map();
    for (const letter of board.letters) {
      const rank = Number(select(letter).value);
      if (rank) byRank.set(rank, [...(byRank.get(rank) ?? []), letter]);
    }
    board.groups = [...byRank.keys()].sort((a, b) => a - b).map((rank) => byRank.get(rank));
  }

  function write(said) {
    board.groups = board.groups.filter((group) => group.length);
    for (const letter of board.letters) {
      const at = board.groups.findIndex((group) => group.includes(letter));
      select(letter).value = at < 0 ? "" : String(at + 1);
    }
    board.root.querySelector("[data-rank-said]").textContent = said;
    draw();
    document.dispatchEvent(new CustomEvent("annotate:ranked"));
  }

  function take(letter) {
    for (const group of board.groups) {
      const at = group.indexOf(letter);
      if (at >= 0) group.splice(at, 1);
    }
    board.groups = board.groups.filter((group) => group.length);
  }

  function add(letter) {
    const isTie = board.isTie && board.groups.length > 0;
    board.isTie = false;
    if (isTie) board.groups.at(-1).push(letter);
    else board.groups.push([letter]);
    write(isTie ? `${letter} as good as the one before` : `${letter} is ${WORDS[board.groups.length - 1]}`);
  }

  function back() {
    const last = board.groups.at(-1)?.at(-1);
    if (!last) return;
    take(last);
    board.asking = null;
    write(`${last} taken off`);
  }

  // One step towards the best or the worst: out of a tie first, then into or past the neighbour.
  function move(letter, by) {
    const at = board.groups.findIndex((group) => group.includes(letter));
    const isAlone = board.groups[at].length === 1;
    if (isAlone && !board.groups[at + by]) return;
    if (!isAlone) {
      take(letter);
      board.groups.splice(by < 0 ? at : at + 1, 0, [letter]);
    } else if (board.hasTies) {
      const neighbour = board.groups[at + by];
      take(letter);
      neighbour.push(letter);
    } else {
      take(letter);
      board.groups.splice(at + by, 0, [letter]);
    }
    const now = board.groups.findIndex((group) => group.includes(letter));
    write(`${letter} is ${WORDS[now]}${board.groups[now].length > 1 ? ", shared" : ""}`);
    board.root.querySelector(`[data-rank-move="${letter}"][data-by="${by}"]`)?.focus();
  }

  // ---- placing by comparing: a binary search, asked in words ----

  function compare() {
    const letter = rest()[0];
    if (!letter) return;
    if (!board.groups.length) {
      add(letter);
      return compare();
    }
    board.asking = { letter, low: 0, high: board.groups.length };
    draw();
  }

  function answer(what) {
    const { letter, low, high } = board.asking;
    const middle = (low + high) >> 1;
    if (what === "tie") {
      board.groups[middle].push(letter);
    } else {
      if (what === "better") board.asking.high = middle;
      else board.asking.low = middle + 1;
      if (board.asking.low < board.asking.high) return draw();
      board.groups.splice(board.asking.low, 0, [letter]);
    }
    board.asking = null;
    const now = board.groups.findIndex((group) => group.includes(letter));
    write(`${letter} is ${WORDS[now]}`);
    compare();
  }

  // ---- drawing ----

  function card(letter, at) {
    const moves = [[-1, "‹", "better"], [1, "›", "worse"]].map(([by, sign, word]) =>
      make("button", { type: "button", class: "rank-step", "data-rank-move": letter, "data-by": by, "aria-label": `${letter}: ${word}` }, sign));
    const name = make("button", { type: "button", class: "rank-letter", "data-rank-off": letter, "aria-label": `${letter}, ${WORDS[at]}: take off` }, letter);
    return make("span", { class: "rank-card", "data-rank-card": letter }, moves[0], name, moves[1]);
  }

  function draw() {
    const { root } = board;
    const order = root.querySelector("[data-rank-order]");
    order.replaceChildren(...board.groups.map((group, at) =>
      make("li", { class: "rank-place", "data-rank-place": at }, make("span", { class: "small muted" }, WORDS[at]), ...group.map((letter) => card(letter, at)))));
    if (!board.groups.length) order.append(make("li", { class: "rank-hint small muted" }, "Type, tap or drag the letters, the best first."));
    const buttons = rest().map((letter) =>
      make("button", { type: "button", class: "rank-free", "data-rank-add": letter, "data-rank-card": letter, "data-key": letter.toLowerCase(), "aria-keyshortcuts": letter.toLowerCase() }, letter));
    if (board.hasTies && buttons.length && board.groups.length) {
      buttons.push(make("button", { type: "button", class: "rank-free", "data-rank-tie": "", "data-key": "=", "aria-keyshortcuts": "=", "aria-pressed": String(board.isTie) }, key("="), " as good as"));
    }
    root.querySelector("[data-rank-rest]").replaceChildren(...buttons);
    root.querySelector("[data-rank-compare]").hidden = !rest().length || Boolean(board.asking);
    root.querySelector("[data-rank-back]").hidden = !board.groups.length;
    drawQuestion(root.querySelector("[data-rank-question]"));
    for (const article of document.querySelectorAll("[data-stage] .answer")) {
      const letter = article.querySelector(".answer-letter").textContent;
      const at = board.groups.findIndex((group) => group.includes(letter));
      article.querySelector(".answer-place")?.remove();
      if (at >= 0) article.querySelector(".answer-head").append(make("span", { class: "badge answer-place" }, WORDS[at]));
    }
  }

  function drawQuestion(box) {
    box.hidden = !board.asking;
    box.toggleAttribute("data-scope", !box.hidden);
    if (box.hidden) return box.replaceChildren();
    const { letter, low, high } = board.asking;
    const other = board.groups[(low + high) >> 1][0];
    const choices = [["better", `${letter} is better`, "1"], ["worse", `${other} is better`, "2"]];
    if (board.hasTies) choices.push(["tie", "As good", "3"]);
    box.replaceChildren(
      make("p", {}, `Is ${letter} better than ${other}?`),
      ...choices.map(([what, words, digit]) => make("button", { type: "button", class: "choice", "data-rank-answer": what, "data-key": digit, "aria-keyshortcuts": digit }, key(digit), ` ${words}`)),
      make("button", { type: "button", class: "button is-small is-quiet", "data-rank-stop": "" }, "Stop"),
    );
    board.root.querySelector("[data-rank-said]").textContent = `Is ${letter} better than ${other}?`;
  }

  // ---- dragging, by mouse and by touch ----

  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const on = event.target.closest?.("[data-rank-card]");
    if (!board || !on || event.button || event.target.closest("[data-rank-move]")) return;
    drag = { letter: on.dataset.rankCard, card: on, x: event.clientX, y: event.clientY, isMoving: false };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (!drag.isMoving && Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < 6) return;
    drag.isMoving = true;
    drag.card.classList.add("is-dragged");
    target(event)?.mark();
    event.preventDefault();
  });
  function target({ clientX, clientY }) {
    for (const old of board.root.querySelectorAll("[data-drop]")) delete old.dataset.drop;
    const order = board.root.querySelector("[data-rank-order]");
    const box = order.getBoundingClientRect();
    if (clientY < box.top - 40 || clientY > box.bottom + 40) return null;
    const places = [...order.querySelectorAll("[data-rank-place]")];
    for (const place of places) {
      const { left, right, top, bottom } = place.getBoundingClientRect();
      if (clientY > bottom || clientX > right) continue;
      if (clientY < top && places.length > 1) continue;
      const at = Number(place.dataset.rankPlace);
      const share = (clientX - left) / Math.max(1, right - left);
      const where = board.hasTies && share > 0.3 && share < 0.7 ? "on" : share < 0.5 ? "before" : "after";
      return { at, where, mark: () => (place.dataset.drop = where) };
    }
    return { at: places.length - 1, where: "after", mark: () => places.at(-1) && (places.at(-1).dataset.drop = "after") };
  }
  function drop(event) {
    if (!drag) return;
    const { letter, card: on, isMoving } = drag;
    drag = null;
    on.classList.remove("is-dragged");
    if (!isMoving) return;
    const to = target(event);
    for (const old of board.root.querySelectorAll("[data-drop]")) delete old.dataset.drop;
    document.addEventListener("click", (click) => click.stopImmediatePropagation(), { capture: true, once: true });
    setTimeout(() => document.dispatchEvent(new Event("click")), 0); // where no click follows, the guard goes
    if (!to || event.type === "pointercancel") return;
    const goal = board.groups[to.at];
    const index = board.groups.indexOf(goal);
    if (goal?.length === 1 && goal[0] === letter) return;
    const fresh = board.groups.map((group) => group.filter((each) => each !== letter));
    if (to.where === "on" && goal) fresh[index].push(letter);
    else fresh.splice(index + (to.where === "after" ? 1 : 0), 0, [letter]);
    board.groups = fresh;
    board.asking = null;
    write(`${letter} moved`);
  }
  document.addEventListener("pointerup", drop);
  document.addEventListener("pointercancel", drop);

  // ---- buttons ----

  document.addEventListener("click", (event) => {
    const on = event.target.closest?.("[data-rank-board] button");
    if (!board || !on) return;
    const data = on.dataset;
    if (data.rankAdd) add(data.rankAdd);
    else if (data.rankOff) {
      take(data.rankOff);
      write(`${data.rankOff} taken off`);
    } else if (data.rankMove) move(data.rankMove, Number(data.by));
    else if ("rankTie" in data) {
      board.isTie = !board.isTie;
      draw();
    } else if ("rankBack" in data) back();
    else if ("rankCompare" in data) compare();
    else if (data.rankAnswer) answer(data.rankAnswer);
    else if ("rankStop" in data) {
      board.asking = null;
      draw();
    }
  });
  document.addEventListener("change", (event) => {
    if (!board || !event.target.matches("[data-rank-fields] select")) return;
    read();
    draw();
  });

  function shown() {
    const root = document.querySelector("[data-rank]");
    board = root && { root, letters: [...root.dataset.rank], hasTies: "ties" in root.dataset, groups: [], isTie: false, asking: null };
    if (!board) return;
    root.querySelector("[data-rank-board]").hidden = false;
    root.querySelector("[data-rank-fields]").classList.add("visually-hidden");
    read();
    draw();
  }
  document.addEventListener("annotate:shown", shown);
  document.addEventListener("annotate:restored", shown);
})();
