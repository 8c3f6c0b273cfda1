"use strict";
// Source and target over each other: a slider between them, flicker, maps and overlays on both.
const stage = (() => {
  const FLICKER = 450; // ms
  const MODES = ["slider", "source", "target"];
  const SIDES = ["source", "target"];
  const SVG = "http://www.w3.org/2000/svg";
  let now = null; // the current content: see `show`
  let timer = 0;

  const image = (className, source, alt) => element("img", { class: className, src: source, alt, decoding: "async", draggable: false });

  // Members with a map of each side, or "" if there is none: a map of only one view is shown only on that side.
  const members = (map, has) => {
    if (map === "changed") return { source: "changed", target: "changed" };
    if (map === "instances") return { source: "source_instances", target: "target_instances" };
    return { source: has(`source_${map}`) ? `source_${map}` : "", target: has(map) ? map : "" };
  };

  const side = (name) => {
    const pictured = now.media(name);
    const node = element("div", { class: `side ${name}` },
      pictured ? image("picture", pictured, name) : element("span", { class: "empty" }, `no ${name} image`),
      element("img", { class: "map", hidden: true, alt: "", draggable: false }),
      element("img", { class: "cover", hidden: true, alt: "", draggable: false }),
      element("div", { class: "masks" }));
    const boxes = document.createElementNS(SVG, "svg");
    boxes.setAttribute("class", "boxes");
    boxes.setAttribute("preserveAspectRatio", "none");
    node.append(boxes, element("span", { class: "label" }, name));
    return node;
  };

  // Black over pixels without metric depth, if a map of confidence exists. Returns whether one does.
  const cover = (one, member) => {
    const certain = member.replace("metric", "confidence");
    const source = certain !== member && now.media(certain);
    if (!source || !now.infos[certain]) return false;
    const host = now.root.querySelector(`.side.${one} .cover`);
    host.hidden = now.infos[certain].min > 0; // every pixel has depth
    host.src = source;
    host.style.filter = maps.cover();
    return true;
  };

  const sized = (width, height) => {
    now.root.style.setProperty("--ratio", String(width / height));
    for (const boxes of now.root.querySelectorAll(".boxes")) boxes.setAttribute("viewBox", `0 0 ${width} ${height}`);
  };

  const slide = (value) => now.root.style.setProperty("--at", `${value}%`);

  const mode = (name) => {
    now.root.dataset.mode = name;
    now.onmode();
  };

  const halt = () => {
    clearInterval(timer);
    timer = 0;
  };

  // Boxes and masks of some objects on both sides.
  const outline = (objects, boxed, masked) => {
    for (const name of SIDES) {
      const host = now.root.querySelector(`.side.${name}`);
      const boxes = host.querySelector(".boxes");
      boxes.replaceChildren();
      for (const thing of objects) {
        const [x0, y0, x1, y1] = thing[`${name}_box`];
        if (!boxed.has(thing.id) || x1 <= x0) continue;
        const box = document.createElementNS(SVG, "rect");
        for (const [key, value] of Object.entries({ x: x0, y: y0, width: x1 - x0, height: y1 - y0 })) box.setAttribute(key, value);
        box.style.stroke = maps.color(thing.id);
        boxes.append(box);
      }
      const masks = host.querySelector(".masks");
      masks.replaceChildren();
      const source = now.media(`${name}_instances`);
      for (const id of source ? masked : []) {
        const mask = image("mask", source, "");
        mask.style.filter = maps.mask(id);
        masks.append(mask);
      }
    }
  };

  return {
    // Fill `root`. `media(member)`: path of a member; `infos`: how to read its pixels; `start`: initial position of the
    // border in percent; `onmode`: called when another view is chosen.
    show(root, media, infos, start, onmode) {
      halt();
      now = { root, media, infos, onmode };
      root.replaceChildren(...SIDES.map(side));
      const slider = element("input", { type: "range", class: "slider", min: 0, max: 100, step: 0.1, value: start, ariaLabel: "Border between source and target" });
      slider.addEventListener("input", () => slide(slider.value));
      slider.addEventListener("pointerup", () => slider.blur()); // the arrows stay with the samples
      root.append(element("div", { class: "border" }), slider);
      slide(start);
      const [width, height] = spatialdata.set.about.size;
      sized(width, height);
      const first = root.querySelector(".picture");
      first?.addEventListener("load", () => sized(first.naturalWidth, first.naturalHeight));
      mode("slider");
    },

    map(name) {
      for (const one of SIDES) {
        const host = now.root.querySelector(`.side.${one} .map`);
        host.nextSibling.hidden = true;
        const member = name ? members(name, (wanted) => Boolean(now.media(wanted)))[one] : "";
        const source = member && now.media(member);
        host.hidden = !source;
        if (!source) continue;
        host.classList.toggle("hard", maps.isHard(member));
        const known = cover(one, member);
        host.style.filter = member === "changed" ? maps.changed() : maps.filter(member, now.infos[member], known);
        host.src = source;
        host.alt = words(member);
      }
    },

    outline,
    members,

    flicker() {
      if (timer) {
        halt();
        mode("slider");
        return;
      }
      mode("source");
      timer = setInterval(() => mode(now.root.dataset.mode === "source" ? "target" : "source"), FLICKER);
      now.onmode();
    },

    next() {
      halt();
      mode(MODES[(MODES.indexOf(now.root.dataset.mode) + 1) % MODES.length]);
    },

    halt,

    get flickers() {
      return timer !== 0;
    },
  };
})();
