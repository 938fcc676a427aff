// The page "live_masks": a test scene or a photograph, in which two students mark garments pixel by pixel in this browser.
//
// Uses common.js. The networks run in a worker (masks_worker.js, masks_network.js).
"use strict";

(() => {
  const { beginPage, byId, duration, element, fetched, fetchedJson, fromBase64 } = liveCommon;
  const { latestOnly, medians, percent, size, startWorker } = liveCommon;

  const STUDENTS = ["plain", "distilled"];
  const CALLED = { truth: "True mask", plain: "Mask of the plain student", distilled: "Mask of the distilled student" };
  const SCALE = 4; // pixels of a canvas per pixel of the image, so that numbers and borders are sharp
  const STRENGTH = 0.7; // of a class's colour over the image
  const SPACE = 4; // pixels between a region's number and its border, at least
  const FINE = 4; // a photograph is drawn this many times as large as needed and then averaged, whatever the browser does
  const MOST_DIFFERENCE = 8; // of 256 levels, between what is painted on a canvas and what is read from it
  const NONE = 255; // of pixels that are left unlabelled

  let told; // content of masks.json
  let side; // pixels of an image's side; images are square
  let scenes; // test scenes as questions, see `put`
  let question = null; // what is shown: {pixels: [side * side * 3] uint8, truth: [side * side] or null, name, value}
  let photo = null; // the latest photograph as a question
  let shown = {}; // by model: {question, best, confidence: [side * side]}, the latest answer
  let masks = {}; // by "truth" and model: [side * side] classes, as they are shown
  let sheets = {}; // by "picture" and names of masks: what is painted, but for the mark of a pixel
  let spot = null; // the pixel whose classes are named: [x, y]
  const times = medians();

  const panel = (name) => document.querySelector(`#live [data-mask="${name}"]`);
  const within = (model, part) => document.querySelector(`#live tr[data-model="${model}"] .live-${part}`);
  const canvases = () => ({ picture: byId("picture"), ...Object.fromEntries(Object.keys(CALLED).map((name) => [name, panel(name).querySelector("canvas")])) });

  // -- masks ---------------------------------------------------------------------------------------------------------

  /** The likeliest class of every pixel and its probability, from logits [classes * side * side]. */
  function decided(logits) {
    const area = side * side;
    const best = new Uint8Array(area);
    const confidence = new Float32Array(area);
    for (let at = 0; at < area; at++) {
      let most = 0;
      for (let k = 1; k < told.classes.length; k++) if (logits[k * area + at] > logits[most * area + at]) most = k;
      let total = 0;
      for (let k = 0; k < told.classes.length; k++) total += Math.exp(logits[k * area + at] - logits[most * area + at]);
      best[at] = most;
      confidence[at] = 1 / total;
    }
    return { best, confidence };
  }

  /** Mean IoU over the classes that occur in either mask. Pixels that are left unlabelled are of no class. */
  function meanIou(mask, truth) {
    const each = [];
    for (let k = 0; k < told.classes.length; k++) {
      let [both, either] = [0, 0];
      for (let at = 0; at < mask.length; at++) {
        both += mask[at] === k && truth[at] === k;
        either += mask[at] === k || truth[at] === k;
      }
      if (either > 0) each.push(both / either);
    }
    return each.reduce((a, b) => a + b) / each.length;
  }

  const shares = (mask) => [...told.classes.keys(), NONE].map((k) => mask.reduce((sum, each) => sum + (each === k), 0) / mask.length);

  /** Where a region of a garment has space for its number: [x, y, class], the pixel that is furthest from its border. */
  function spots(mask) {
    const depth = new Uint16Array(side * side).fill(side);
    const same = (at, x, y) => x >= 0 && x < side && y >= 0 && y < side && mask[y * side + x] === mask[at];
    const sweep = (order, near) => {
      for (const at of order) {
        const [x, y] = [at % side, Math.floor(at / side)];
        for (const [dx, dy] of near) {
          const distance = same(at, x + dx, y + dy) ? depth[(y + dy) * side + x + dx] + 1 : 1;
          depth[at] = Math.min(depth[at], distance);
        }
      }
    };
    const order = [...mask.keys()];
    sweep(order, [[-1, 0], [0, -1], [-1, -1], [1, -1]]);
    sweep(order.reverse(), [[1, 0], [0, 1], [1, 1], [-1, 1]]);
    const seen = new Uint8Array(side * side);
    const found = [];
    for (let start = 0; start < mask.length; start++) {
      if (seen[start] || !isThing(mask[start])) continue;
      let deepest = start;
      const open = [start];
      seen[start] = 1;
      while (open.length > 0) {
        const at = open.pop();
        if (depth[at] > depth[deepest]) deepest = at;
        const [x, y] = [at % side, Math.floor(at / side)];
        for (const [dx, dy] of [[-1, 0], [1, 0], [0, -1], [0, 1]]) {
          const next = at + dy * side + dx;
          if (same(at, x + dx, y + dy) && !seen[next]) {
            seen[next] = 1;
            open.push(next);
          }
        }
      }
      if (depth[deepest] >= SPACE) found.push([deepest % side, Math.floor(deepest / side), mask[deepest]]);
    }
    return found;
  }

  const isThing = (k) => k > 0 && k < told.classes.length; // class 0 is the background

  // -- painting ------------------------------------------------------------------------------------------------------

  /** The image, and over it a mask unless that is null: colours, borders and numbers of classes. */
  function painted(mask) {
    const small = new ImageData(side, side);
    for (let at = 0; at < side * side; at++) {
      const over = mask === null ? null : overlay(mask[at], at);
      for (let c = 0; c < 3; c++) {
        const value = question.pixels[3 * at + c];
        small.data[4 * at + c] = over === null ? value : (1 - STRENGTH) * value + STRENGTH * over[c];
      }
      small.data[4 * at + 3] = 255;
    }
    const [pixels, sheet] = [side, side * SCALE].map((length) => new OffscreenCanvas(length, length));
    pixels.getContext("2d").putImageData(small, 0, 0);
    const context = sheet.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(pixels, 0, 0, sheet.width, sheet.height);
    if (mask !== null) {
      outline(context, mask);
      number(context, mask);
    }
    return sheet;
  }

  /** The colour over a pixel: none for the background, a class's own, chequered where the pixel is left unlabelled. */
  function overlay(k, at) {
    if (k === NONE) return Array(3).fill((Math.floor((at % side) / 2) + Math.floor(at / side / 2)) % 2 === 0 ? 89 : 242);
    return isThing(k) ? told.colours[k].match(/\w\w/g).map((digits) => parseInt(digits, 16)) : null;
  }

  function outline(context, mask) {
    context.fillStyle = "#000";
    for (let at = 0; at < mask.length; at++) {
      const [x, y] = [at % side, Math.floor(at / side)];
      if (x + 1 < side && mask[at] !== mask[at + 1]) context.fillRect((x + 1) * SCALE - 1, y * SCALE - 1, 2, SCALE + 2);
      if (y + 1 < side && mask[at] !== mask[at + side]) context.fillRect(x * SCALE - 1, (y + 1) * SCALE - 1, SCALE + 2, 2);
    }
  }

  function number(context, mask) {
    Object.assign(context, { textAlign: "center", textBaseline: "middle", lineJoin: "round", lineWidth: 7, strokeStyle: "#fff", fillStyle: "#000" });
    context.font = `bold ${8 * SCALE}px sans-serif`;
    for (const [x, y, k] of spots(mask)) {
      for (const draw of ["strokeText", "fillText"]) context[draw](k, (x + 0.5) * SCALE, (y + 0.5) * SCALE + 2);
    }
  }

  /** Frame the pixel whose classes are named. */
  function mark(context) {
    if (spot === null) return;
    const [x, y] = spot.map((value) => (value + 0.5) * SCALE);
    for (const [width, colour] of [[6, "#000"], [3, "#fff"]]) {
      Object.assign(context, { lineWidth: width, strokeStyle: colour });
      context.strokeRect(x - 10, y - 10, 20, 20);
    }
  }

  function repaint() {
    for (const [name, canvas] of Object.entries(canvases())) {
      canvas.width = canvas.height = side * SCALE; // which clears it
      if (!(name in sheets)) continue;
      canvas.getContext("2d").drawImage(sheets[name], 0, 0);
      mark(canvas.getContext("2d"));
    }
  }

  // -- what is shown -------------------------------------------------------------------------------------------------

  const say = (text) => (byId("verdict").textContent = text);

  function show() {
    const least = Number(byId("least").value);
    byId("least-shown").textContent = least.toFixed(2);
    byId("least").setAttribute("aria-valuetext", least.toFixed(2));
    masks = question.truth ? { truth: question.truth } : {};
    for (const model of STUDENTS) {
      if (shown[model]?.question !== question) continue;
      const { best, confidence } = shown[model];
      masks[model] = best.map((k, at) => (confidence[at] < least ? NONE : k));
    }
    const iou = {};
    for (const model of STUDENTS) {
      iou[model] = masks[model] && masks.truth ? meanIou(masks[model], masks.truth) : null;
      const text = iou[model] === null ? "–" : percent(iou[model], 1);
      within(model, "own-iou").textContent = text;
      within(model, "own-iou").dataset.iou = iou[model] ?? "";
      panel(model).querySelector(".live-iou").textContent = iou[model] === null ? "" : `IoU\u00a0${text}`;
    }
    panel("truth").classList.toggle("live-none", !masks.truth);
    panel("truth").querySelector(".live-iou").textContent = !masks.truth ? "not known" : "";
    showShares();
    sheets = { picture: painted(null), ...Object.fromEntries(Object.entries(masks).map(([name, mask]) => [name, painted(mask)])) };
    repaint();
    nameSpot();
    if (STUDENTS.every((model) => masks[model])) say(verdict(iou));
  }

  function showShares() {
    const all = Object.fromEntries(Object.entries(masks).map(([name, mask]) => [name, shares(mask)]));
    rows.forEach((cells, place) => {
      for (const [name, cell] of Object.entries(cells)) {
        const share = all[name]?.[place];
        cell.textContent = share === undefined ? "–" : percent(share, 1);
        cell.dataset.share = share ?? "";
      }
    });
    for (const [name, words] of Object.entries(CALLED)) {
      const parts = (all[name] ?? []).map((share, place) => [share, place]).filter(([share]) => share > 0);
      const told_ = parts.sort(([a], [b]) => b - a).map(([share, place]) => `${called(place)} ${percent(share)}`);
      panel(name).querySelector("canvas").setAttribute("aria-label", `${words}: ${told_.join(", ") || "none"}`);
    }
  }

  const called = (k) => told.classes[k] ?? "unlabelled";

  function verdict({ plain, distilled }) {
    if (plain === null) return `${question.name}: nobody drew a true mask, so judge for yourself.`;
    const ahead = 100 * (distilled - plain);
    const who = ahead >= 0 ? "the distilled student is ahead" : "the plain student is ahead";
    const apart = Math.abs(ahead) < 0.05 ? "both students have the same mean IoU" : `${who} by ${Math.abs(ahead).toFixed(1)} points of mean IoU`;
    return `${question.name}: ${apart}.`;
  }

  /** Name the classes of the pixel that was pointed at. */
  function nameSpot() {
    if (spot === null) return;
    const at = spot[1] * side + spot[0];
    const parts = Object.entries(masks).map(([name, mask]) => {
      const sure = name === "truth" ? "" : `, ${percent(shown[name].confidence[at])}`;
      return `${{ truth: "True", plain: "Plain", distilled: "Distilled" }[name]}: ${called(mask[at])}${sure}`;
    });
    byId("pixel").textContent = `Row ${spot[1] + 1}, column ${spot[0] + 1}. ${parts.join(". ")}.`;
  }

  // -- questions -----------------------------------------------------------------------------------------------------

  let worker = null;
  const ask = latestOnly(async (current) => {
    try {
      const answers = await send({ pixels: current.pixels });
      for (const [model, { logits, ms }] of Object.entries(answers)) {
        shown[model] = { question: current, ...decided(logits) };
        const median = times.add(model, ms);
        within(model, "ms").textContent = duration(median);
        within(model, "ms").dataset.ms = median;
      }
      show();
    } catch (error) {
      say(`The networks can't answer (${error.message}). Load the page again.`);
    }
  });
  const send = (content, transferred) =>
    worker.send({ ...content, input: { side, mean: told.mean, std: told.std } }, transferred);

  /** Show an image and have it answered. */
  function put(asked) {
    question = asked;
    refuse("");
    byId("picture").setAttribute("aria-label", `${asked.name}, ${side} by ${side} pixels`);
    for (const radio of document.querySelectorAll('input[name="live-scene"]')) radio.checked = radio.value === asked.value;
    show();
    if (worker !== null) ask(asked);
  }

  function unpacked(runs) {
    const mask = new Uint8Array(side * side);
    let at = 0;
    for (let n = 0; n < runs.length; n += 2) at = mask.fill(runs[n], at, at + runs[n + 1]) && at + runs[n + 1];
    return mask;
  }

  function tile(asked, group) {
    const things = [...new Set(asked.truth)].filter(isThing).map(called);
    const words = `${asked.name}: ${things.join(", ")}`;
    const radio = element("input", { type: "radio", name: "live-scene", value: asked.value, title: words, "aria-label": words });
    radio.style.backgroundImage = thumbnail(asked.pixels);
    radio.addEventListener("change", () => put(asked));
    byId(group).append(radio);
  }

  function thumbnail(pixels) {
    const canvas = element("canvas", { width: side, height: side });
    const small = new ImageData(side, side);
    for (let at = 0; at < side * side; at++) small.data.set([...pixels.subarray(3 * at, 3 * at + 3), 255], 4 * at);
    canvas.getContext("2d").putImageData(small, 0, 0);
    return `url(${canvas.toDataURL()})`;
  }

  // -- photographs ---------------------------------------------------------------------------------------------------

  function refuse(text) {
    byId("refused").textContent = text;
    byId("refused").hidden = text === "";
  }

  /** Read a photograph's centred square, scaled to the size of a scene; a file that is no image is refused. */
  async function read(file) {
    let image;
    try {
      image = await createImageBitmap(file);
    } catch {
      refuse(
        `"${file.name}" can't be shown: this browser reads no image from it (type: ${file.type || "unknown"}). ` +
          "Choose a photograph in PNG, JPEG or WebP format.",
      );
      return;
    }
    try {
      photo = { pixels: squared(image), truth: null, name: `Your photograph "${file.name}"`, value: "photo" };
    } catch (error) {
      refuse(error.message);
      return;
    } finally {
      image.close();
    }
    byId("photo").disabled = false;
    byId("photo").style.backgroundImage = thumbnail(photo.pixels);
    byId("photo").title = photo.name;
    put(photo);
  }

  function squared(image) {
    const fine = side * FINE;
    const context = new OffscreenCanvas(fine, fine).getContext("2d", { willReadFrequently: true });
    checkReading(context);
    const length = Math.min(image.width, image.height);
    context.fillStyle = "#fff"; // behind transparent parts
    context.fillRect(0, 0, fine, fine);
    context.imageSmoothingQuality = "high";
    context.drawImage(image, (image.width - length) / 2, (image.height - length) / 2, length, length, 0, 0, fine, fine);
    const { data } = context.getImageData(0, 0, fine, fine);
    const pixels = new Uint8Array(side * side * 3);
    for (let at = 0; at < pixels.length; at++) {
      const [x, y, c] = [Math.floor(at / 3) % side, Math.floor(at / 3 / side), at % 3];
      let sum = 0;
      for (let dy = 0; dy < FINE; dy++) {
        for (let dx = 0; dx < FINE; dx++) sum += data[4 * ((y * FINE + dy) * fine + x * FINE + dx) + c];
      }
      pixels[at] = Math.round(sum / FINE ** 2);
    }
    return pixels;
  }

  /** Some browsers give pages random pixels, to prevent fingerprinting; a mask of those would be nonsense. */
  function checkReading(context) {
    context.fillStyle = "#808080";
    context.fillRect(0, 0, 8, 8);
    const { data } = context.getImageData(0, 0, 8, 8);
    if (data.some((value, at) => at % 4 < 3 && Math.abs(value - 128) > MOST_DIFFERENCE)) {
      throw new Error(
        "This browser doesn't let pages read an image's pixels (protection against fingerprinting), so the students can't " +
          "see your photograph. Allow this page to read canvas data, or use another browser.",
      );
    }
  }

  function acceptPhotographs() {
    byId("choose").addEventListener("click", () => byId("file").click());
    byId("file").addEventListener("change", () => {
      const [file] = byId("file").files;
      if (file) read(file);
      byId("file").value = ""; // so that the same file can be chosen again
    });
    byId("photo").addEventListener("change", () => put(photo));
    const holds = (event) => event.dataTransfer?.types.includes("Files");
    const over = (is) => byId("controls").classList.toggle("live-over", is);
    addEventListener("dragover", (event) => {
      if (!holds(event)) return;
      event.preventDefault(); // or the browser would open the file in place of the page
      over(true);
    });
    addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) over(false);
    });
    addEventListener("drop", (event) => {
      over(false);
      if (!holds(event)) return;
      event.preventDefault();
      if (event.dataTransfer.files.length > 0) read(event.dataTransfer.files[0]);
    });
    addEventListener("paste", (event) => {
      const [file] = event.clipboardData?.files ?? [];
      if (file) read(file);
    });
  }

  // -- the pixel that is named ---------------------------------------------------------------------------------------

  function nameUnderPointer() {
    for (const canvas of Object.values(canvases())) {
      for (const kind of ["pointermove", "pointerdown"]) {
        canvas.addEventListener(kind, (event) => {
          const box = canvas.getBoundingClientRect();
          const inside = (share) => Math.min(side - 1, Math.max(0, Math.floor(share * side)));
          byId("pixel").setAttribute("aria-live", "off"); // only what keys do is read out
          point(inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height));
        });
      }
    }
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    byId("picture").addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in ways)) return;
      event.preventDefault();
      const [dx, dy] = ways[event.key].map((step) => step * (event.shiftKey ? 8 : 1));
      const [x, y] = spot ?? [side / 2, side / 2];
      byId("pixel").setAttribute("aria-live", "polite");
      point(Math.min(side - 1, Math.max(0, x + dx)), Math.min(side - 1, Math.max(0, y + dy)));
    });
  }

  function point(x, y) {
    if (spot?.[0] === x && spot?.[1] === y) return;
    spot = [x, y];
    repaint();
    nameSpot();
  }

  // -- start ---------------------------------------------------------------------------------------------------------

  let rows = []; // by class, the last one of unlabelled pixels: {truth, plain, distilled}, table cells
  function layOut() {
    for (const model of STUDENTS) {
      const { bytes, iou, learned } = told.models[model];
      within(model, "size").textContent = size(bytes);
      within(model, "all-iou").textContent = percent(iou, 1);
      byId(`${model}-learned`).textContent = learned;
    }
    rows = [...told.classes.keys(), NONE].map((k) => {
      const swatch = element("span", { class: `live-swatch ${k === NONE ? "live-unlabelled" : ""}`, "aria-hidden": "true" });
      if (isThing(k)) swatch.style.background = told.colours[k];
      const digit = isThing(k) ? [element("span", { class: "live-digit" }, String(k))] : [];
      const cells = Object.fromEntries(Object.keys(CALLED).map((name) => [name, element("td", {}, "–")]));
      byId("rows").append(element("tr", {}, element("th", { scope: "row" }, swatch, ...digit, called(k)), ...Object.values(cells)));
      return cells;
    });
    scenes.forEach((asked, n) => tile(asked, told.scenes[n].group));
    for (const group of ["first", ...STUDENTS]) byId(group).parentElement.hidden = byId(group).children.length === 0;
    acceptPhotographs();
    nameUnderPointer();
    byId("least").addEventListener("input", show);
  }

  beginPage(async () => {
    if (!told) {
      told = await fetchedJson("masks.json");
      side = told.side;
      const pixels = fromBase64(told.pixels);
      const each = side * side * 3;
      scenes = told.scenes.map(({ index }, n) => ({
        pixels: pixels.subarray(n * each, (n + 1) * each),
        truth: unpacked(fromBase64(told.masks[n])),
        name: `Test scene ${index}`,
        value: String(index),
      }));
      layOut();
      put(scenes[0]);
    }
    if (worker === null) {
      const files = {};
      for (const model of STUDENTS) {
        const { file, stride } = told.models[model];
        files[model] = { file: await fetched(file), stride };
      }
      worker = startWorker("masks_worker.js");
      try {
        await send({ load: files }, STUDENTS.map((model) => files[model].file));
      } catch (error) {
        worker.stop();
        worker = null;
        throw error;
      }
    }
    ask(question);
  });
})();
