"use strict";
// The facts of a sample beside its pictures, section by section: each function returns an element, or null if there is
// nothing to show.
const facts = (() => {
  const section = (title, ...content) => element("section", {}, title ? element("h2", {}, title) : null, ...content);
  const pair = (name, ...value) => [element("dt", {}, name), element("dd", {}, ...value)];
  const list = (...pairs) => element("dl", {}, ...pairs.flat());

  const verdict = (known, position) => {
    const set = spatialdata.set;
    const state = set.states[set.state[position]];
    const { reject, check, judgement, screen, twin } = known;
    const parts = [element("p", {}, element("span", { class: `chip ${state}` }, LABELS[state]), " ",
      element("strong", {}, set.reasons[set.because[position]] || "accepted by every layer"))];
    if (reject) {
      const measuredIt = reject.score !== -1;
      parts.push(list(pair("stage", reject.stage), pair("reason", reject.reason), ...(measuredIt ? [pair("score", number(reject.score))] : [])));
      if (reject.detail) parts.push(element("pre", {}, reject.detail));
    }
    if (twin) parts.push(element("p", {}, "same pair as ", element("a", { href: gallery.link(twin.key), class: "mono" }, twin.key), `, ${twin.distance} bits differ`));
    if (check?.clauses?.length) {
      const marks = { agrees: "✓", contradicted: "✗", unchecked: "–" };
      parts.push(element("ul", { class: "clauses" }, check.clauses.map((clause) => element("li", { class: clause.outcome },
        element("span", { class: "mark", title: clause.outcome }, marks[clause.outcome] ?? "–"), element("b", {}, words(clause.name)), " ", clause.detail))));
    }
    for (const [name, part] of Object.entries(judgement ?? {})) {
      parts.push(element("p", { class: "soft" }, element("b", {}, words(name)), " ",
        Object.values(part ?? {}).map((value) => (typeof value === "string" ? value : JSON.stringify(value))).join(" ")));
    }
    return section("Verdict", ...parts, screen ? measured(screen) : null);
  };

  const measured = (screen) => element("p", { class: "faint small" }, Object.entries(screen).map(([image, numbers]) =>
    `${image}: ${Object.entries(numbers ?? {}).map(([name, value]) => `${words(name)} ${number(value)}`).join(", ")}`).join(" — "));

  const instruction = (known) => {
    const found = known.instruction ?? {};
    if (!found.text) return null;
    const author = [found.method, found.model, found.verified ? "verified by geometry" : "not verified"].filter(Boolean).join(" · ");
    return element("section", {},
      element("p", { class: "instruction" }, found.text),
      element("p", { class: "faint small" }, author),
      element("ul", { class: "variants" }, (found.variants ?? []).map((text) => element("li", {}, text))),
      known.source_caption || known.caption ? list(
        ...(known.source_caption ? [pair("source", known.source_caption)] : []),
        ...(known.caption ? [pair("target", known.caption)] : [])) : null);
  };

  // Texts and JSON of a user's own layers, unchanged.
  const own = (known) => (known.own ? section("Own layers",
    list(...Object.entries(known.own).map(([name, text]) => pair(words(name), text)))) : null);

  const edit = (known) => {
    const found = known.edit;
    if (!found) return null;
    const camera = found.kind === "camera";
    const rest = { scale: 1, zoom: 1, rotation_deg: 0, yaw_deg: 0, pitch_deg: 0, view: "" };
    const units = { rotation_deg: "°", yaw_deg: "°", pitch_deg: "°" };
    const rows = [pair("kind", found.kind)];
    if (found.known && found.translation.some((value) => value)) rows.push(pair("moved by", `${found.translation.map(number).join(", ")} m`));
    for (const [name, value] of Object.entries(rest)) {
      if (found[name] !== value && (found.known || name === "view")) rows.push(pair(words(name.replace("_deg", "")), `${typeof found[name] === "number" ? number(found[name]) : found[name]}${units[name] ?? ""}`));
    }
    if (!found.known) rows.push(pair("amounts", element("span", { class: "faint" }, "not known to the source")));
    const view = known.camera;
    rows.push(pair("camera", view?.known ? `known, focal length ${view.focal}` : `not known, focal length ${view?.focal ?? "unknown"}`));
    return section(camera ? "Camera edit" : "Edit", list(...rows));
  };

  const scores = (known) => {
    const names = Object.keys(spatialdata.set.scores).filter((name) => known.scores?.[name] !== undefined);
    if (!names.length) return null;
    return section("Scores", element("table", { class: "scores" }, names.map((name) => {
      const value = known.scores[name];
      const { low, high } = gallery.span(name);
      const dot = element("i");
      dot.style.left = high > low ? `${(100 * (value - low)) / (high - low)}%` : "50%";
      return element("tr", {}, element("th", {}, words(name)), element("td", {}, number(value)),
        element("td", { class: "where", title: `in this dataset: ${number(low)} to ${number(high)}` }, element("span", {}, dot)));
    })));
  };

  const provenance = (known, position) => {
    const { about } = spatialdata.set;
    const plan = known.plan ?? {};
    const key = spatialdata.set.key[position];
    const estimators = Object.values(known.maps ?? {});
    const rows = about.layers.map(({ layer, stage: stageName, model, revision, address, folder }) => {
      const info = estimators.find((_, index) => Object.keys(known.maps)[index].replace(/^source_/, "") === layer);
      const name = info?.estimator || model;
      const state = known.layers?.[layer] ?? "";
      return element("tr", { title: folder }, element("th", {}, layer), element("td", { class: `state ${state}` }, state),
        element("td", {}, stageName, name ? ", " : "", address && name === model ? element("a", { href: address, rel: "noreferrer" }, name) : name,
          element("span", { class: "faint mono" }, ` ${(info?.revision || revision).slice(0, 12)}`)));
    });
    const why = `spatialdata why ${about.why} ${key}`;
    const copy = element("button", { class: "button" }, "copy");
    copy.addEventListener("click", () => copied(why, copy));
    return section("Provenance",
      rows.length ? element("table", { class: "layers" }, rows) : null,
      known.made_from ? list(...Object.entries(known.maps ?? {}).map(([name, info]) => pair(words(name), `${info.estimator} ${info.revision}`)),
        pair("layers", element("span", { class: "mono" }, known.made_from.join(" ")))) : null,
      list(pair("plan", element("span", { class: "mono" }, (plan.hash ?? about.plan ?? "").slice(0, 16))),
        pair("unit", plan.row === undefined ? String(plan.unit) : `${plan.unit}, row ${plan.row}`),
        pair("seed", element("span", { class: "mono" }, plan.seed ?? "")),
        ...(known.shard ? [pair("shard", element("span", { class: "mono" }, known.shard))] : []),
        ...(plan.spec ? [pair("spec", element("span", { class: "mono" }, plan.spec))] : [])),
      element("p", { class: "command" }, element("code", {}, why), copy));
  };

  const copied = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch { // pages from files may not write to the clipboard: select the text, to be copied by hand
      getSelection().selectAllChildren(button.parentElement.querySelector("code"));
      button.textContent = "press Ctrl-C";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  };

  return { section, instruction, own, verdict, edit, scores, provenance };
})();
