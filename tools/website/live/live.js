// The page "live": a test image or a drawing, which two students, and on demand five teachers, classify in this browser.
//
// Uses common.js. The networks run in workers (worker.js, network.js), one for the students and one for the teachers.
"use strict";

(() => {
  const { beginPage, beside, byId, duration, element, fetched, fetchedJson, fromBase64 } = liveCommon;
  const { latestOnly, medians, percent, size, startWorker, waiting } = liveCommon;

  const STUDENTS = ["plain", "distilled"];
  const MODELS = [...STUDENTS, "teachers"];
  const CALLED = { plain: "the plain student", distilled: "the distilled student", teachers: "the teachers" };
  const LEVELS = 16; // shades of a drawing, so that the address that holds it stays short
  const UNDOS = 100;
  const TILE = 44; // CSS pixels
  const RACE_MS = 2000; // how long the slowest takes in the race, which is shown in slow motion

  let told; // content of live.json
  let side; // pixels of an image's side; images are square
  let pixels; // Uint8Array of all test images
  let question = null; // what is on the canvas: {pixels, label, name, garment}; null if it is empty
  let settled = true; // whether the pen is lifted: only then the race is run and the address written
  let raced = null; // the question that was raced last
  const results = {}; // by model: {question, logits, ms}, the latest answer
  const times = medians();

  // -- helpers -------------------------------------------------------------------------------------------------------

  const best = (numbers) => numbers.indexOf(Math.max(...numbers));
  const row = (model) => document.querySelector(`#live tr[data-model="${model}"]`);
  const within = (model, part) => row(model).querySelector(`.live-${part}`);
  const temperature = () => Number(byId("t").value);

  function softened(z, t) {
    const most = Math.max(...z);
    const weights = z.map((value) => Math.exp((value - most) / t));
    const total = weights.reduce((a, b) => a + b);
    return weights.map((weight) => weight / total);
  }

  const bytesOf = (model) => told.models[model].files.reduce((sum, file) => sum + file.bytes, 0);

  function paint(canvas, values) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(side, side);
    values.forEach((value, at) => image.data.set([value, value, value, 255], 4 * at));
    context.putImageData(image, 0, 0);
  }

  // -- networks ------------------------------------------------------------------------------------------------------

  /** Start a worker that can be asked for the answers of its models. */
  function startAnswering() {
    const worker = startWorker("worker.js");
    const send = (content, transferred) =>
      worker.send({ ...content, input: { side, mean: told.mean, std: told.std } }, transferred);
    const ask = latestOnly(async (current) => {
      try {
        const answers = await send({ pixels: current.pixels });
        if (question === null) return; // cleared in the meantime
        for (const [model, { logits, ms }] of Object.entries(answers)) {
          results[model] = { question: current, logits, ms: times.add(model, ms) };
        }
        show();
      } catch (error) {
        say(`The networks can't answer (${error.message}). Load the page again.`);
      }
    });
    return { load: (files) => send({ load: files }, Object.values(files).flat()), ask, stop: worker.stop };
  }

  const workers = { students: null, teachers: null };
  const held = new Map(); // file name -> its content, until all files of a group are there

  /** Fetch the files of some models, those that came earlier excepted, and load them into a new worker. */
  async function load(models, heard) {
    const files = {};
    for (const model of models) {
      files[model] = [];
      for (const { name } of told.models[model].files) {
        if (!held.has(name)) held.set(name, await fetched(name, heard));
        files[model].push(held.get(name));
      }
    }
    const worker = startAnswering();
    try {
      await worker.load(files);
    } catch (error) {
      worker.stop();
      throw error;
    } finally {
      for (const model of models) for (const { name } of told.models[model].files) held.delete(name);
    }
    return worker;
  }

  function ask() {
    show();
    if (question === null) return;
    workers.students?.ask(question);
    workers.teachers?.ask(question);
  }

  let fetching = false;
  async function fetchTeachers() {
    if (fetching || workers.teachers !== null) return;
    fetching = true;
    waiting.delete(fetchTeachers);
    const [button, progress] = [byId("fetch"), byId("progress")];
    const hadFocus = document.activeElement === button;
    button.hidden = true;
    progress.hidden = false;
    if (hadFocus) byId("canvas").focus({ preventScroll: true });
    const total = bytesOf("teachers");
    const before = () => told.models.teachers.files.reduce((sum, { name, bytes }) => sum + (held.has(name) ? bytes : 0), 0);
    let received = before();
    const heard = (bytes) => {
      received += bytes;
      progress.value = received / total;
      within("teachers", "size").textContent = `${(received / 1e6).toFixed(1)} of ${size(total)}`;
    };
    heard(0);
    say(`The five teachers are being fetched, ${size(total)}.`);
    try {
      workers.teachers = await load(["teachers"], heard);
    } catch (error) {
      button.hidden = false;
      button.textContent = "Try again";
      say(`The teachers could not be fetched (${error.message}). The page tries again when the network is back.`);
      waiting.add(fetchTeachers);
      return;
    } finally {
      fetching = false;
      progress.hidden = true;
      within("teachers", "size").textContent = size(total);
    }
    within("teachers", "says").querySelector("span").hidden = false;
    said = "";
    ask();
  }

  // -- what is shown -------------------------------------------------------------------------------------------------

  let said = ""; // a notice that stands in the verdict's place until the next answer
  function say(text) {
    said = text;
    byId("verdict").textContent = text;
  }

  function show() {
    const t = temperature();
    byId("t-shown").textContent = t.toFixed(1);
    byId("t").setAttribute("aria-valuetext", `T = ${t.toFixed(1)}`);
    byId("caption").textContent = `Probabilities at T = ${t.toFixed(1)}, most likely first`;
    if (question === null) for (const model of MODELS) delete results[model];
    const shares = {};
    for (const model of MODELS) {
      if (results[model]) shares[model] = softened(results[model].logits, t);
      showAnswer(model);
    }
    showBars(shares);
    if (said === "") byId("verdict").textContent = verdict();
    byId("again").disabled = !MODELS.every((model) => results[model]);
    showRace();
  }

  function showAnswer(model) {
    const result = results[model];
    const says = within(model, "says").querySelector("span");
    if (!result) {
      says.textContent = "–";
      within(model, "ms").textContent = "–";
      return;
    }
    const own = softened(result.logits, 1); // at every temperature the answer is the same, and so is this
    const answer = best(own);
    const { label } = result.question;
    says.replaceChildren(element("b", {}, told.classes[answer]), " ", percent(own[answer]));
    if (label !== null) {
      const [mark, word] = label === answer ? ["✓", "right"] : ["✗", "wrong"];
      says.append(" ", element("span", { class: `live-mark live-${word}`, role: "img", "aria-label": word }, mark));
    }
    says.dataset.logits = JSON.stringify(result.logits);
    within(model, "ms").dataset.ms = result.ms;
    within(model, "ms").textContent = duration(result.ms);
  }

  let rows = []; // by class: {tr, cells: by model {number, bar}}
  function showBars(shares) {
    const leading = shares.teachers ?? shares.distilled;
    rows.forEach(({ tr, head, cells }, k) => {
      for (const model of MODELS) {
        const p = shares[model]?.[k];
        const { td, number, bar } = cells[model];
        number.textContent = p === undefined ? "–" : percent(p, 1);
        bar.style.width = `${100 * (p ?? 0)}%`;
        if (p === undefined) delete td.dataset.probability;
        else td.dataset.probability = p;
        td.classList.toggle("live-top", p !== undefined && k === best(shares[model]));
      }
      head.classList.toggle("live-true", question?.label === k);
      tr.dataset.share = leading?.[k] ?? 0;
    });
    const order = rows.map(({ tr }) => tr).sort((a, b) => b.dataset.share - a.dataset.share);
    if (order.some((tr, place) => byId("rows").rows[place] !== tr)) byId("rows").append(...order);
  }

  function verdict() {
    if (question === null) return "Draw something, or pick a test image.";
    const current = MODELS.filter((model) => results[model]?.question === question);
    if (current.length < MODELS.filter((model) => results[model]).length || current.length === 0) return byId("verdict").textContent;
    const answers = current.map((model) => best(results[model].logits));
    const comparison = faster();
    if (question.label === null) {
      const same = answers.every((answer) => answer === answers[0]);
      const all = current.length === MODELS.length ? "All three" : "Both students";
      const words = same ? `${all} say ${told.classes[answers[0]]}.` : current.length === 2 ? "The students disagree."
        : answers[1] === answers[2] ? "The distilled student sides with the teachers, the plain one doesn't."
        : answers[0] === answers[2] ? "This time the plain student sides with the teachers."
        : answers[0] === answers[1] ? "The students agree, the teachers don't." : "Three different answers.";
      return `${words} ${comparison}`;
    }
    const [right, wrong] = [true, false].map((wanted) => current.filter((_, n) => (answers[n] === question.label) === wanted));
    const only = ([model], word) => `only ${CALLED[model]} ${model === "teachers" ? "are" : "is"} ${word}`;
    const all = current.length === MODELS.length ? "all three" : "both students";
    const who = wrong.length === 0 ? `${all} are right` : right.length === 0 ? `${all} are wrong`
      : right.length === 1 ? only(right, "right") : only(wrong, "wrong");
    return `${told.classes[question.label]}: ${who}. ${comparison}`;
  }

  function faster() {
    const small = bytesOf("teachers") / bytesOf("distilled");
    if (!results.teachers) return `The teachers are ${Math.round(small)} times as large. Fetch them and see them race.`;
    const times = results.teachers.ms / results.distilled.ms;
    return `Distilled: 1/${Math.round(times)} of the teachers' time, 1/${Math.round(small)} of their size.`;
  }

  // -- the race ------------------------------------------------------------------------------------------------------

  /** Draw the time that each network took, as a length; once for each question as a race in slow motion. */
  function showRace(again = false) {
    const ready = MODELS.every((model) => results[model]);
    const slowest = Math.max(...MODELS.map((model) => results[model]?.ms ?? 0));
    const complete = ready && MODELS.every((model) => results[model].question === question);
    const start = again || (complete && settled && raced !== question);
    if (start) raced = question;
    for (const model of MODELS) {
      const lane = within(model, "lane");
      const share = ready ? results[model].ms / slowest : 0;
      lane.style.width = `${100 * share}%`;
      if (!start) continue;
      for (const running of lane.getAnimations()) running.cancel();
      if (matchMedia("(prefers-reduced-motion: reduce)").matches) continue;
      lane.animate([{ width: 0 }, { width: lane.style.width }], { duration: Math.max(1, share * RACE_MS) });
    }
  }

  // -- test images ---------------------------------------------------------------------------------------------------

  const image = (n) => pixels.slice(n * side * side, (n + 1) * side * side);

  function pick(n) {
    const { index, label } = told.images[n];
    remember();
    drawing.values = image(n);
    settled = true;
    const name = `${told.classes[label]}, test image ${index}`;
    put({ pixels: drawing.values.slice(), label, name, garment: index });
  }

  function tile(n) {
    const { index, label, group } = told.images[n];
    const radio = element("input", { type: "radio", name: "live-garment", value: index, title: told.classes[label] });
    radio.setAttribute("aria-label", `${told.classes[label]}, test image ${index}`);
    radio.style.backgroundImage = `url("${beside("garments.png")}")`;
    radio.style.backgroundSize = `${TILE * told.columns}px auto`;
    radio.style.backgroundPosition = `${-TILE * (n % told.columns)}px ${-TILE * Math.floor(n / told.columns)}px`;
    radio.addEventListener("change", () => pick(n));
    byId(group).append(radio);
  }

  // -- drawing -------------------------------------------------------------------------------------------------------

  // The drawing is stored here and only painted on the canvas: some browsers alter pixels that are read from a canvas.
  const drawing = { values: null, before: null, covered: null, done: [], pen: [14, 14], down: false, seen: false };

  const shade = () => Number(document.querySelector('input[name="live-shade"]:checked').value);
  const rounded = (value) => Math.round((value / 255) * (LEVELS - 1)) * (255 / (LEVELS - 1));
  const drawn = () =>
    drawing.values.some((value) => value > 0) ? { pixels: drawing.values.slice(), label: null, name: "Your drawing", garment: null } : null;

  /** Make this the input: a question, or null for an empty canvas. */
  function put(asked) {
    question = asked;
    said = "";
    repaint();
    byId("canvas").setAttribute("aria-label", asked?.name ?? "Nothing drawn yet");
    byId("undo").disabled = drawing.done.length === 0;
    for (const radio of document.querySelectorAll('input[name="live-garment"]')) radio.checked = radio.value === String(asked?.garment);
    ask();
    if (settled) writeAddress();
  }

  function remember() {
    drawing.done.push({ values: drawing.values, question });
    if (drawing.done.length > UNDOS) drawing.done.shift();
    drawing.values = drawing.values.slice();
  }

  function begin(at) {
    remember();
    drawing.values = drawing.values.map(rounded);
    drawing.before = drawing.values.slice();
    drawing.covered = new Float32Array(side * side); // share of each pixel that this stroke covers
    settled = false;
    stroke(at, at);
  }

  function lift() {
    settled = true;
    writeAddress();
    showRace();
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
        drawing.values[at] = rounded(drawing.before[at] * (1 - share) + colour * share);
      }
    }
    drawing.pen = [x1, y1];
    put(drawn());
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

  function makeDrawable() {
    const canvas = byId("canvas");
    drawing.values = new Uint8Array(side * side);
    drawing.pen = [side / 2, side / 2];
    repaint();

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
        if (event.pointerId !== pointer) return;
        pointer = null;
        lift();
      });
    }

    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === " ") {
        drawing.down = !drawing.down;
        drawing.seen = true;
        if (drawing.down) begin(drawing.pen);
        else lift();
        repaint();
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
      if (drawing.down) lift();
      drawing.seen = drawing.down = false;
      repaint();
    });
    byId("undo").addEventListener("click", () => {
      const { values, question: earlier } = drawing.done.pop();
      drawing.values = values.slice();
      put(earlier);
    });
    byId("clear").addEventListener("click", () => {
      remember();
      drawing.values = new Uint8Array(side * side);
      put(null);
    });
    byId("width").addEventListener("input", () => (byId("width-shown").textContent = byId("width").value));
  }

  // -- the address ---------------------------------------------------------------------------------------------------
  // #garment=7&t=4, or #drawing=...&t=1: runs of one shade, a byte each (4 bits of shade, 4 of length less 1), in base64.

  function encoded(values) {
    const runs = [];
    for (let at = 0; at < values.length; ) {
      let length = 1;
      while (length < 16 && values[at + length] === values[at]) length++;
      runs.push((Math.round((values[at] / 255) * (LEVELS - 1)) << 4) | (length - 1));
      at += length;
    }
    return btoa(String.fromCharCode(...runs)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  }

  function decoded(text) {
    const runs = Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
    const values = runs.flatMap((run) => Array((run & 15) + 1).fill((run >> 4) * (255 / (LEVELS - 1))));
    if (values.length !== side * side) throw new Error(`${values.length} pixels`);
    return Uint8Array.from(values);
  }

  function address() {
    const what = question === null ? "" : question.garment === null ? `drawing=${encoded(question.pixels)}&` : `garment=${question.garment}&`;
    return `#${what}t=${temperature()}`;
  }

  let writing;
  function writeAddress() {
    clearTimeout(writing); // browsers refuse more than some changes a second
    writing = setTimeout(() => history.replaceState(null, "", address()), 200);
  }

  /** Show what an address holds; without anything of ours in it, an image about which the students disagree. */
  function readAddress(url) {
    clearTimeout(writing); // what is shown now is on its way out
    const given = new URLSearchParams(new URL(url).hash.slice(1));
    const t = Number(given.get("t"));
    if (given.has("t") && t >= 0.5 && t <= 20) byId("t").value = t;
    let problem = "";
    let n = Math.max(0, told.images.findIndex(({ group }) => group === "distilled"));
    settled = true;
    if (given.has("drawing")) {
      try {
        const values = decoded(given.get("drawing"));
        remember();
        drawing.values = values;
        put(drawn());
        return;
      } catch {
        problem = "The drawing in this address is damaged, so a test image is shown.";
      }
    } else if (given.has("garment")) {
      const found = told.images.findIndex(({ index }) => String(index) === given.get("garment"));
      if (found >= 0) n = found;
      else problem = "This page doesn't have the test image that the address names, so another one is shown.";
    } else if (given.has("t") && question !== null) {
      show();
      return;
    }
    pick(n);
    if (problem) say(problem);
  }

  async function share() {
    const url = new URL(address(), location.href).href;
    history.replaceState(null, "", url);
    try {
      if (navigator.share && matchMedia("(pointer: coarse)").matches) await navigator.share({ url, title: document.title });
      else {
        await navigator.clipboard.writeText(url);
        say("The link is copied. It holds the image and the temperature.");
      }
    } catch (error) {
      if (error.name !== "AbortError") say("Copy the address of this page: it holds the image and the temperature.");
    }
  }

  // -- start ---------------------------------------------------------------------------------------------------------

  function layOut() {
    for (const model of MODELS) {
      const { accuracy, learned } = told.models[model];
      within(model, "size").textContent = size(bytesOf(model));
      within(model, "right").textContent = percent(accuracy, 1);
      byId(`${model}-learned`).textContent = learned;
    }
    byId("fetch").textContent = `Fetch ${size(bytesOf("teachers"))}`;
    rows = told.classes.map((name) => {
      const head = element("th", { scope: "row" }, name);
      const cells = Object.fromEntries(
        MODELS.map((model) => {
          const number = element("span", { class: "live-number" }, "–");
          const bar = element("i");
          const track = element("span", { class: `live-bar live-of-${model}`, "aria-hidden": "true" }, bar);
          return [model, { td: element("td", {}, number, track), number, bar }];
        }),
      );
      const tr = element("tr", {}, head, ...MODELS.map((model) => cells[model].td));
      return { tr, head, cells };
    });
    byId("rows").append(...rows.map(({ tr }) => tr));
    told.images.forEach((_, n) => tile(n));
    for (const group of ["first", "distilled", "plain"]) byId(group).parentElement.hidden = byId(group).children.length === 0;
    makeDrawable();
    byId("fetch").addEventListener("click", fetchTeachers);
    byId("share").addEventListener("click", share);
    byId("again").addEventListener("click", () => showRace(true));
    byId("t").addEventListener("input", show);
    byId("t").addEventListener("change", writeAddress);
    // The event's own address: a delayed writeAddress may already have replaced the one that the visitor went to.
    addEventListener("hashchange", ({ newURL }) => readAddress(newURL));
  }

  beginPage(async () => {
    if (!told) {
      told = await fetchedJson("live.json");
      side = told.side;
      pixels = fromBase64(told.pixels);
      layOut();
      readAddress(location.href);
      drawing.done = [];
      byId("undo").disabled = true;
    }
    workers.students ??= await load(STUDENTS);
    ask();
  });
})();
