// The page "live": test garments or a drawing, for which the student, run by ONNX Runtime Web in this browser, computes probabilities.
//
// A classic script, not a module: it also runs, and can explain what to do, if the page was opened as a file.
"use strict";

(() => {
  const script = document.currentScript;
  const beside = (name) => new URL(name, script.src).href;
  const engine = new URL(script.dataset.engine, document.baseURI).href;
  const byId = (id) => document.getElementById(`live-${id}`);

  const ROUNDS = 31; // timed rounds; the median of short rounds is least disturbed by other programs
  const ROUND_MS = 8; // browsers round their clocks, some to a millisecond
  const WARM_UP = 20;
  const UNDOS = 100;
  const TILE = 56; // CSS pixels, twice the image's

  let garments; // content of garments.json
  let pixels; // Uint8Array of all its images
  let side; // pixels of a image's side; images are square
  let student = null; // the ONNX session, once loaded
  let loading = null; // its promise, from the first request on
  let shown = null; // the current input: {pixels, name, label, teacher, before}; for a drawing the last three are null
  let logits = null; // the student's logits for the current input
  let isLive = false; // whether these were computed here, not when the page was built
  let lastPicked = 0; // number of the garment that a drawing can start from
  let latest = 0; // number of the latest request; results of earlier ones are not shown
  let line = Promise.resolve(); // requests are computed one at a time

  // -- helpers ---------------------------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const pause = () => new Promise((resolve) => setTimeout(resolve));

  function median(numbers) {
    const sorted = [...numbers].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }

  function softened(z, temperature) {
    const most = Math.max(...z);
    const weights = z.map((value) => Math.exp((value - most) / temperature));
    const total = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / total);
  }

  const best = (numbers) => numbers.indexOf(Math.max(...numbers));

  function percent(share) {
    if (share > 0 && share < 0.0005) return "<\u00a00.1\u00a0%";
    if (share < 1 && share > 0.9995) return ">\u00a099.9\u00a0%";
    return `${(100 * share).toFixed(1)}\u00a0%`;
  }

  function size(bytes) {
    return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  }

  function paint(canvas, values) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    values.forEach((value, at) => image.data.set([value, value, value, 255], 4 * at));
    context.putImageData(image, 0, 0);
  }

  function trouble(...content) {
    byId("trouble").replaceChildren(...content);
    byId("trouble").hidden = false;
    byId("status").hidden = true;
  }

  const temperature = () => Number(byId("t").value);

  // -- the student ----------------------------------------------------------------------------------------------------

  function inLine(work) {
    const turn = line.then(work);
    line = turn.catch(() => {});
    return turn;
  }

  async function run(values) {
    const input = new ort.Tensor("uint8", values, [1, 1, side, side]);
    const answers = await student.run({ pixels: input });
    return Array.from(answers.logits.data);
  }

  async function ask() {
    const question = ++latest;
    isLive = student !== null;
    logits = isLive ? null : (shown?.before ?? null);
    if (isLive && shown !== null) {
      const { pixels: values } = shown;
      const found = await inLine(() => (question === latest ? run(values) : null));
      if (question !== latest) return;
      logits = found;
    }
    show();
  }

  /** Measure the median milliseconds per image, over rounds long enough for a coarse clock. */
  async function latency(values) {
    for (let i = 0; i < WARM_UP; i++) await run(values);
    const time = async (runs) => {
      const begin = performance.now();
      for (let i = 0; i < runs; i++) await run(values);
      return performance.now() - begin;
    };
    let runs = 1;
    while (runs < 4096 && Math.min(await time(runs), await time(runs), await time(runs)) < ROUND_MS) runs *= 2;
    const times = [];
    for (let round = 0; round < ROUNDS; round++) {
      times.push((await time(runs)) / runs);
      await pause(); // lets the page react
    }
    return { median: median(times), runs };
  }

  async function measure() {
    byId("again").hidden = false;
    byId("again").disabled = true;
    byId("latency").textContent = "measuring";
    const values = shown === null ? pixels.slice(0, side * side) : shown.pixels;
    const { median: ms, runs } = await inLine(() => latency(values));
    byId("latency").dataset.ms = ms;
    byId("latency").textContent = `${ms.toPrecision(2)} ms (median of ${ROUNDS} rounds of ${runs}, after warming up)`;
    byId("again").disabled = false;
  }

  function load(address) {
    return new Promise((resolve, reject) => {
      const part = element("script", { src: address });
      part.addEventListener("load", resolve);
      part.addEventListener("error", () => reject(new Error(`${address} could not be loaded`)));
      document.head.append(part);
    });
  }

  async function fetched(address) {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(`${address}: ${answer.status} ${answer.statusText}`);
    return answer;
  }

  /** Load a file's bytes; `arrived` is called with the number so far. */
  async function bytesOf(address, arrived) {
    const reader = (await fetched(address)).body.getReader();
    const parts = [];
    for (let sum = 0, part = await reader.read(); !part.done; part = await reader.read()) {
      parts.push(part.value);
      arrived((sum += part.value.length));
    }
    return new Blob(parts).arrayBuffer();
  }

  async function start() {
    const file = await (await fetched(beside("student.onnx"))).arrayBuffer();
    await load(`${engine}ort.wasm.min.js`);
    ort.env.wasm.wasmBinary = await bytesOf(`${engine}ort-wasm-simd-threaded.wasm`, (sum) => {
      byId("progress").value = sum / garments.engineBytes;
    });
    // One thread: more would need special headers from the server, and this student is too small to benefit.
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = engine;
    ort.env.logLevel = "error";
    student = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
    byId("model").dataset.bytes = file.byteLength;
    const parts = performance.getEntriesByType("resource").filter((entry) => entry.name.startsWith(engine));
    const bytes = parts.reduce((sum, entry) => sum + entry.decodedBodySize, 0);
    byId("engine").textContent = `ONNX Runtime Web${bytes > 0 ? `, ${size(bytes)} unpacked` : ""}, on one thread`;
  }

  /** Load the student at the first request. */
  function wake() {
    if (loading === null && !byId("go").hidden) loading = awaken();
  }

  async function awaken() {
    const hadFocus = document.activeElement === byId("go");
    byId("go").hidden = true;
    if (hadFocus) (document.querySelector('input[name="live-garment"]:checked') ?? byId("canvas")).focus();
    byId("progress").hidden = false;
    byId("status").textContent = `The student is being loaded (${size(garments.engineBytes)}). The teacher's answers are shown already.`;
    show();
    try {
      await start();
    } catch (error) {
      student = null;
      withoutStudent(`The student could not be started (${error.message}). Another or a newer browser may do.`);
      return;
    } finally {
      byId("progress").hidden = true;
    }
    byId("status").textContent = "The student is loaded and runs in this browser.";
    await ask();
    await measure();
  }

  // -- what is shown --------------------------------------------------------------------------------------------------

  function cell(share, highest) {
    if (share === null) return element("td", { class: "live-none" }, "–");
    const number = element("span", { class: "live-number" }, percent(share));
    const bar = element("span", { class: "live-bar", "aria-hidden": "true" }, element("span"));
    bar.firstChild.style.width = `${100 * share}%`;
    const made = element("td", { "data-probability": share }, number, bar);
    if (highest) number.append(" ", element("span", { class: "live-mark" }, "answer"));
    return made;
  }

  function show() {
    const t = temperature();
    const columns = [shown?.teacher ?? null, logits].map((z) => (z === null ? null : softened(z, t)));
    const answers = columns.map((column) => (column === null ? null : best(column)));
    byId("t-shown").textContent = t.toFixed(1);
    byId("t").setAttribute("aria-valuetext", `T = ${t.toFixed(1)}`);
    byId("caption").textContent =
      `Probabilities at T = ${t.toFixed(1)}: of the teacher (${garments.teacher.members} networks) and of the student`;
    byId("rows").replaceChildren(
      ...garments.classes.map((name, k) => {
        const head = element("th", { scope: "row" }, name);
        if (shown?.label === k) head.append(" ", element("span", { class: "live-mark" }, "true"));
        return element("tr", {}, head, ...columns.map((p, i) => cell(p === null ? null : p[k], answers[i] === k)));
      }),
    );
    byId("verdict").textContent = verdict(columns, answers);
  }

  function verdict([teacher, own], [teachers, owns]) {
    if (shown === null) return "Pick a garment or draw one.";
    const of = (p, k) => `${garments.classes[k]}, ${percent(p[k])}`;
    const who = isLive ? "The student says" : "The student said when this page was built";
    const coming = loading !== null && student === null && byId("trouble").hidden ? "The student is being loaded. " : "";
    const said = coming + (own === null ? "" : `${who}: ${of(own, owns)}. `);
    if (shown.teacher === null) {
      return `${said}A drawing has no teacher's answer: the ${garments.teacher.members} teachers are not in this page.`;
    }
    const judged = own === null ? "" : owns === shown.label ? "Right. " : `Wrong: it is ${garments.classes[shown.label]}. `;
    return `${said}${judged}The teacher says: ${of(teacher, teachers)}.`;
  }

  function choose(chosen) {
    shown = chosen;
    const input = byId("input");
    input.setAttribute("aria-label", chosen === null ? "Nothing chosen yet" : chosen.name);
    paint(input, chosen === null ? new Uint8Array(side * side) : chosen.pixels);
    return ask();
  }

  // -- garments to pick -----------------------------------------------------------------------------------------------

  const image = (n) => pixels.slice(n * side * side, (n + 1) * side * side);

  function pick(n) {
    const { index, label, teacher } = garments.images[n];
    lastPicked = n;
    return choose({ pixels: image(n), label, teacher, name: nameOf(label, index), before: n === 0 ? garments.first : null });
  }

  const nameOf = (label, index) => `${garments.classes[label]}, test image ${index}`;

  function tile(n) {
    const { index, label, hard } = garments.images[n];
    const columns = garments.classes.length;
    const radio = element("input", { type: "radio", name: "live-garment", value: n, title: garments.classes[label] });
    radio.setAttribute("aria-label", nameOf(label, index));
    radio.style.backgroundImage = `url("${beside("garments.png")}")`;
    radio.style.backgroundSize = `${TILE * columns}px auto`;
    radio.style.backgroundPosition = `${-TILE * (n % columns)}px ${-TILE * Math.floor(n / columns)}px`;
    radio.addEventListener("change", () => {
      wake();
      pick(n);
    });
    byId(hard ? "hard" : "easy").append(radio);
  }

  // -- drawing --------------------------------------------------------------------------------------------------------

  // The drawing is stored here and only painted on the canvas: some browsers alter pixels that are read from a canvas.
  const drawing = { values: null, before: null, covered: null, done: [], pen: [14, 14], down: false, seen: false };

  const shade = () => Number(document.querySelector('input[name="live-shade"]:checked').value);

  function remember() {
    drawing.done.push(drawing.values.slice());
    if (drawing.done.length > UNDOS) drawing.done.shift();
  }

  function begin([x, y]) {
    remember();
    drawing.before = drawing.values.slice();
    drawing.covered = new Float32Array(side * side); // share of each pixel that this stroke covers
    stroke([x, y], [x, y]);
  }

  /** Draw a line of the pen's width with a soft edge of one pixel, from here to there, in the image's pixels. */
  function stroke([x0, y0], [x1, y1]) {
    const radius = Number(byId("width").value) / 2;
    const [dx, dy] = [x1 - x0, y1 - y0];
    const length2 = dx * dx + dy * dy;
    const colour = shade();
    for (let at = 0; at < side * side; at++) {
      const [x, y] = [(at % side) + 0.5, Math.floor(at / side) + 0.5];
      const along = length2 > 0 ? Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / length2)) : 0;
      const distance = Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
      const share = Math.min(1, Math.max(0, radius + 0.5 - distance));
      if (share > drawing.covered[at]) {
        drawing.covered[at] = share;
        drawing.values[at] = Math.round(drawing.before[at] * (1 - share) + colour * share);
      }
    }
    drawing.pen = [x1, y1];
    drawn();
  }

  function repaint() {
    const canvas = byId("canvas");
    paint(canvas, drawing.values);
    if (!drawing.seen) return;
    // A dot at the pen's position, for keyboard users; it isn't part of the input.
    const context = canvas.getContext("2d");
    context.fillStyle = drawing.down ? "#ff8c1a" : "#4db8ff";
    context.fillRect(Math.floor(drawing.pen[0]), Math.floor(drawing.pen[1]), 1, 1);
  }

  function drawn() {
    repaint();
    byId("undo").disabled = drawing.done.length === 0;
    for (const radio of document.querySelectorAll('input[name="live-garment"]:checked')) radio.checked = false;
    const empty = drawing.values.every((value) => value === 0);
    if (!empty) wake();
    choose(empty ? null : { pixels: drawing.values.slice(), label: null, teacher: null, name: "Your drawing" });
  }

  function drawable() {
    const canvas = byId("canvas");
    drawing.values = new Uint8Array(side * side);
    drawing.pen = [side / 2, side / 2];
    paint(canvas, drawing.values);
    byId("undo").disabled = true;

    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
    };
    let pointer = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || pointer !== null) return;
      pointer = event.pointerId;
      canvas.setPointerCapture(pointer);
      drawing.seen = drawing.down = false;
      begin(place(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== pointer) return;
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length > 0 ? steps : [event]) stroke(drawing.pen, place(step));
    });
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => {
        if (event.pointerId === pointer) pointer = null;
      });
    }

    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === " ") {
        drawing.down = !drawing.down;
        drawing.seen = true;
        if (drawing.down) begin(drawing.pen);
        else repaint();
      } else if (event.key in ways) {
        const inside = (value) => Math.min(side - 0.5, Math.max(0.5, Math.floor(value) + 0.5));
        const there = drawing.pen.map((value, axis) => inside(value + ways[event.key][axis]));
        drawing.seen = true;
        if (drawing.down) stroke(drawing.pen, there);
        else {
          drawing.pen = there;
          repaint();
        }
      } else return;
      event.preventDefault();
    });
    canvas.addEventListener("blur", () => {
      drawing.seen = drawing.down = false;
      repaint();
    });
    byId("undo").addEventListener("click", () => {
      drawing.values = drawing.done.pop();
      drawn();
    });
    byId("clear").addEventListener("click", () => {
      remember();
      drawing.values = new Uint8Array(side * side);
      drawn();
    });
    byId("copy").addEventListener("click", () => {
      remember();
      drawing.values = image(lastPicked);
      drawn();
      canvas.focus();
    });
    const width = () => (byId("width-shown").textContent = `${byId("width").value} pixels`);
    byId("width").addEventListener("input", width);
    width();
  }

  // -- start ------------------------------------------------------------------------------------------------------

  function howToServe() {
    const code = (text) => element("code", {}, text);
    return [
      "This page was opened as a file, and this browser doesn't allow it to load the student. Start a server in the " +
        "folder of this page, ", code("python -m http.server"), ", and open ", code("http://localhost:8000/live.html"), ".",
    ];
  }

  function layOut() {
    garments.images.forEach((_, n) => tile(n));
    drawable();
    const { student: own, teacher, testImages } = garments;
    const words = [["student", own], ["teacher", teacher]]
      .filter(([, { accuracy }]) => accuracy !== null)
      .map(([who, { accuracy }]) => `${who} ${percent(accuracy)}`);
    byId("accuracy").textContent = `${words.join(", ")} of ${testImages.toLocaleString("en")} images`;
    byId("accuracy").parentElement.hidden = words.length === 0;
    byId("engine").textContent = `ONNX Runtime Web, ${size(garments.engineBytes)}, loaded at the first request`;
    byId("model").textContent =
      `${size(garments.fileBytes)}, ${own.parameters.toLocaleString("en")} weights; the ${teacher.members} teachers: ` +
      `${size(teacher.bytes)}, ${teacher.parameters.toLocaleString("en")} weights`;
    byId("go").addEventListener("click", wake);
    byId("t").addEventListener("input", show);
    byId("again").addEventListener("click", measure);
    byId("controls").hidden = false;
    document.querySelector('input[name="live-garment"]').checked = true;
    pick(0);
  }

  async function open() {
    try {
      garments = await (await fetched(beside("garments.json"))).json();
    } catch (error) {
      if (location.protocol === "file:") trouble(...howToServe());
      else trouble(`The test garments could not be loaded (${error.message}). Load the page again.`);
      return;
    }
    side = garments.size[0];
    pixels = Uint8Array.from(atob(garments.pixels), (character) => character.charCodeAt(0));
    layOut();
    if (typeof WebAssembly !== "object") {
      withoutStudent("The student needs WebAssembly, which this browser lacks or has disabled (for example in lockdown mode).");
      return;
    }
    byId("go").textContent = `Start the student (${size(garments.engineBytes)})`;
    byId("go").hidden = false;
    byId("status").textContent = "Pick or draw something, or press Start. The student and the ONNX runtime are then loaded once. " +
      "The student's bars for the first garment were computed when this page was built.";
  }

  function withoutStudent(reason) {
    trouble(`${reason} Below are only the teacher's answers; drawing is not possible.`);
    byId("draw").hidden = true;
    byId("facts").hidden = true;
    show();
  }

  open();
})();
