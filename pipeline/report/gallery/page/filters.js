"use strict";
// Selection and order of the samples. One pass over the columns finds them, and the counts of each facet.
const FACETS = [
  { name: "state", column: "state", values: "states", title: "State" },
  { name: "reason", column: "because", values: "reasons", title: "Reason" },
  { name: "edit", column: "kind", values: "kinds", title: "Edit" },
  { name: "split", column: "split", values: "splits", title: "Split" },
  { name: "category", column: "category", values: "categories", title: "Category of the edited object" },
  { name: "scene", column: "scene", values: "scenes", title: "Scene" },
  { name: "support", column: "support", values: "supports", title: "Edited object stands on" },
];
const LABELS = { accepted: "accepted", rejected: "rejected", waiting: "not built yet" };

const filters = (() => {
  const empty = () => ({ q: "", chosen: {}, ranges: {}, sort: "", down: false });
  let wanted = empty();

  // Order of all samples by a score or by key; samples without the score come last.
  const ordered = (found) => {
    const set = spatialdata.set;
    const sign = wanted.down ? -1 : 1;
    if (wanted.sort === "key") return found.sort((a, b) => sign * (set.key[a] < set.key[b] ? -1 : 1));
    const values = set.scores[wanted.sort];
    if (!values) return wanted.down ? found.reverse() : found;
    return found.sort((a, b) => {
      const x = values[a];
      const y = values[b];
      if (x === y || (x !== x && y !== y)) return a - b;
      if (x !== x) return 1;
      if (y !== y) return -1;
      return sign * (x - y);
    });
  };

  return {
    get wanted() {
      return wanted;
    },

    clear() {
      wanted = { ...empty(), sort: wanted.sort, down: wanted.down };
    },

    get active() {
      return Boolean(wanted.q || Object.keys(wanted.chosen).length || Object.keys(wanted.ranges).length);
    },

    toggle(facet, value) {
      const selected = wanted.chosen[facet] ?? new Set();
      if (!selected.delete(value)) selected.add(value);
      if (selected.size) wanted.chosen[facet] = selected;
      else delete wanted.chosen[facet];
    },

    // Positions in order, and for each facet the count of each value among the samples that pass the other facets.
    apply() {
      const set = spatialdata.set;
      const facets = FACETS.map(({ name, column, values }) => ({
        name,
        column: set[column],
        chosen: wanted.chosen[name] && set[values].map((value) => wanted.chosen[name].has(value)),
        counts: new Int32Array(set[values].length),
      }));
      const parts = wanted.q.toLowerCase().split(/\s+/).filter(Boolean);
      const ranges = Object.entries(wanted.ranges).filter(([name]) => set.scores[name]);
      const found = [];
      sample: for (let index = 0; index < set.length; index++) {
        for (const [name, [low, high]] of ranges) {
          const value = set.scores[name][index];
          if (!(value >= low && value <= high)) continue sample;
        }
        let missed = null;
        for (const facet of facets) {
          if (facet.chosen && !facet.chosen[facet.column[index]]) {
            if (missed) continue sample;
            missed = facet;
          }
        }
        if (parts.length) {
          const text = spatialdata.text(index);
          if (!parts.every((part) => text.includes(part))) continue;
        }
        if (missed) {
          missed.counts[missed.column[index]]++;
        } else {
          found.push(index);
          for (const facet of facets) facet.counts[facet.column[index]]++;
        }
      }
      return { found: ordered(found), counts: Object.fromEntries(facets.map(({ name, counts }) => [name, counts])) };
    },

    // The fragment of a permalink.
    write() {
      const hash = new URLSearchParams();
      if (wanted.q) hash.set("q", wanted.q);
      for (const { name } of FACETS) if (wanted.chosen[name]) hash.set(name, [...wanted.chosen[name]].sort().join("|"));
      for (const [name, [low, high]] of Object.entries(wanted.ranges)) hash.set(`score.${name}`, `${low}..${high}`);
      if (wanted.sort || wanted.down) hash.set("sort", (wanted.down ? "-" : "") + wanted.sort);
      return hash;
    },

    read(hash) {
      wanted = empty();
      wanted.q = hash.get("q") ?? "";
      for (const { name, values } of FACETS) {
        const known = (hash.get(name) ?? "").split("|").filter((value) => spatialdata.set[values].includes(value));
        if (hash.has(name) && known.length) wanted.chosen[name] = new Set(known);
      }
      for (const [key, text] of hash) {
        const name = key.startsWith("score.") ? key.slice(6) : "";
        const [low, high] = text.split("..").map(Number);
        if (Object.hasOwn(spatialdata.set.scores, name) && low <= high) wanted.ranges[name] = [low, high];
      }
      const sort = hash.get("sort") ?? "";
      wanted.down = sort.startsWith("-");
      wanted.sort = sort.replace(/^-/, "");
      if (wanted.sort !== "key" && !Object.hasOwn(spatialdata.set.scores, wanted.sort)) wanted.sort = "";
    },
  };
})();
