"use strict";
// One sample: its pictures and maps, and all that is known of it.
const card = (() => {
  const dialog = document.getElementById("card");
  const MAPS = ["changed", "instances", "depth", "metric", "confidence", "normal", "segment", "line"];
  const TITLES = { depth: "relative depth", metric: "metric depth" };
  let shown = -1; // position
  let facts = null;
  let held = ""; // the map that stays
  let boxed = new Set();
  let masked = new Set();

  const media = (member) => spatialdata.media(shown, member);
  const section = (title, ...content) => element("section", {}, title ? element("h2", {}, title) : null, ...content);
  const pair = (name, ...value) => [element("dt", {}, name), element("dd", {}, ...value)];
  const list = (...pairs) => element("dl", {}, ...pairs.flat());

  // ---- pictures

  const available = () => MAPS.filter((name) => Object.values(stage.members(name, media)).some((member) => member && media(member)));

  const explained = (name) => {
    const { source, target } = stage.members(name, media);
    const info = facts.maps?.[target] ?? facts.maps?.[source];
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
    if (name === "changed") legend.append(" white: where source and target differ");
  };

  const preview = (name) => {
    stage.map(name);
    explained(name);
  };

  const hold = (name) => {
    held = held === name ? "" : name;
    for (const tile of dialog.querySelectorAll(".map-tile")) tile.setAttribute("aria-pressed", String(tile.dataset.map === held));
    preview(held);
  };

  const thumb = (member) => {
    const source = member && media(member);
    if (!source) return element("span", { class: "empty" });
    const made = element("img", { src: source, alt: words(member), decoding: "async", class: maps.isLabels(member) ? "hard" : "" });
    made.style.filter = maps.filter(member, facts.maps?.[member]);
    return made;
  };

  const strip = () => element("div", { class: "strip", role: "group", ariaLabel: "Maps" }, available().map((name, index) => {
    const sides = stage.members(name, media);
    const views = name === "changed" ? ["changed"] : [sides.source, sides.target];
    const tile = element("button", { class: "map-tile", ariaPressed: "false", title: `${TITLES[name] ?? name} (${index + 1})` },
      element("span", { class: "thumbs" }, views.filter((view) => view && media(view)).map(thumb)),
      element("span", { class: "name" }, TITLES[name] ?? name));
    tile.dataset.map = name;
    tile.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && preview(name));
    tile.addEventListener("pointerleave", () => preview(held));
    tile.addEventListener("focus", () => tile.matches(":focus-visible") && preview(name));
    tile.addEventListener("blur", () => preview(held));
    tile.addEventListener("click", () => hold(name));
    return tile;
  }));

  const outline = (hovered = 0) => {
    const objects = facts.objects ?? [];
    const with_ = (ids) => (hovered ? new Set([...ids, hovered]) : ids);
    stage.outline(objects, with_(boxed), with_(masked));
    const press = (name, on) => dialog.querySelector(name)?.setAttribute("aria-pressed", String(on));
    press(".boxes-button", objects.length > 0 && objects.every((thing) => boxed.has(thing.id)));
    press(".mask-button", facts.edit?.object && masked.has(facts.edit.object));
    for (const row of dialog.querySelectorAll(".object")) {
      row.setAttribute("aria-pressed", String(boxed.has(+row.dataset.id) && masked.has(+row.dataset.id)));
    }
  };

  const allBoxes = () => {
    const ids = (facts.objects ?? []).map((thing) => thing.id);
    boxed = ids.every((id) => boxed.has(id)) ? new Set() : new Set(ids);
    outline();
  };

  const mask = () => {
    const id = facts.edit?.object;
    if (!id) return;
    if (!masked.delete(id)) masked.add(id);
    outline();
  };

  const modes = () => {
    const root = dialog.querySelector(".stage");
    dialog.querySelector(".flicker-button")?.setAttribute("aria-pressed", String(stage.flickers));
    const next = dialog.querySelector(".mode-button");
    if (next) next.textContent = `view: ${stage.flickers ? "both" : root.dataset.mode}`;
  };

  // ---- what is known

  const verdict = () => {
    const set = spatialdata.set;
    const state = set.states[set.state[shown]];
    const { reject, check, judgement, screen, twin } = facts;
    const told = [element("p", {}, element("span", { class: `chip ${state}` }, LABELS[state]), " ",
      element("strong", {}, set.reasons[set.because[shown]] || "every layer holds it"))];
    if (reject) {
      const measuredIt = reject.score !== -1;
      told.push(list(pair("stage", reject.stage), pair("reason", reject.reason), ...(measuredIt ? [pair("score", number(reject.score))] : [])));
      if (reject.detail) told.push(element("pre", {}, reject.detail));
    }
    if (twin) told.push(element("p", {}, "same pair as ", element("a", { href: gallery.link(twin.key), class: "mono" }, twin.key), `, ${twin.distance} bits differ`));
    if (check?.clauses?.length) {
      const marks = { agrees: "✓", contradicted: "✗", unchecked: "–" };
      told.push(element("ul", { class: "clauses" }, check.clauses.map((clause) => element("li", { class: clause.outcome },
        element("span", { class: "mark", title: clause.outcome }, marks[clause.outcome] ?? "–"), element("b", {}, words(clause.name)), " ", clause.detail))));
    }
    for (const [name, part] of Object.entries(judgement ?? {})) {
      told.push(element("p", { class: "soft" }, element("b", {}, words(name)), " ",
        Object.values(part ?? {}).map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(" ")));
    }
    return section("Verdict", ...told, screen ? measured(screen) : null);
  };

  const measured = (screen) => element("p", { class: "faint small" }, Object.entries(screen).map(([image, numbers]) =>
    `${image}: ${Object.entries(numbers ?? {}).map(([name, value]) => `${words(name)} ${number(value)}`).join(", ")}`).join(" — "));

  const instruction = () => {
    const told = facts.instruction ?? {};
    if (!told.text) return null;
    const made = [told.method, told.model, told.verified ? "verified by geometry" : "not verified"].filter(Boolean).join(" · ");
    return element("section", {},
      element("p", { class: "instruction" }, told.text),
      element("p", { class: "faint small" }, made),
      element("ul", { class: "variants" }, (told.variants ?? []).map((text) => element("li", {}, text))),
      facts.source_caption || facts.caption ? list(
        ...(facts.source_caption ? [pair("source", facts.source_caption)] : []),
        ...(facts.caption ? [pair("target", facts.caption)] : [])) : null);
  };

  const edit = () => {
    const told = facts.edit;
    if (!told) return null;
    const camera = told.kind === "camera";
    const rest = { scale: 1, zoom: 1, rotation_deg: 0, yaw_deg: 0, pitch_deg: 0, view: "" };
    const units = { rotation_deg: "°", yaw_deg: "°", pitch_deg: "°" };
    const rows = [pair("kind", told.kind)];
    if (told.known && told.translation.some((value) => value)) rows.push(pair("moved by", `${told.translation.map(number).join(", ")} m`));
    for (const [name, value] of Object.entries(rest)) {
      if (told[name] !== value && (told.known || name === "view")) rows.push(pair(words(name.replace("_deg", "")), `${typeof told[name] === "number" ? number(told[name]) : told[name]}${units[name] ?? ""}`));
    }
    if (!told.known) rows.push(pair("amounts", element("span", { class: "faint" }, "not known to the source")));
    const view = facts.camera;
    rows.push(pair("camera", view?.known ? `known, focal length ${view.focal}` : `not known, focal length ${view?.focal ?? "unknown"}`));
    return section(camera ? "Camera edit" : "Edit", list(...rows));
  };

  const scores = () => {
    const names = Object.keys(spatialdata.set.scores).filter((name) => facts.scores?.[name] !== undefined);
    if (!names.length) return null;
    return section("Scores", element("table", { class: "scores" }, names.map((name) => {
      const value = facts.scores[name];
      const { low, high } = gallery.span(name);
      const dot = element("i");
      dot.style.left = `${(100 * (value - low)) / Math.max(high - low, 1e-9)}%`;
      return element("tr", {}, element("th", {}, words(name)), element("td", {}, number(value)),
        element("td", { class: "where", title: `in this set: ${number(low)} to ${number(high)}` }, element("span", {}, dot)));
    })));
  };

  const objects = () => {
    const rows = (facts.objects ?? []).map((thing) => {
      const swatch = element("span", { class: "swatch" });
      swatch.style.background = maps.colour(thing.id);
      const share = (value) => (thing.known ? `${Math.round(100 * value)} %` : "");
      const row = element("button", { class: "object", ariaPressed: "false" }, swatch,
        element("span", { class: "what" },
          element("b", {}, thing.name), thing.category === thing.name ? null : element("span", { class: "soft" }, ` ${thing.category}`),
          thing.id === facts.edit?.object ? element("span", { class: "chip edited" }, "edited") : null),
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
    return rows.length ? section("Objects", element("div", { class: "objects" }, rows)) : null;
  };

  const provenance = () => {
    const { about } = spatialdata.set;
    const plan = facts.plan ?? {};
    const key = spatialdata.set.key[shown];
    const estimators = Object.values(facts.maps ?? {});
    const rows = about.layers.map(({ layer, stage: made, model, revision, address, folder }) => {
      const info = estimators.find((_, index) => Object.keys(facts.maps)[index].replace(/^source_/, "") === layer);
      const name = info?.estimator || model;
      const state = facts.layers?.[layer] ?? "";
      return element("tr", { title: folder }, element("th", {}, layer), element("td", { class: `state ${state}` }, state),
        element("td", {}, made, name ? ", " : "", address && name === model ? element("a", { href: address, rel: "noreferrer" }, name) : name,
          element("span", { class: "faint mono" }, ` ${(info?.revision || revision).slice(0, 12)}`)));
    });
    const why = `spatialdata why ${about.why} ${key}`;
    const copy = element("button", { class: "button" }, "copy");
    copy.addEventListener("click", () => copied(why, copy));
    return section("Provenance",
      rows.length ? element("table", { class: "layers" }, rows) : null,
      facts.made_from ? list(...Object.entries(facts.maps ?? {}).map(([name, info]) => pair(words(name), `${info.estimator} ${info.revision}`)),
        pair("layers", element("span", { class: "mono" }, facts.made_from.join(" ")))) : null,
      list(pair("plan", element("span", { class: "mono" }, (plan.hash ?? about.plan ?? "").slice(0, 16))),
        pair("unit", plan.row === undefined ? String(plan.unit) : `${plan.unit}, row ${plan.row}`),
        pair("seed", element("span", { class: "mono" }, plan.seed ?? "")),
        ...(facts.shard ? [pair("shard", element("span", { class: "mono" }, facts.shard))] : []),
        ...(plan.spec ? [pair("to make", element("span", { class: "mono" }, plan.spec))] : [])),
      element("p", { class: "command" }, element("code", {}, why), copy));
  };

  const copied = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch { // where a file may not write there: it is selected, to be copied by hand
      getSelection().selectAllChildren(button.parentElement.querySelector("code"));
      button.textContent = "press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  };

  // ---- the whole

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
    const made = element("button", { class: `button ${className}`, title }, text);
    made.addEventListener("click", action);
    return made;
  };

  const fill = () => {
    const set = spatialdata.set;
    const key = set.key[shown];
    const pictured = Boolean(media("source") || media("target"));
    const rank = grid.order.indexOf(shown);
    const previous = button("previous", "←", "Previous (←)", () => move(-1));
    const next = button("next", "→", "Next (→)", () => move(1));
    previous.disabled = neighbour(-1) < 0;
    next.disabled = neighbour(1) < 0;
    const left = pictured ? element("div", { class: "left" },
      element("div", { class: "stage" }),
      element("div", { class: "tools" },
        button("flicker-button", "flicker", "Source and target in turn (f)", () => stage.flicker()),
        button("mode-button", "view: slider", "Slider, source alone, target alone (x)", () => stage.next()),
        facts.objects?.length ? button("boxes-button", "boxes", "Boxes of all objects (b)", allBoxes) : null,
        facts.edit?.object && (media("source_instances") || media("target_instances")) ? button("mask-button", "mask", "Mask of the edited object (m)", mask) : null,
        element("p", { class: "legend" })),
      strip()) : element("div", { class: "left" }, element("p", { class: "empty" }, set.reasons[set.because[shown]] || "no pictures"));
    dialog.replaceChildren(
      element("header", {},
        element("span", { class: "key mono" }, key),
        element("span", { class: "chip" }, set.kinds[set.kind[shown]]),
        element("span", { class: "chip" }, set.splits[set.split[shown]]),
        element("span", { class: "chip" }, facts.dataset ?? ""),
        element("span", { class: "grow" }),
        element("span", { class: "faint small" }, rank < 0 ? "" : `${rank + 1} of ${grid.order.length}`),
        previous, next,
        button("close", "✕", "Close (Esc)", () => dialog.close())),
      element("div", { class: "body" }, left,
        element("div", { class: "right" }, ...[instruction(), verdict(), edit(), scores(), objects(), provenance()].filter(Boolean))));
    if (pictured) {
      stage.show(dialog.querySelector(".stage"), media, facts.maps ?? {}, modes);
      outline();
      if (held && available().includes(held)) {
        const name = held;
        held = "";
        hold(name);
      } else {
        held = "";
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
      if (shown !== position) return; // another was asked for meanwhile
      if (loaded) {
        facts = loaded;
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
