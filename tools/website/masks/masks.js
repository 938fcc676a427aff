// The page "masks": two students label every pixel of a scene, or of a photograph, in this browser.
"use strict";

(() => {
  const script = document.currentScript;
  const byId = (id) => document.getElementById(`masks-${id}`);
  const STUDENTS = ["plain", "distilled"];
  const VIEWS = ["image", "truth", ...STUDENTS];

  let told; // content of masks.json
  let networks; // by student
  let scenes = []; // {pixels, truth}
  let shown = null; // {pixels, truth, masks: by student}; truth is null for a photograph

  const fetched = async (name) => {
    const response = await fetch(new URL(name, script.src).href);
    if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
    return response;
  };
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const say = (text) => (byId("verdict").textContent = text);

  /** Paint an image's planes on a canvas, and over it, where there is one, a mask. */
  function paint(canvas, pixels, mask, strength) {
    const area = told.side ** 2;
    canvas.width = canvas.height = told.side;
    const painted = new ImageData(told.side, told.side);
    for (let at = 0; at < area; at++) {
      const covered = mask && mask[at] > 0 ? strength : 0; // the background isn't painted
      for (let c = 0; c < 3; c++) {
        const colour = covered ? told.colours[mask[at]][c] : 0;
        painted.data[4 * at + c] = (1 - covered) * pixels[c * area + at] + covered * colour;
      }
      painted.data[4 * at + 3] = 255;
    }
    canvas.getContext("2d").putImageData(painted, 0, 0);
  }

  /** Return mean IoU over the classes that occur in either mask, as kdcourse.evaluation.mean_iou does. */
  function meanIou(mask, truth) {
    const both = new Array(told.classes.length).fill(0);
    const either = new Array(told.classes.length).fill(0);
    truth.forEach((label, at) => {
      either[label] += 1;
      if (mask[at] === label) both[label] += 1;
      else either[mask[at]] += 1;
    });
    const each = either.flatMap((count, k) => (count ? [both[k] / count] : []));
    return each.reduce((sum, value) => sum + value, 0) / each.length;
  }

  /** Say which classes a mask holds, the largest first, with their shares of the pixels. */
  function inWords(mask) {
    const counts = new Array(told.classes.length).fill(0);
    for (const label of mask) counts[label] += 1;
    const found = told.classes.map((name, k) => [name, counts[k] / mask.length]).slice(1);
    const large = found.filter(([, share]) => share >= 0.005).sort((a, b) => b[1] - a[1]);
    return large.map(([name, share]) => `${name} ${Math.round(100 * share)}\u00a0%`).join(", ") || "no garment";
  }

  function show() {
    const strength = Number(byId("strength").value) / 100;
    byId("strength-shown").textContent = `${byId("strength").value} %`;
    byId("of-truth").hidden = shown.truth === null;
    const masks = { truth: shown.truth, ...shown.masks };
    for (const view of VIEWS) {
      const mask = masks[view] ?? null;
      const canvas = byId(`canvas-${view}`);
      paint(canvas, shown.pixels, mask, strength);
      const words = mask ? inWords(mask) : "";
      const score = mask && shown.truth && view !== "truth" ? `; mean IoU ${Math.round(100 * meanIou(mask, shown.truth))}\u00a0%` : "";
      canvas.setAttribute("aria-label", mask ? `Mask: ${words}` : "The image");
      byId(`words-${view}`).textContent = words + score;
    }
  }

  /** Let both students label an image: Uint8Array of planes. */
  function label(pixels, truth, name) {
    const begin = performance.now();
    const masks = {};
    for (const student of STUDENTS) masks[student] = maskNetworks.classify(networks[student], pixels, told);
    const ms = (performance.now() - begin) / STUDENTS.length;
    shown = { pixels, truth, masks };
    show();
    say(`${name}: ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms per student.`);
  }

  /** Cut the square in the middle out of a photograph, and reduce it to the networks' size: planes. */
  async function planesOf(file) {
    const bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
    const cut = Math.min(bitmap.width, bitmap.height);
    let canvas = document.createElement("canvas");
    // By halves first: a single large step would skip most of the pixels.
    let side = told.side;
    while (side * 2 <= cut) side *= 2;
    canvas.width = canvas.height = side;
    canvas.getContext("2d").drawImage(bitmap, (bitmap.width - cut) / 2, (bitmap.height - cut) / 2, cut, cut, 0, 0, side, side);
    bitmap.close();
    while (side > told.side) {
      const smaller = document.createElement("canvas");
      side /= 2;
      smaller.width = smaller.height = side;
      smaller.getContext("2d").drawImage(canvas, 0, 0, side, side);
      canvas = smaller;
    }
    const { data } = canvas.getContext("2d").getImageData(0, 0, side, side);
    const area = side ** 2;
    return Uint8Array.from({ length: 3 * area }, (_, at) => data[4 * (at % area) + Math.floor(at / area)]);
  }

  async function take(file) {
    if (!file || !networks) return;
    try {
      label(await planesOf(file), null, "Your photograph");
      for (const tile of byId("tiles").children) tile.setAttribute("aria-pressed", "false");
    } catch {
      say(`${file.name} can't be read as an image. Choose a JPEG or PNG file.`);
    }
  }

  function choose(place) {
    [...byId("tiles").children].forEach((tile, at) => tile.setAttribute("aria-pressed", String(at === place)));
    label(scenes[place].pixels, scenes[place].truth, `Scene ${place + 1}`);
  }

  function offer() {
    const area = told.side ** 2;
    const [pixels, truths] = [bytesOf(told.pixels), bytesOf(told.masks)];
    scenes = Array.from({ length: truths.length / area }, (_, n) => ({
      pixels: pixels.subarray(3 * n * area, 3 * (n + 1) * area),
      truth: truths.subarray(n * area, (n + 1) * area),
    }));
    scenes.forEach((scene, place) => {
      const tile = document.createElement("button");
      tile.type = "button";
      tile.setAttribute("aria-label", `Scene ${place + 1}: ${inWords(scene.truth)}`);
      const canvas = document.createElement("canvas");
      paint(canvas, scene.pixels, null, 0);
      tile.append(canvas);
      tile.addEventListener("click", () => choose(place));
      byId("tiles").append(tile);
    });
    told.classes.slice(1).forEach((name, k) => {
      const entry = document.createElement("li");
      const swatch = document.createElement("i");
      swatch.style.background = `rgb(${told.colours[k + 1].join(" ")})`;
      entry.append(swatch, name);
      byId("legend").append(entry);
    });
    for (const student of STUDENTS) {
      const { learned, iou, bytes } = told.models[student];
      byId(`learned-${student}`).textContent = `${learned}; ${Math.round(bytes / 1e3)} kB; mean IoU ${Math.round(100 * iou)} % on test scenes`;
    }
  }

  async function start() {
    try {
      told = await (await fetched("masks.json")).json();
      networks = {};
      for (const student of STUDENTS) {
        const { file, stride } = told.models[student];
        networks[student] = maskNetworks.build(await (await fetched(file)).arrayBuffer(), stride);
      }
    } catch (error) {
      networks = undefined;
      say(`The students could not be loaded (${error.message}). Load the page again.`);
      return;
    }
    offer();
    byId("strength").addEventListener("input", show);
    byId("file").addEventListener("change", () => take(byId("file").files[0]));
    const zone = document.getElementById("masks");
    zone.addEventListener("dragover", (event) => event.preventDefault());
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      take(event.dataTransfer.files[0]);
    });
    choose(0);
  }

  start();
})();
