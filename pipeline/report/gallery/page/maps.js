"use strict";
// Colors for maps without reading pixels, which a page from `file://` may not do: SVG filters look every value up in a
// table. They get 8-bit values, that is the high byte of a 16-bit map.
const maps = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const defined = new Set();

  const node = (tag, attributes, ...children) => {
    const created = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) created.setAttribute(name, value);
    created.append(...children);
    return created;
  };

  const define = (id, ...primitives) => {
    document.getElementById(id)?.remove();
    const place = { x: 0, y: 0, width: 1, height: 1, "color-interpolation-filters": "sRGB" };
    document.getElementById("filters").append(node("filter", { id, ...place }, ...primitives));
    defined.add(id);
    return `url(#${id})`;
  };

  const fixed = (id, primitives) => (defined.has(id) ? `url(#${id})` : define(id, ...primitives()));

  // Each channel through a table with 256 entries: [r, g, b] of each value, 0 to 255.
  const lookUp = (colors) => node("feComponentTransfer", {}, ...["R", "G", "B"].map((name, channel) =>
    node(`feFunc${name}`, {
      type: "discrete",
      tableValues: Array.from({ length: 256 }, (_, value) => +(colors(value)[channel] / 255).toFixed(3)).join(" "),
    })));

  // The selected values in a flat color, all others transparent.
  const only = (wanted, [r, g, b], opacity) => [
    node("feComponentTransfer", {}, node("feFuncR", {
      type: "discrete",
      tableValues: Array.from({ length: 256 }, (_, value) => (wanted(value) ? 1 : 0)).join(" "),
    })),
    node("feColorMatrix", {
      type: "matrix",
      values: `0 0 0 0 ${r / 255} 0 0 0 0 ${g / 255} 0 0 0 0 ${b / 255} ${opacity} 0 0 0 0`,
    }),
  ];

  const table = (text) => text.match(/.{6}/g).map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  let turbo = null;
  let palette = null;
  const colors = () => {
    turbo ??= table(spatialdata.set.about.turbo);
    palette ??= table(spatialdata.set.about.palette);
    return { turbo, palette };
  };

  const NOTHING = [0, 0, 0];

  // Inverse depth unchanged: near is red. 0 is infinitely far if its range starts at 0.
  const relative = (info) => (value) => (value || info?.min > 0 ? colors().turbo[value] : NOTHING);

  // Meters: near is red, as in relative depth; colors are linear in inverse depth over the range of the map.
  // The high byte is 0 for the nearest depths and for pixels without depth; `known`: the latter are covered.
  const metric = (info, known) => {
    const near = 1 / Math.max(info.min, 1e-6);
    const far = 1 / Math.max(info.max, 1e-6);
    return (value) => {
      if (value === 0 && !known) return NOTHING;
      const meters = info.offset + info.scale * (value * 256 + 128);
      const share = (1 / Math.max(meters, 1e-6) - far) / Math.max(near - far, 1e-9);
      return colors().turbo[Math.round(255 * Math.min(1, Math.max(0, share)))];
    };
  };

  return {
    // The color of a label.
    color(id) {
      return `rgb(${colors().palette[id % 256].join(" ")})`;
    },

    gradient() {
      return `linear-gradient(90deg, ${[0, 36, 73, 109, 146, 182, 219, 255].map((at) =>
        `rgb(${colors().turbo[at].join(" ")})`).join(", ")})`;
    },

    // The CSS filter that shows a member; `info`: how to read its pixels; `known`: a cover is drawn over it.
    filter(member, info, known = false) {
      const name = member.replace(/^(source|target)_/, "");
      if (name === "instances" || name === "segment") {
        return fixed("as-labels", () => [lookUp((value) => colors().palette[value])]);
      }
      if (name === "depth") return define(`as-${member}`, lookUp(relative(info)));
      if (name === "metric" && info) return define(`as-${member}${known ? "-known" : ""}`, lookUp(metric(info, known)));
      return "none";
    },

    mask(id, opacity = 0.55) {
      return fixed(`only-${id}`, () => only((value) => value === id, colors().palette[id % 256], opacity));
    },

    // The changed region, over the picture.
    changed() {
      return fixed("only-changed", () => only((value) => value > 127, [255, 45, 120], 0.5));
    },

    // Black where a map is 0, else transparent.
    cover() {
      return fixed("only-zero", () => only((value) => value === 0, NOTHING, 1));
    },

    // Members that must not be interpolated, because a value between two labels, or between none and far, is wrong.
    isHard: (member) => /(instances|segment|changed|depth|metric)$/.test(member),
  };
})();
