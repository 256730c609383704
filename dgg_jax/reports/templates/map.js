// The map of all rows. It reads #map-data, draws into #map-canvas and requests nothing.
"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const data = JSON.parse(at("map-data").textContent);
  const array = (kind, text) =>
    text && new kind(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const positions = array(Int16Array, data.positions);
  const clusters = array(Uint16Array, data.clusters), labels = array(Uint16Array, data.labels);
  const confidence = array(Uint16Array, data.confidence);
  const strangeness = array(Uint8Array, data.strangeness);
  const values = data.values && array(Float32Array, data.values.numbers);
  const place = new Map([...array(Uint32Array, data.shown)].map((row, index) => [row, index]));
  const sheet = Object.assign(new Image(), data.sheet && { src: data.sheet.source });

  const canvas = at("map-canvas"), context = canvas.getContext("2d");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const LISTED = 200, rows = Array.from({ length: data.count }, (_, row) => row);
  const tint = new Uint8ClampedArray(3 * data.count), isChosen = new Uint8Array(data.count);
  let chosen = [], hovered = -1, lasso = null, image = null, waiting = false;
  let whole = 1;  // the scale at which all is seen
  const view = { x: 0, y: 0, scale: 1 };
  // --- What is said of a row ---------------------------------------------------------
  const make = (tag, text = "", style = "") =>
    Object.assign(document.createElement(tag), { textContent: text, className: style });
  const button = (text, title, onclick) =>
    Object.assign(make("button", text), { type: "button", title, onclick });
  const title = (row) => (data.names ? data.names[row] : `row ${row}`);
  const share = (row) => (confidence[row] / 65535).toFixed(4);
  const marked = (color, cell) => {
    cell.prepend(make("i", "", "chip"));
    cell.firstChild.style.background = color;
    return cell;
  };
  const clusterOf = (row, words = "") =>
    marked(data.clusterColors[clusters[row]], make("span", words + clusters[row]));
  function thumbnail(row) {
    const index = place.get(row);
    if (!data.sheet || index === undefined) return null;
    const { columns, width, height } = data.sheet, picture = make("canvas");
    Object.assign(picture, { width, height, role: "img", ariaLabel: title(row) });
    picture.getContext("2d").drawImage(sheet, (index % columns) * width,
      Math.floor(index / columns) * height, width, height, 0, 0, width, height);
    return picture;
  }
  function valuesOf(row) {
    const index = place.get(row), count = values && data.values.columns.length;
    if (!values || index === undefined) return [];
    return data.values.columns.map((name, column) =>
      `${name} ${Number(values[index * count + column].toPrecision(4))}`);
  }
  function describe(row) {
    const lines = [thumbnail(row) || "", make("b", title(row)), clusterOf(row, "cluster ")];
    if (!data.isHard) lines.push(make("span", `confidence ${share(row)}`));
    if (labels) lines.push(make("span", `label ${data.classNames[labels[row]]}`));
    const strange = strangeness && `stranger than ${Math.floor(strangeness[row] / 2.55)} %`;
    if (strangeness) lines.push(make("span", `${strange} of the rows`));
    return [...lines, ...valuesOf(row).map((value) => make("span", value))];
  }

  // --- Colours -----------------------------------------------------------------------
  const channels = (color) => [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  const schemes = {
    cluster: { names: data.clusterColors.map((_, k) => `${k}`), groups: clusters,
      colors: data.clusterColors },
    label: labels && { names: data.classNames, groups: labels, colors: data.classColors },
    confidence: { ends: ["sure", "unsure"], colors: data.ramp,
      step: (row) => 255 - Math.round(confidence[row] / 257) },
    // The strangest few are what is looked for.
    outlier: strangeness && { ends: ["usual", "strangest"], colors: data.ramp,
      step: (row) => Math.round(255 * (strangeness[row] / 255) ** 8) },
  };
  function colour() {
    const { names, groups, colors, ends, step } = schemes[at("map-colour").value];
    const light = dark.matches ? 0.22 : 0;  // the palette is for a white ground
    const inks = colors.map(channels).map((ink) => ink.map((c) => c + light * (255 - c)));
    for (const row of rows) tint.set(inks[groups ? groups[row] : step(row)], 3 * row);
    const list = (group) => () => choose(rows.filter((row) => groups[row] === group));
    const items = (names || []).map((name, group) =>
      marked(colors[group], button(name, "List its rows", list(group))));
    if (ends) {
      const bar = make("i", "", "ramp");
      bar.style.background = `linear-gradient(90deg, ${[0, 128, 255].map((i) => colors[i])})`;
      items.push(make("span", ends[0]), bar, make("span", ends[1]));
    }
    at("map-legend").replaceChildren(...items);
    draw();
  }
  // --- Drawing: discs are written into the pixels, fast for any number of rows --------
  const pixels = () => window.devicePixelRatio || 1;
  const across = (row) => (positions[2 * row] - view.x) * view.scale + canvas.width / 2;
  const down = (row) => canvas.height / 2 - (positions[2 * row + 1] - view.y) * view.scale;
  function fit() {
    const [width, height] = data.span;
    whole = 0.93 * Math.min(canvas.width / width, canvas.height / height);
    Object.assign(view, { x: 0, y: 0, scale: whole });
    draw();
  }
  function disc() {  // its pixels: where from the middle, and how far covered
    const radius = pixels() * Math.min(clamp(150 / Math.sqrt(data.count), 1.1, 4)
      * (view.scale / whole) ** 0.35, 9);
    const reach = Math.ceil(radius), side = 2 * reach + 1, places = [], covers = [];
    for (let i = 0; i < side * side; i++) {
      const x = (i % side) - reach, y = Math.floor(i / side) - reach;
      const cover = clamp(radius + 0.5 - Math.hypot(x, y), 0, 1);
      if (cover > 0.05) covers.push(cover) && places.push(4 * (y * canvas.width + x));
    }
    return { reach, places, covers };
  }
  function paint(row, { reach, places, covers }, strength) {
    const x = Math.round(across(row)), y = Math.round(down(row)), { width, height } = canvas;
    if (x < reach || y < reach || x >= width - reach || y >= height - reach) return;
    const out = image.data, middle = 4 * (y * width + x);
    for (let i = 0; i < places.length; i++) {
      const to = middle + places[i], part = covers[i] * strength, old = out[to + 3];
      for (let k = 0; k < 3; k++)
        out[to + k] += (tint[3 * row + k] - out[to + k]) * (old ? part : 1);
      out[to + 3] = old + (255 - old) * part;
    }
  }
  function paintAll() {
    waiting = false;
    if (!image) return;
    image.data.fill(0);
    const shape = disc(), others = chosen.length ? 0.15 : 0.85;
    for (let row = 0; row < data.count; row++) if (!isChosen[row]) paint(row, shape, others);
    for (const row of chosen) paint(row, shape, 1);
    context.putImageData(image, 0, 0);
    context.lineWidth = 1.5 * pixels();
    context.strokeStyle = getComputedStyle(canvas).color;
    for (const row of chosen.length <= 40 ? [...chosen, hovered] : [hovered]) {
      context.beginPath();
      if (row >= 0) context.arc(across(row), down(row), shape.reach + 3 * pixels(), 0, 7);
      context.stroke();
    }
    if (lasso) context.stroke(lasso);
  }
  function draw() {
    if (!waiting) requestAnimationFrame(paintAll);
    waiting = true;
  }
  function resize() {
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * pixels()));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * pixels()));
    image = context.createImageData(canvas.width, canvas.height);
    fit();
  }
  function zoom(factor, x = canvas.width / 2, y = canvas.height / 2) {
    const scale = clamp(view.scale * factor, whole / 2, whole * 200);
    const move = view.scale / scale - 1;
    pan((x - canvas.width / 2) * move, (y - canvas.height / 2) * move);
    view.scale = scale;
  }
  function pan(right, below) {
    view.x -= right / view.scale;
    view.y += below / view.scale;
    draw();
  }

  // --- Rows that are listed ------------------------------------------------------------
  function choose(found, note = "") {
    for (const row of chosen) isChosen[row] = 0;
    chosen = found;
    for (const row of chosen) isChosen[row] = 1;
    const count = `${found.length.toLocaleString("en")} row${found.length === 1 ? "" : "s"}`;
    const more = found.length > LISTED ? `, of which ${LISTED} are listed` : "";
    at("map-status").textContent = found.length ? count + more : note;
    at("map-list").hidden = !found.length;
    at("map-rows").replaceChildren(...found.slice(0, LISTED).map(line));
    draw();
  }
  function line(row) {
    const cells = [button(title(row), "Show it on the map", () => show(row)),
      data.sheet && (thumbnail(row) || ""), clusterOf(row), share(row),
      labels && data.classNames[labels[row]], values && valuesOf(row).join("; ")];
    const tr = make("tr");
    for (const cell of cells) if (cell !== null) tr.insertCell().append(cell);
    return tr;
  }
  function show(row) {
    Object.assign(view, { x: positions[2 * row], y: positions[2 * row + 1] });
    view.scale = Math.max(view.scale, 4 * whole);
    hovered = row;
    draw();
    canvas.scrollIntoView({ block: "nearest" });
  }
  function search() {
    const wanted = at("map-search").value.trim().toLowerCase();
    const isNamed = (row) => data.names && data.names[row].toLowerCase().includes(wanted);
    const found = wanted ? rows.filter((row) => `${row}` === wanted || isNamed(row)) : [];
    choose(found, wanted && !found.length ? "No such row" : "");
  }
  function download() {
    const name = (row) => (data.names ? `"${data.names[row].replaceAll('"', '""')}",` : "");
    const lines = rows.map((row) => `${row},${name(row)}${clusters[row]},${share(row)}\n`);
    lines.unshift(`row,${data.names ? "name," : ""}cluster,confidence\n`);
    const href = URL.createObjectURL(new Blob(lines, { type: "text/csv" }));
    const link = Object.assign(make("a"), { href, download: "assignments.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  }

  // --- Mouse, touch and keys -----------------------------------------------------------
  const fingers = new Map();
  let travelled = 0;
  const point = (event) => [event.offsetX * pixels(), event.offsetY * pixels()];
  function nearest([x, y]) {
    let best = -1, least = (14 * pixels()) ** 2;
    for (let row = 0; row < data.count; row++) {
      const distance = (across(row) - x) ** 2 + (down(row) - y) ** 2;
      if (distance < least) [best, least] = [row, distance];
    }
    return best;
  }
  function hover(event) {
    const row = event ? nearest(point(event)) : -1, tip = at("map-tip");
    tip.hidden = row < 0;
    if (row >= 0) {
      if (row !== hovered) tip.replaceChildren(...describe(row));
      const x = across(row) / canvas.width, y = down(row) / canvas.height;
      const side = (share) => (share > 0.5 ? "calc(-100% - .8rem)" : ".8rem");
      tip.style.cssText = `left:${100 * x}%;top:${100 * y}%;translate:${side(x)} ${side(y)}`;
    }
    if (row !== hovered) draw();
    hovered = row;
  }
  const isInside = (row) => context.isPointInPath(lasso, across(row), down(row));
  const drawsLasso = () => at("map-lasso").ariaPressed === "true";
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, point(event));
    travelled = 0;
    lasso = fingers.size === 1 && (event.shiftKey || drawsLasso()) ? new Path2D() : null;
  };
  canvas.onpointermove = (event) => {
    const before = fingers.get(event.pointerId), now = point(event);
    if (!before) return hover(event);
    const right = now[0] - before[0], below = now[1] - before[1];
    travelled += Math.hypot(right, below);
    if (fingers.size === 2) {
      const [x, y] = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = (spot) => Math.hypot(spot[0] - x, spot[1] - y) || 1;
      zoom(apart(now) / apart(before), x, y);
    } else if (lasso) lasso.lineTo(...now);
    else pan(right, below);
    draw();
    fingers.set(event.pointerId, now);
  };
  canvas.onpointerup = (event) => {
    fingers.delete(event.pointerId);
    if (lasso && travelled > 8) choose(rows.filter(isInside));
    else if (travelled < 8) {
      hover(event);
      if (hovered >= 0) choose([hovered, ...chosen.filter((row) => row !== hovered)]);
    }
    lasso = null;
    draw();
  };
  canvas.onpointercancel = (event) => fingers.delete(event.pointerId);
  canvas.onpointerleave = () => hover();
  canvas.addEventListener("wheel", (event) => {
    if (document.activeElement !== canvas && !event.ctrlKey) return;  // the page scrolls
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), ...point(event));
  }, { passive: false });
  function clear() {
    at("map-search").value = "";
    hover();
    choose([]);
  }
  const inView = (row) => Math.abs(across(row) / canvas.width - 0.5) < 0.5
    && Math.abs(down(row) / canvas.height - 0.5) < 0.5;
  const keys = {
    "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), 0: fit,
    ArrowLeft: () => pan(80, 0), ArrowRight: () => pan(-80, 0),
    ArrowUp: () => pan(0, 80), ArrowDown: () => pan(0, -80),
    Escape: clear, Enter: () => choose(rows.filter(inView)),
  };
  canvas.onkeydown = (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  };
  at("map-search").oninput = search;
  at("map-search").onkeydown = ({ key }) =>
    key === "Escape" ? clear() : key === "Enter" && chosen.length && show(chosen[0]);
  at("map-lasso").onclick = ({ target }) => { target.ariaPressed = !drawsLasso(); };
  at("map-whole").onclick = fit;
  at("map-download").onclick = download;
  at("map-colour").onchange = colour;
  for (const link of document.querySelectorAll("[data-row]"))
    link.onclick = () => choose([Number(link.dataset.row)]) || show(chosen[0]);
  dark.addEventListener("change", colour);
  at("map").hidden = false;
  new ResizeObserver(resize).observe(canvas);
  colour();
})();
