"use strict";
// One sample: its pictures, maps and facts.
const card = (() => {
  const dialog = document.getElementById("card");
  const MAPS = ["changed", "instances", "depth", "metric", "normal", "segment", "line", "confidence"];
  const TITLES = { depth: "relative depth", metric: "metric depth" };
  let shown = -1; // position
  let known = null; // its facts
  let pinned = ""; // the map that stays visible
  let boxed = new Set();
  let masked = new Set();

  const media = (member) => spatialdata.media(shown, member);

  // ---- pictures

  // Pictures of a user's own layers follow the built-in maps.
  const named = () => [...new Set([...MAPS, ...spatialdata.set.fields
    .map((field) => field.slice(0, field.indexOf(".")).replace(/^(source|target)_/, ""))
    .filter((name) => name !== "source" && name !== "target")])];

  const available = () => named().filter((name) => Object.values(stage.members(name, media)).some((member) => member && media(member)));

  const explained = (name) => {
    const { source, target } = stage.members(name, media);
    const info = known.maps?.[target] ?? known.maps?.[source];
    const legend = dialog.querySelector(".legend");
    legend.replaceChildren();
    if (!name) return;
    legend.append(element("strong", {}, TITLES[name] ?? name));
    if (info?.estimator) legend.append(` ${[info.estimator, info.revision].filter(Boolean).join(" · ")}`);
    if (name === "depth" || name === "metric") {
      const bar = element("span", { class: "gradient" });
      bar.style.backgroundImage = maps.gradient();
      const ends = name === "metric" && info ? [`${number(info.max)} ${info.unit}`, `${number(info.min)} ${info.unit}`] : ["far", "near"];
      legend.append(element("span", { class: "scale" }, ends[0], bar, ends[1]));
    }
    if (name === "segment" && info?.max > 255) legend.append(` ${info.max} segments, shown with 8 bits`);
    if (name === "changed") legend.append(" tinted: where source and target differ");
  };

  const preview = (name) => {
    stage.map(name);
    explained(name);
  };

  const hold = (name) => {
    pinned = pinned === name ? "" : name;
    for (const tile of dialog.querySelectorAll(".map-tile")) tile.setAttribute("aria-pressed", String(tile.dataset.map === pinned));
    preview(pinned);
  };

  const thumb = (member) => {
    const source = member && media(member);
    if (!source) return element("span", { class: "empty" });
    const node = element("img", { src: source, alt: words(member), decoding: "async", class: maps.isHard(member) ? "hard" : "" });
    node.style.filter = maps.filter(member, known.maps?.[member]);
    return node;
  };

  const strip = () => element("div", { class: "strip", role: "group", ariaLabel: "Maps" }, available().map((name, index) => {
    const sides = stage.members(name, media);
    const views = name === "changed" ? ["changed"] : [sides.source, sides.target];
    const tile = element("button", { class: "map-tile", ariaPressed: "false", title: `${TITLES[name] ?? name} (${index + 1})` },
      element("span", { class: "thumbs" }, views.filter((view) => view && media(view)).map(thumb)),
      element("span", { class: "name" }, TITLES[name] ?? name));
    tile.dataset.map = name;
    tile.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && preview(name));
    tile.addEventListener("pointerleave", () => preview(pinned));
    tile.addEventListener("focus", () => tile.matches(":focus-visible") && preview(name));
    tile.addEventListener("blur", () => preview(pinned));
    tile.addEventListener("click", () => hold(name));
    return tile;
  }));

  const edited = () => [known.edit?.object, known.edit?.second_object].filter(Boolean);

  const outline = (hovered = 0) => {
    const objects = known.objects ?? [];
    const with_ = (ids) => (hovered ? new Set([...ids, hovered]) : ids);
    stage.outline(objects, with_(boxed), with_(masked));
    const press = (name, on) => dialog.querySelector(name)?.setAttribute("aria-pressed", String(on));
    press(".boxes-button", objects.length > 0 && objects.every((thing) => boxed.has(thing.id)));
    press(".mask-button", edited().length > 0 && edited().every((id) => masked.has(id)));
    for (const row of dialog.querySelectorAll(".object")) {
      row.setAttribute("aria-pressed", String(boxed.has(+row.dataset.id) && masked.has(+row.dataset.id)));
    }
  };

  // Start of the slider: between the two places of the edited object, if it moves right and is visible in both.
  const border = () => {
    const thing = (known.objects ?? []).find(({ id }) => id === known.edit?.object);
    if (!thing) return 50;
    const [from, to] = [thing.source_box, thing.target_box].map((box) => (box[0] + box[2]) / 2);
    return to > from && from > 0 ? Math.round((50 * (from + to)) / spatialdata.set.about.size[0]) : 50;
  };

  const allBoxes = () => {
    const ids = (known.objects ?? []).map((thing) => thing.id);
    boxed = ids.every((id) => boxed.has(id)) ? new Set() : new Set(ids);
    outline();
  };

  const mask = () => {
    const ids = edited();
    if (!ids.length) return;
    const shown = ids.every((id) => masked.has(id));
    for (const id of ids) shown ? masked.delete(id) : masked.add(id);
    outline();
  };

  const modes = () => {
    const root = dialog.querySelector(".stage");
    dialog.querySelector(".flicker-button")?.setAttribute("aria-pressed", String(stage.flickers));
    const next = dialog.querySelector(".mode-button");
    if (next) next.textContent = `view: ${stage.flickers ? "both" : root.dataset.mode}`;
  };

  const objects = () => {
    const rows = (known.objects ?? []).map((thing) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = maps.color(thing.id);
      const share = (value) => (thing.known ? `${Math.round(100 * value)} %` : "");
      const row = element("button", { class: "object", ariaPressed: "false" }, swatch,
        element("span", { class: "what" },
          element("b", {}, thing.name), thing.category === thing.name ? null : element("span", { class: "soft" }, ` ${thing.category}`),
          edited().includes(thing.id) ? element("span", { class: "chip edited" }, "edited") : null),
        element("span", { class: "seen", title: "visible in source, in target" }, thing.known ? `${share(thing.source_visible)} → ${share(thing.target_visible)}` : ""),
        element("span", { class: "rights" }, element("span", {}, `${thing.licence} · ${thing.creator}`), element("span", { class: "mono" }, thing.asset)));
      row.dataset.id = thing.id;
      row.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && outline(thing.id));
      row.addEventListener("pointerleave", () => outline());
      row.addEventListener("focus", () => row.matches(":focus-visible") && outline(thing.id));
      row.addEventListener("blur", () => outline());
      row.addEventListener("click", () => {
        const on = boxed.has(thing.id) && masked.has(thing.id);
        for (const ids of [boxed, masked]) on ? ids.delete(thing.id) : ids.add(thing.id);
        outline();
      });
      return row;
    });
    return rows.length ? facts.section("Objects", element("div", { class: "objects" }, rows)) : null;
  };

  // ---- the card

  const neighbour = (step) => {
    const order = grid.order;
    const rank = order.indexOf(shown);
    const next = order[rank + step];
    return rank < 0 || next === undefined ? -1 : next;
  };

  const move = (step) => {
    const next = neighbour(step);
    if (next >= 0) gallery.open(next);
  };

  const button = (className, text, title, action) => {
    const node = element("button", { class: `button ${className}`, title }, text);
    node.addEventListener("click", action);
    return node;
  };

  const fill = () => {
    const set = spatialdata.set;
    const key = set.key[shown];
    const family = set.families[set.family[shown]];
    const pictured = Boolean(media("source") || media("target"));
    const rank = grid.order.indexOf(shown);
    const previous = button("previous", "←", "Previous (←)", () => move(-1));
    const next = button("next", "→", "Next (→)", () => move(1));
    previous.disabled = neighbour(-1) < 0;
    next.disabled = neighbour(1) < 0;
    const left = pictured ? element("div", { class: "left" },
      element("div", { class: "stage" }),
      element("div", { class: "tools" },
        button("flicker-button", "flicker", "Alternate source and target (f)", () => stage.flicker()),
        button("mode-button", "view: slider", "Slider, only source, only target (x)", () => stage.next()),
        known.objects?.length ? button("boxes-button", "boxes", "Boxes of all objects (b)", allBoxes) : null,
        edited().length && (media("source_instances") || media("target_instances")) ? button("mask-button", "mask", "Mask of the edited object (m)", mask) : null,
        element("p", { class: "legend" })),
      strip()) : element("div", { class: "left" }, element("p", { class: "empty" }, set.reasons[set.because[shown]] || "no pictures"));
    dialog.replaceChildren(
      element("header", {},
        element("span", { class: "key mono" }, key),
        element("span", { class: "chip" }, set.kinds[set.kind[shown]]),
        element("span", { class: "chip" }, set.splits[set.split[shown]]),
        element("span", { class: "chip" }, known.dataset ?? ""),
        family ? element("a", { class: "chip", href: pages.family(family), title: "All samples of this scene; this one leads between these states" },
          `family ${set.from[shown]} → ${set.to[shown]}`) : null,
        element("span", { class: "grow" }),
        element("span", { class: "faint small" }, rank < 0 ? "" : `${rank + 1} of ${grid.order.length}`),
        previous, next,
        button("close", "✕", "Close (Esc)", () => dialog.close())),
      element("div", { class: "body" }, left,
        element("div", { class: "right" }, ...[
          facts.instruction(known),
          facts.own(known),
          facts.verdict(known, shown),
          facts.edit(known),
          facts.scores(known),
          objects(),
          facts.provenance(known, shown),
        ].filter(Boolean))));
    if (pictured) {
      stage.show(dialog.querySelector(".stage"), media, known.maps ?? {}, border(), modes);
      outline();
      if (pinned && available().includes(pinned)) {
        const name = pinned;
        pinned = "";
        hold(name);
      } else {
        pinned = "";
      }
    }
  };

  dialog.addEventListener("close", () => {
    stage.halt();
    const last = shown;
    shown = -1;
    if (last >= 0) gallery.closed(last);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

  return {
    async open(position) {
      if (position === shown) return;
      shown = position;
      boxed = new Set();
      masked = new Set();
      let loaded = null;
      try {
        loaded = await spatialdata.card(position);
      } catch (error) {
        dialog.replaceChildren(element("p", { class: "empty" }, error.message));
      }
      if (shown !== position) return; // another sample was opened meanwhile
      if (loaded) {
        known = loaded;
        fill();
      }
      if (!dialog.open) dialog.showModal();
      dialog.focus({ preventScroll: true });
    },

    close() {
      if (dialog.open) dialog.close();
    },

    get isOpen() {
      return dialog.open;
    },

    key(name) {
      const actions = {
        ArrowLeft: () => move(-1),
        ArrowRight: () => move(1),
        f: () => stage.flicker(),
        x: () => stage.next(),
        b: allBoxes,
        m: mask,
      };
      if (!dialog.querySelector(".stage") && !name.startsWith("Arrow")) return false;
      if (/^[1-9]$/.test(name) && available()[+name - 1]) hold(available()[+name - 1]);
      else if (Object.hasOwn(actions, name)) actions[name]();
      else return false;
      return true;
    },
  };
})();
