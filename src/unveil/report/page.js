"use strict";
// The viewers of report.html: zoom and pan, linked over the panels of an image; a wipe; sliders over frames; the theme.
// All state of a viewer is in the variables --zoom, --left and --top of its style: the shares of the image's width and
// height that lie left of and above each panel, which the style sheet turns into transforms.

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const still = matchMedia("(prefers-reduced-motion: reduce)");

function setUpZoom(viewer) {
  const panels = viewer.querySelector(".panels");
  const { width, pixel, unit } = viewer.dataset;
  const most = Math.max(1, width / 12); // a dozen pixels fill a panel
  let zoom = 1, left = 0, top = 0;

  function show() {
    zoom = clamp(zoom, 1, most);
    left = clamp(left, 0, 1 - 1 / zoom);
    top = clamp(top, 0, 1 - 1 / zoom);
    for (const [name, value] of Object.entries({ zoom, left, top })) viewer.style.setProperty(`--${name}`, value);
    viewer.classList.toggle("zoomed", zoom > 1);
    showScale();
  }

  function showScale() { // a bar of a round length, at most two fifths of a panel
    const side = Number(pixel) || 1, room = 0.4 * width * side / zoom;
    const power = 10 ** Math.floor(Math.log10(room));
    const length = [5, 2, 1].map(k => k * power).find(l => l <= room);
    viewer.style.setProperty("--bar", length * zoom / (width * side));
    const text = `${Number(length.toPrecision(1))} ${pixel ? unit : "pixels"}`;
    for (const bar of viewer.querySelectorAll(".scale")) bar.textContent = text;
  }

  function zoomBy(factor, x = 0.5, y = 0.5) { // about a point of the panel, which stays where it is
    const now = clamp(zoom * factor, 1, most);
    left += x / zoom - x / now;
    top += y / zoom - y / now;
    zoom = now;
    show();
  }

  function moveBy(x, y) { // shares of a panel
    left += x / zoom;
    top += y / zoom;
    show();
  }

  const actions = {
    in: () => zoomBy(1.5), out: () => zoomBy(1 / 1.5), all: () => { zoom = 1; show(); },
  };
  for (const button of viewer.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", actions[button.dataset.zoom]);
  for (const button of viewer.querySelectorAll("[data-place]"))
    button.addEventListener("click", () => {
      const [x, y] = button.dataset.place.split(" ").map(Number);
      zoom = clamp(6, 1, most);
      left = x - 0.5 / zoom;
      top = y - 0.5 / zoom;
      show();
    });

  panels.addEventListener("keydown", event => {
    const moves = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] };
    if (event.target !== panels || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") actions.in();
    else if (event.key === "-") actions.out();
    else if (event.key === "0") actions.all();
    else if (event.key in moves && zoom > 1) moveBy(...moves[event.key]);
    else return;
    event.preventDefault();
  });

  for (const view of viewer.querySelectorAll(".view")) setUpPointers(view, zoomBy, moveBy, () => zoom > 1);
  show();
}

function setUpPointers(view, zoomBy, moveBy, zoomed) {
  const held = new Map(); // the pointers that are down: where they were last
  const spread = () => { const [a, b] = [...held.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };
  const at = event => {
    const box = view.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  view.addEventListener("pointerdown", event => {
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    view.setPointerCapture(event.pointerId);
  });
  view.addEventListener("pointermove", event => {
    const last = held.get(event.pointerId);
    if (!last) return;
    const before = held.size === 2 ? spread() : 0, box = view.getBoundingClientRect();
    held.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (before) zoomBy(spread() / before, ...at(event));
    else if (zoomed()) moveBy((last.x - event.clientX) / box.width, (last.y - event.clientY) / box.height);
  });
  for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, event => held.delete(event.pointerId));
  view.addEventListener("dblclick", event => zoomBy(2, ...at(event)));
  view.addEventListener("wheel", event => { // the wheel alone scrolls the page
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoomBy(Math.exp(-0.005 * event.deltaY), ...at(event));
  }, { passive: false });
}

function setUpFrames(panel) { // a slider over frames, and a button that moves it
  const slider = panel.querySelector("input[type=range]"), play = panel.querySelector("button");
  const frames = [...panel.querySelectorAll(".view img")], named = panel.querySelector("output");
  let timer = null;
  const show = () => {
    frames.forEach((frame, i) => { frame.hidden = i !== slider.valueAsNumber - 1; });
    named.textContent = frames[slider.valueAsNumber - 1].dataset.name;
    slider.setAttribute("aria-valuetext", named.textContent);
  };
  const pause = () => { clearInterval(timer); timer = null; play.textContent = "Play"; };
  const next = () => { slider.value = slider.valueAsNumber % frames.length + 1; show(); };
  slider.addEventListener("input", () => { pause(); show(); });
  play.addEventListener("click", () => {
    if (timer !== null) return pause();
    timer = setInterval(next, 500);
    play.textContent = "Pause";
  });
  const obey = () => { pause(); play.hidden = still.matches; };
  still.addEventListener("change", obey);
  obey();
  show();
}

function setUpWipe(viewer) { // two of the panels' pictures over one another
  const wipe = viewer.querySelector(".wipe"), slider = wipe.querySelector("input[type=range]");
  const shown = panel => viewer.querySelector(`[data-panel="${panel}"] .view img:not([hidden])`);
  const choose = select => {
    wipe.querySelector(`.${select.name}`).replaceChildren(shown(select.value).cloneNode());
  };
  const selects = [...wipe.querySelectorAll("select")];
  const move = () => wipe.style.setProperty("--wipe", slider.value / 100);
  selects.forEach(select => { select.addEventListener("change", () => choose(select)); choose(select); });
  slider.addEventListener("input", move);
  for (const control of viewer.querySelectorAll("[data-panel] input")) // which changes what a panel shows
    control.addEventListener("input", () => selects.forEach(choose));
  move();
}

for (const viewer of document.querySelectorAll(".viewer")) {
  viewer.querySelectorAll(".frames").forEach(setUpFrames);
  if (viewer.querySelector(".wipe")) setUpWipe(viewer);
  setUpZoom(viewer);
}
const theme = document.getElementById("theme");
theme.addEventListener("change", () => { document.documentElement.style.colorScheme = theme.value; });
