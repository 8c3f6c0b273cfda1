"use strict";
// What the pages that read the index have in common: the bar at the top, the notes, and the links between the pages.
const pages = {
  // Call `start` when the index is read.
  start(start) {
    document.addEventListener("DOMContentLoaded", () => {
      if (spatialdata.set) {
        pages.header();
        start();
        document.documentElement.dataset.ready = "true";
        performance.mark("ready");
      } else {
        document.getElementById("notes").append(element("p", { class: "note" }, "data/index.js cannot be read: rebuild the gallery with `spatialdata view`."));
      }
    });
  },

  header() {
    const { about } = spatialdata.set;
    const here = location.pathname.split("/").pop();
    const title = document.getElementById("title");
    document.title = `${about.name} · spatialdata`;
    title.textContent = about.name;
    title.title = about.place;
    for (const { title: text, href } of about.pages) {
      document.getElementById("pages").append(element("a", { href, ...(href === here ? { "aria-current": "page" } : {}) }, text));
    }
    const notes = [...about.notes];
    if (about.planned > about.samples) notes.unshift(`${about.samples.toLocaleString("en")} of ${about.planned.toLocaleString("en")} samples are shown, spread evenly over the dataset (--limit shows more)`);
    document.getElementById("notes").append(...notes.map((text) => element("p", { class: "note" }, text)));
  },

  sample: (key) => `index.html#${new URLSearchParams({ open: key })}`,

  family: (key) => `families.html#${new URLSearchParams({ family: key })}`,
};
