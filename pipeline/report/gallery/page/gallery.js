"use strict";
// The page: filters, order, permalinks and keys around the grid and the card.
const gallery = (() => {
  const BINS = 28;
  const FEW = 10; // values of a facet that are shown at first
  const by = (id) => document.getElementById(id);
  const spans = new Map(); // score -> least, greatest, histogram
  const rows = new Map(); // facet -> its rows
  let opened = ""; // key of the sample whose card is open
  let remembering = 0;
  let applied = null; // the filters of the grid, as in a permalink

  const span = (name) => {
    if (!spans.has(name)) {
      const values = spatialdata.set.scores[name];
      let low = Infinity;
      let high = -Infinity;
      for (const value of values) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
      const bins = new Array(BINS).fill(0);
      for (const value of values) {
        if (value === value) bins[Math.min(BINS - 1, Math.floor((BINS * (value - low)) / Math.max(high - low, 1e-9)))]++;
      }
      spans.set(name, { low, high, bins });
    }
    return spans.get(name);
  };

  // ---- permalinks

  const hash = (key) => {
    const written = filters.write();
    if (key) written.set("open", key);
    return `#${written}`;
  };

  const remember = () => {
    clearTimeout(remembering);
    history.replaceState(null, "", hash(opened));
  };

  // The same for frequent changes: browsers limit the rate of changes of the URL.
  const rememberSoon = () => {
    clearTimeout(remembering);
    remembering = setTimeout(remember, 250);
  };

  const follow = () => {
    const wanted = new URLSearchParams(location.hash.slice(1));
    const key = wanted.get("open") ?? "";
    wanted.delete("open");
    if (String(wanted) !== applied) {
      filters.read(wanted);
      controls();
      apply();
    }
    const position = key ? spatialdata.position(key) : -1;
    opened = position < 0 ? "" : key;
    if (position >= 0) card.open(position);
    else card.close();
    if (key && position < 0) by("nothing").textContent = `No sample ${key} is in this gallery.`;
    by("nothing").hidden = !(key && position < 0) && grid.order.length > 0;
  };

  // ---- filters

  const apply = () => {
    const began = performance.now();
    const { found, counts } = filters.apply();
    grid.show(found);
    const total = spatialdata.set.length;
    by("count").textContent = found.length === total ? `${total.toLocaleString("en")} samples` : `${found.length.toLocaleString("en")} of ${total.toLocaleString("en")} samples`;
    by("clear").hidden = !filters.active;
    by("nothing").hidden = found.length > 0;
    by("nothing").textContent = total ? "No sample matches." : "There are no samples yet.";
    for (const { name } of FACETS) {
      for (const row of rows.get(name) ?? []) {
        const count = counts[name][row.dataset.index];
        row.lastChild.textContent = count.toLocaleString("en");
        row.classList.toggle("none", count === 0);
        row.setAttribute("aria-pressed", String(filters.wanted.chosen[name]?.has(row.dataset.value) ?? false));
      }
    }
    applied = String(filters.write());
    performance.measure("filter", { start: began, end: performance.now() });
  };

  const changed = (keep = remember) => {
    apply();
    keep();
    scrollTo(0, 0);
  };

  const facet = (one) => {
    const { name, values, title } = one;
    const totals = filters.totals(one);
    const known = spatialdata.set[values].map((value, index) => ({ value, index })).filter(({ value, index }) => value && totals[index]);
    if (!["state", "split"].includes(name)) known.sort((a, b) => totals[b.index] - totals[a.index]);
    if (known.length < (name === "reason" ? 1 : 2)) return null;
    const items = known.map(({ value, index }) => {
      const row = element("button", { class: "value", ariaPressed: "false" },
        element("span", { class: "name", title: value }, LABELS[value] ?? value), element("span", { class: "number" }));
      row.dataset.value = value;
      row.dataset.index = index;
      row.addEventListener("click", () => {
        filters.toggle(name, value);
        changed();
      });
      return row;
    });
    rows.set(name, items);
    const host = element("div", { class: "values" }, items.slice(0, FEW));
    const rest = items.length > FEW ? element("button", { class: "link" }, `all ${items.length}`) : null;
    rest?.addEventListener("click", () => {
      host.append(...items.slice(FEW));
      rest.remove();
    });
    return element("section", { class: "facet" }, element("h2", {}, title), host, rest);
  };

  const score = (name) => {
    const { low, high, bins } = span(name);
    if (!(high > low)) return null;
    const most = Math.max(...bins);
    const bars = element("div", { class: "bars" }, bins.map((count) => {
      const bar = element("i");
      bar.style.height = `${count ? Math.max(6, (100 * count) / most) : 0}%`;
      return bar;
    }));
    const interval = element("span", { class: "number" });
    const ends = ["low", "high"].map((end) => element("input", { type: "range", min: 0, max: 1000, step: 1, class: end, ariaLabel: `${words(name)}, ${end} end` }));
    const at = (value) => low + ((high - low) * value) / 1000;
    const show = () => {
      const [from, to] = filters.wanted.ranges[name] ?? [low, high];
      const share = (value) => (value - low) / (high - low);
      ends[0].value = Math.round(1000 * share(from));
      ends[1].value = Math.round(1000 * share(to));
      interval.textContent = `${number(from)} – ${number(to)}`;
      [...bars.children].forEach((bar, index) => bar.classList.toggle("out", (index + 0.999) / BINS < share(from) || index / BINS > share(to)));
    };
    let pending = 0;
    for (const end of ends) {
      end.addEventListener("input", () => {
        const [from, to] = ends.map((one) => Number(one.value)).sort((a, b) => a - b);
        if (from === 0 && to === 1000) delete filters.wanted.ranges[name];
        else filters.wanted.ranges[name] = [from === 0 ? low : +at(from).toPrecision(5), to === 1000 ? high : +at(to).toPrecision(5)];
        show();
        cancelAnimationFrame(pending);
        pending = requestAnimationFrame(() => changed(rememberSoon));
      });
    }
    const node = element("div", { class: "score-range" }, element("div", { class: "title" }, element("span", {}, words(name)), interval), bars, ...ends);
    node.refresh = show;
    return node;
  };

  const panel = () => {
    const measured = Object.keys(spatialdata.set.scores).map(score).filter(Boolean);
    by("panel").replaceChildren(...FACETS.map(facet).filter(Boolean),
      ...(measured.length ? [element("section", { class: "facet" }, element("h2", {}, "Scores"), ...measured)] : []));
  };

  // Set the controls to the current filters.
  const controls = () => {
    const { wanted } = filters;
    by("search").value = wanted.q;
    by("sort").value = wanted.sort;
    by("direction").textContent = wanted.down ? "↓" : "↑";
    by("direction").title = wanted.down ? "descending" : "ascending";
    for (const node of by("panel").querySelectorAll(".score-range")) node.refresh();
  };

  // ---- start

  const start = () => {
    const { scores } = spatialdata.set;
    by("sort").append(...[["", "in order"], ["key", "by key"], ...Object.keys(scores).map((name) => [name, words(name)])].map(([value, text]) => element("option", { value }, text)));
    panel();
    by("search").addEventListener("input", () => {
      filters.wanted.q = by("search").value;
      changed(rememberSoon);
    });
    by("sort").addEventListener("change", () => {
      filters.wanted.sort = by("sort").value;
      changed();
    });
    by("direction").addEventListener("click", () => {
      filters.wanted.down = !filters.wanted.down;
      controls();
      changed();
    });
    by("clear").addEventListener("click", () => {
      filters.clear();
      controls();
      changed();
    });
    by("show-filters").addEventListener("click", () => {
      const open = document.body.classList.toggle("with-panel");
      by("show-filters").setAttribute("aria-expanded", String(open));
    });
    by("show-help").addEventListener("click", () => by("help").showModal());
    by("help").addEventListener("click", (event) => event.target === by("help") && by("help").close());
    addEventListener("hashchange", follow);
    follow();
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !spatialdata.set || by("help").open) return;
    const field = event.target.closest?.("input, select, textarea");
    if (field) {
      if (event.key === "Escape" && !card.isOpen) {
        field.blur();
        event.preventDefault();
      }
      return;
    }
    if (event.key === "?") by("help").showModal();
    else if (card.isOpen) {
      if (card.key(event.key)) event.preventDefault();
    } else if (event.key === "/") {
      by("search").focus();
      by("search").select();
      event.preventDefault();
    } else if (event.key.startsWith("Arrow")) {
      grid.move(event.key);
      event.preventDefault();
    }
  });

  pages.start(start);

  return {
    span,

    link: (key) => hash(key),

    open(position) {
      opened = spatialdata.set.key[position];
      rememberSoon();
      card.open(position);
    },

    closed(position) {
      opened = "";
      remember();
      grid.focusOn(position);
    },
  };
})();
