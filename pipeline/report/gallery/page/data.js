"use strict";
// The facts of the samples: columns for all of them at once, cards in blocks on demand. The scripts
// under data/ call `spatialdata.index` and `spatialdata.cards`.
const spatialdata = (() => {
  const blocks = new Map(); // block -> its cards
  const asked = new Map(); // block -> promise of its cards
  let positions = null; // key -> position
  let hay = null; // searchable text of each sample

  const self = {
    set: null,

    index(set) {
      for (const name of ["kind", "split", "state", "because", "category", "scene", "support", "relation", "media", "family", "from", "to"]) {
        set[name] = Int32Array.from(set[name]);
      }
      for (const [name, values] of Object.entries(set.scores)) {
        set.scores[name] = Float64Array.from(values, (value) => (value === null ? NaN : value));
      }
      set.length = set.key.length;
      self.set = set;
    },

    cards(block, cards) {
      blocks.set(block, cards);
    },

    card(position) {
      const { block: size } = self.set.about;
      const block = Math.floor(position / size);
      if (!asked.has(block)) {
        asked.set(block, new Promise((resolve, reject) => {
          const script = document.createElement("script");
          script.src = `data/${String(block).padStart(5, "0")}.js`;
          script.onload = () => resolve(blocks.get(block));
          script.onerror = () => {
            asked.delete(block);
            reject(new Error(`${script.src} cannot be read: rebuild the gallery`));
          };
          document.head.append(script);
        }));
      }
      return asked.get(block).then((cards) => cards[position % size]);
    },

    position(key) {
      positions ??= new Map(self.set.key.map((name, index) => [name, index]));
      return positions.get(key) ?? -1;
    },

    text(position) {
      const set = self.set;
      hay ??= set.key.map((key, index) =>
        [key, set.text[index], ...set.named[index].map((name) => set.names[name])].join("\n").toLowerCase());
      return hay[position];
    },

    // Path of a member, or "" if the sample has none.
    media(position, member) {
      const set = self.set;
      const field = set.fields.findIndex((name, bit) =>
        set.media[position] & (1 << bit) && name.slice(0, name.indexOf(".")) === member);
      return field < 0 ? "" : self.path(position, set.fields[field]);
    },

    path(position, field) {
      const block = String(Math.floor(position / self.set.about.block)).padStart(5, "0");
      return `media/${block}/${self.set.key[position]}.${field}`;
    },
  };
  return self;
})();

// An element: attributes, then children. Text always becomes a text node, never markup.
const element = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
};

const LABELS = { accepted: "accepted", rejected: "rejected", waiting: "not built yet" };

const words = (name) => name.replaceAll("_", " ");

const number = (value) => {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3);
};
