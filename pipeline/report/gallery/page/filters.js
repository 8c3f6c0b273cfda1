"use strict";
// Selection and order of the samples. One pass over the columns finds them, and the counts of each facet.
// The column of a facet holds a position in `values`, or, with `several`, one bit for each of them.
const FACETS = [
  { name: "state", column: "state", values: "states", title: "State" },
  { name: "reason", column: "because", values: "reasons", title: "Reason" },
  { name: "edit", column: "kind", values: "kinds", title: "Edit" },
  { name: "split", column: "split", values: "splits", title: "Split" },
  { name: "category", column: "category", values: "categories", title: "Category of the edited object" },
  { name: "scene", column: "scene", values: "scenes", title: "Scene" },
  { name: "support", column: "support", values: "supports", title: "Edited object stands on" },
  { name: "relation", column: "relation", values: "relations", title: "Relation in the instruction", several: true },
  { name: "family", column: "family", values: "families", title: "Family" },
];

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

  const add = (counts, value, several) => {
    if (!several) counts[value]++;
    else for (let bit = 0; bit < counts.length; bit++) counts[bit] += (value >> bit) & 1;
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

    // How often each value of a facet occurs, over all samples.
    totals({ column, values, several }) {
      const counts = new Int32Array(spatialdata.set[values].length);
      for (const value of spatialdata.set[column]) add(counts, value, several);
      return counts;
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
      const facets = FACETS.map(({ name, column, values, several }) => {
        const chosen = wanted.chosen[name] && set[values].map((value) => wanted.chosen[name].has(value));
        return {
          name,
          several,
          column: set[column],
          chosen,
          bits: several && chosen?.reduce((bits, wants, bit) => bits | (wants << bit), 0),
          counts: new Int32Array(set[values].length),
        };
      });
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
          const value = facet.column[index];
          if (facet.chosen && !(facet.several ? facet.bits & value : facet.chosen[value])) {
            if (missed) continue sample;
            missed = facet;
          }
        }
        if (parts.length) {
          const text = spatialdata.text(index);
          if (!parts.every((part) => text.includes(part))) continue;
        }
        if (missed) {
          add(missed.counts, missed.column[index], missed.several);
        } else {
          found.push(index);
          for (const { counts, column, several } of facets) add(counts, column[index], several);
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
