"use strict";
// The page of families: the list of all, or the one that the address names.
(() => {
  const main = document.querySelector("main");
  let all = []; // in the order of the samples: key and positions of the samples
  let shown = -1; // position in `all`; -1: none

  const collect = () => {
    const found = spatialdata.set.families.map((key) => ({ key, samples: [] }));
    spatialdata.set.family.forEach((number, position) => found[number].samples.push(position));
    return found.slice(1); // the first one holds the samples without a family
  };

  const counted = ({ samples }) => `${family.states(samples).length} states, ${samples.length} samples: ${family.summary(samples)}`;

  const tile = (one) => element("a", { class: "tile", href: pages.family(one.key) },
    family.image(family.states(one.samples).find(({ picture }) => picture)?.picture, ""),
    element("span", { class: "text" }, counted(one)),
    element("span", { class: "key mono" }, one.key));

  const list = () => [
    element("p", { class: "summary" }, all.length ? `${all.length.toLocaleString("en")} ${all.length === 1 ? "family" : "families"}: samples that share a scene` : "No samples of this gallery share a scene."),
    element("div", { class: "tiles" }, all.map(tile)),
  ];

  const step = (title, text, to) => (all[to] ? element("a", { class: "button", href: pages.family(all[to].key), title }, text)
    : element("button", { class: "button", disabled: true, title }, text));

  const one = () => [
    element("div", { class: "head" },
      element("h2", { class: "key mono" }, all[shown].key),
      element("span", { class: "summary" }, counted(all[shown])),
      element("span", { class: "grow" }),
      element("a", { class: "button", href: `index.html#${new URLSearchParams({ family: all[shown].key })}` }, "samples"),
      element("a", { class: "button", href: "families.html#" }, "all families"),
      element("span", { class: "faint" }, `${shown + 1} of ${all.length}`),
      step("Previous (←)", "←", shown - 1),
      step("Next (→)", "→", shown + 1)),
    ...family.sections(all[shown].samples),
  ];

  const unknown = (key) => [
    element("p", { id: "nothing" }, `No family ${key} is in this gallery. `, element("a", { href: "families.html#" }, "All families")),
  ];

  const follow = () => {
    const key = new URLSearchParams(location.hash.slice(1)).get("family") ?? "";
    shown = all.findIndex((found) => found.key === key);
    main.replaceChildren(...(shown >= 0 ? one() : key ? unknown(key) : list()));
    scrollTo(0, 0);
  };

  addEventListener("keydown", ({ key, ctrlKey, metaKey, altKey, target }) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!move || shown < 0 || ctrlKey || metaKey || altKey || target.closest?.(".scroll")) return;
    if (all[shown + move]) location.href = pages.family(all[shown + move].key);
  });

  pages.start(() => {
    const [width, height] = spatialdata.set.about.size;
    document.documentElement.style.setProperty("--ratio", String(width / height));
    all = collect();
    addEventListener("hashchange", follow);
    follow();
  });
})();
