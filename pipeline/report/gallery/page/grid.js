"use strict";
// The grid: only visible rows are in the page, so that the number of samples does not matter.
const grid = (() => {
  const GAP = 12;
  const TEXT = 58; // pixels below the pictures, as in gallery.css
  const SPARE = 2; // rows rendered ahead on either side
  const host = document.getElementById("grid");
  const tiles = new Map(); // rank -> element
  let order = [];
  let columns = 1;
  let width = 0;
  let height = 0;
  let cursor = 0; // rank of the tile that has the cursor

  const measure = () => {
    const least = host.clientWidth < 520 ? 250 : 264;
    columns = Math.max(1, Math.floor((host.clientWidth + GAP) / (least + GAP)));
    width = (host.clientWidth - GAP * (columns - 1)) / columns;
    const [w, h] = spatialdata.set.about.size;
    height = Math.round(((width - 3) / 2) * (h / w)) + TEXT;
    host.style.height = `${Math.ceil(order.length / columns) * (height + GAP)}px`;
    host.style.setProperty("--pictures", `${height - TEXT}px`);
  };

  const picture = (position, member) => {
    const source = spatialdata.media(position, member);
    return source ? element("img", { loading: "lazy", decoding: "async", alt: member, src: source }) : null;
  };

  const tile = (rank) => {
    const set = spatialdata.set;
    const position = order[rank];
    const state = set.states[set.state[position]];
    const because = set.reasons[set.because[position]];
    const pictures = [picture(position, "source"), picture(position, "target")].filter(Boolean);
    const score = set.scores[filters.wanted.sort]?.[position];
    const node = element("a", { class: `tile ${state}`, href: gallery.link(set.key[position]), tabIndex: rank === cursor ? 0 : -1 },
      element("div", { class: "pictures" }, pictures.length ? pictures : element("span", { class: "empty" }, because || "no pictures yet")),
      element("p", { class: "text" }, set.text[position] || (pictures.length ? because : "")),
      element("p", { class: "meta" },
        element("span", { class: "chip" }, set.kinds[set.kind[position]]),
        state === "accepted" ? null : element("span", { class: `chip ${state}`, title: because }, state === "waiting" ? "not built yet" : because),
        score === undefined ? null : element("span", { class: "score" }, `${words(filters.wanted.sort)} ${number(score)}`),
        element("span", { class: "key mono" }, set.key[position])));
    node.dataset.rank = rank;
    return node;
  };

  const place = (node, rank) => {
    const x = (rank % columns) * (width + GAP);
    const y = Math.floor(rank / columns) * (height + GAP);
    node.style.transform = `translate(${x}px, ${y}px)`;
    node.style.width = `${width}px`;
    node.style.height = `${height}px`;
  };

  const draw = () => {
    const top = -host.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / (height + GAP)) - SPARE) * columns;
    const last = Math.min(order.length, (Math.floor((top + innerHeight) / (height + GAP)) + 1 + SPARE) * columns);
    for (const [rank, node] of tiles) {
      if (rank < first || rank >= last) {
        node.remove();
        tiles.delete(rank);
      }
    }
    const fresh = document.createDocumentFragment();
    for (let rank = first; rank < last; rank++) {
      if (tiles.has(rank)) continue;
      const node = tile(rank);
      place(node, rank);
      tiles.set(rank, node);
      fresh.append(node);
    }
    host.append(fresh);
  };

  const clear = () => {
    host.replaceChildren();
    tiles.clear();
  };

  let waiting = false;
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }, { passive: true });
  new ResizeObserver(() => {
    if (!spatialdata.set || !order.length) return;
    const before = [columns, width];
    measure();
    if (before[0] === columns && before[1] === width) return;
    for (const [rank, node] of tiles) place(node, rank);
    draw();
  }).observe(host);

  const focus = (rank) => {
    cursor = Math.min(Math.max(rank, 0), order.length - 1);
    const y = Math.floor(cursor / columns) * (height + GAP) + host.getBoundingClientRect().top;
    const bar = document.querySelector(".topbar").offsetHeight + 8;
    if (y < bar) scrollBy(0, y - bar);
    else if (y + height > innerHeight) scrollBy(0, y + height - innerHeight + 8);
    draw();
    for (const [other, node] of tiles) node.tabIndex = other === cursor ? 0 : -1;
    tiles.get(cursor)?.focus({ preventScroll: true });
  };

  host.addEventListener("focusin", (event) => {
    const rank = Number(event.target.closest(".tile")?.dataset.rank);
    if (!Number.isNaN(rank)) cursor = rank;
  });

  return {
    show(found) {
      order = found;
      cursor = 0;
      clear();
      measure();
      draw();
    },

    get order() {
      return order;
    },

    move(key) {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[key];
      const inside = host.contains(document.activeElement) && document.activeElement !== host;
      if (order.length) focus(inside ? cursor + (cursor + step < 0 || cursor + step >= order.length ? 0 : step) : cursor);
    },

    focusOn(position) {
      const rank = order.indexOf(position);
      if (rank >= 0) focus(rank);
    },
  };
})();
