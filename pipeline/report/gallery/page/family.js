"use strict";
// One family: the images of its scene (states), its samples as edges between them, and their instructions.
const family = (() => {
  const set = () => spatialdata.set;
  const stateOf = (position) => set().states[set().state[position]];
  const because = (position) => set().reasons[set().because[position]];
  const ends = (position) => `${set().from[position]} → ${set().to[position]}`;

  // The states in order, each with a path of its image, or "" without one.
  const states = (edges) => {
    const pictures = new Map();
    for (const position of edges) {
      for (const [state, member] of [[set().from[position], "source"], [set().to[position], "target"]]) {
        if (!pictures.get(state)) pictures.set(state, spatialdata.media(position, member));
      }
    }
    return [...pictures].map(([state, picture]) => ({ state, picture })).sort((a, b) => a.state - b.state);
  };

  const image = (picture, alt) => (picture ? element("img", { loading: "lazy", decoding: "async", alt, src: picture })
    : element("span", { class: "missing" }, "no image"));

  // Number of samples by state: "22 accepted, 2 rejected".
  const summary = (edges) => set().states.map((state) => [edges.filter((position) => stateOf(position) === state).length, state])
    .filter(([count]) => count).map(([count, state]) => `${count} ${LABELS[state]}`).join(", ");

  const section = (id, title, ...content) => element("section", { id }, element("h2", {}, title), ...content);

  // ---- states

  // What an edit of the source makes: its instruction, or why it has none.
  const made = (state, edges) => {
    if (state === 0) return "source of the scene";
    const position = edges.find((edge) => set().from[edge] === 0 && set().to[edge] === state);
    return position === undefined ? "" : set().text[position] || because(position);
  };

  const pictures = (edges) => element("div", { class: "states" }, states(edges).map(({ state, picture }) => {
    const text = made(state, edges);
    return element("figure", {},
      picture ? element("a", { href: picture, title: "Open the image" }, image(picture, `state ${state}`)) : image(picture),
      element("figcaption", { title: text }, element("b", { class: "number" }, String(state)), element("span", { class: "text" }, text)));
  }));

  // ---- graph

  const edge = (position) => {
    const state = stateOf(position);
    const told = [`${ends(position)}, ${LABELS[state]}${because(position) ? ` (${because(position)})` : ""}`, set().text[position]];
    return element("a", { class: `edge ${state}`, href: pages.sample(set().key[position]), title: told.filter(Boolean).join("\n") },
      set().kinds[set().kind[position]]);
  };

  const matrix = (edges) => {
    const all = states(edges);
    const cells = new Map();
    for (const position of edges) cells.set(ends(position), [...(cells.get(ends(position)) ?? []), position]);
    const head = ({ state, picture }, scope) => element("th", { scope }, element("span", {}, String(state)), picture ? image(picture, "") : null);
    const row = (from) => element("tr", {}, head(from, "row"), all.map((to) =>
      element("td", { class: from.state === to.state ? "self" : "" }, (cells.get(`${from.state} → ${to.state}`) ?? []).map(edge))));
    return element("div", { class: "scroll", tabIndex: 0, role: "region", ariaLabel: "Edits between the states" },
      element("table", { class: "graph" },
        element("thead", {}, element("tr", {}, element("td", { class: "corner" }, "from ↓ to →"), all.map((state) => head(state, "col")))),
        element("tbody", {}, all.map(row))));
  };

  const legend = (edges) => element("p", { class: "legend" },
    set().states.filter((state) => edges.some((position) => stateOf(position) === state))
      .map((state) => element("span", { class: `chip ${state}` }, LABELS[state])),
    "Each sample leads from the state of its row to the state of its column.");

  // ---- instructions

  // The edited objects of a sample: what tells them from others, and their names.
  const edited = ({ edit, objects = [] }) => {
    if (!edit) return { id: "", title: "not known" };
    const things = [edit.object, edit.second_object].map((id) => id && objects.find((thing) => thing.id === id)).filter(Boolean);
    if (!things.length) return { id: edit.kind, title: edit.kind };
    return { id: JSON.stringify(things.map(({ id, asset }) => [id, asset])), title: things.map(({ name }) => name).join(" and ") };
  };

  const line = (position) => element("li", { class: stateOf(position) },
    element("a", { class: "ends", href: pages.sample(set().key[position]), title: set().key[position] }, ends(position)),
    element("span", {}, element("span", { class: "chip" }, set().kinds[set().kind[position]])),
    element("span", { class: "text" }, set().text[position] || element("span", { class: "faint" }, "no instruction"),
      stateOf(position) === "accepted" ? null : element("span", { class: `chip ${stateOf(position)}` }, because(position) || LABELS[stateOf(position)])));

  const instructions = (edges, cards) => {
    const groups = new Map();
    edges.forEach((position, index) => {
      const { id, title } = edited(cards[index]);
      if (!groups.has(id)) groups.set(id, { title, lines: [] });
      groups.get(id).lines.push(line(position));
    });
    return [...groups.values()].map(({ title, lines }) => element("div", { class: "group" },
      element("h3", {}, element("bdi", {}, title)), element("ul", {}, lines)));
  };

  return {
    states,
    image,
    summary,

    // The sections of the page. The last one is filled when the cards of the samples are loaded.
    sections(samples) {
      const order = (a, b) => set().from[a] - set().from[b] || set().to[a] - set().to[b];
      const edges = [...samples].sort(order);
      const list = section("instructions", "Instructions, by edited object");
      Promise.all(edges.map((position) => spatialdata.card(position))).then(
        (cards) => list.append(...instructions(edges, cards)),
        (error) => list.append(element("p", { class: "faint" }, error.message)));
      return [
        section("states", "States", pictures(edges)),
        section("graph", "Edits", legend(edges), matrix(edges)),
        list,
      ];
    },
  };
})();
