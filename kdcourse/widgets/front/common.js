// What every part needs. A part is this file followed by its own: one module without imports, as anywidget wants it.

/** Return an element. Attributes that are functions become listeners; true, false and null set or leave out. */
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Return an element of a drawing. */
function shape(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Prepare the element of a part, with its title. Notebooks take arrow keys for their own unless the control says no. */
function begin(el, title) {
  el.classList.add("kd-part");
  el.addEventListener("focusin", ({ target }) => { target.dataset.lmSuppressShortcuts = "true"; });
  // Sections of a lesson are headings of level 2, and levels must not be skipped.
  el.replaceChildren(make("div", { class: "kd-title", role: "heading", "aria-level": "3" }, title));
}

let parts = 0;
/** Return a name that no other part of the page has, for groups of radio buttons. */
const unique = () => `kd-${++parts}-${Math.random().toString(36).slice(2, 7)}`;

/** Return radio buttons; `choose(value)` is called when one is chosen. `options` are [text, value]. */
function radios(options, chosen, choose) {
  const name = unique();
  return options.map(([text, value]) =>
    make("label", { class: "kd-choice" },
      make("input", { type: "radio", name, checked: value === chosen, change: () => choose(value) }),
      make("span", {}, text)));
}

/** Return a slider with its name and value: {row, input, set}. `words(value)` is what is shown and read out. */
function slider(label, { min, max, step, value }, words, moved) {
  const shown = make("span", { class: "kd-value", "aria-hidden": "true" });
  const input = make("input", { type: "range", min, max, step, value });
  const say = () => {
    shown.textContent = words(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => { say(); moved(Number(input.value)); });
  say();
  return {
    row: make("label", { class: "kd-slider" }, make("span", {}, label), input, shown),
    input,
    set(value) { input.value = value; say(); },
  };
}

/** Return a line of text that screen readers announce when it changes. */
const announced = () => make("div", { class: "kd-status", role: "status", "aria-live": "polite" });

/** Write a number with three significant digits, a whole one in full. */
function number(value) {
  value = Number(value.toPrecision(10)); // 100 * 0.57 is 56.99999999999999
  const digits = Number.isInteger(value) ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  const text = value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const short = value.toLocaleString("en", { maximumFractionDigits: 10 });
  return short.length < text.length ? short : text;
}

/** Write an answer: a choice in words, or a number with its unit. */
const answer = (value, unit) => (typeof value === "string" ? value : `${number(value)} ${unit}`.trim());

/** Return bytes from base64 of deflated ones. */
async function inflated(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Draw one of several images, one byte after the other, on a canvas: grey [N, 1, H, W] or coloured [N, 3, H, W]. */
function paint(canvas, bytes, at, [height, width], channels = 1) {
  const size = height * width;
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let pixel = 0; pixel < size; pixel++) {
    for (let colour = 0; colour < 3; colour++)
      image.data[4 * pixel + colour] = bytes[(at * channels + (colour % channels)) * size + pixel];
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** Return softmax(logits / temperature) and its entropy in nats. */
function softened(logits, temperature) {
  const scaled = logits.map((logit) => logit / temperature);
  const highest = Math.max(...scaled);
  const sum = scaled.reduce((total, logit) => total + Math.exp(logit - highest), 0);
  const logarithms = scaled.map((logit) => logit - highest - Math.log(sum));
  const shares = logarithms.map(Math.exp);
  return [shares, -shares.reduce((total, share, at) => total + (share > 0 ? share * logarithms[at] : 0), 0)];
}

const percent = (share, digits = 1) =>
  share > 0 && share < 0.5 * 10 ** -(digits + 2) ? `< ${(10 ** -digits).toFixed(digits)} %` : `${(100 * share).toFixed(digits)} %`;

/** Return a slider over images with buttons for the previous and the next one: {row, get, resize}. */
function browser(noun, count, start, moved) {
  const range = slider("Image", { min: 1, max: count, step: 1, value: start + 1 }, (at) => `${at} of ${count}`, (at) => moved(at - 1));
  const step = (by) => {
    const at = (Number(range.input.value) - 1 + by + count) % count;
    range.set(at + 1);
    moved(at);
  };
  const buttons = [[-1, "◀ Previous"], [1, "Next ▶"]].map(([by, text]) =>
    make("button", { type: "button", class: "kd-button", title: `Show the ${by < 0 ? "previous" : "next"} ${noun}`, click: () => step(by) }, text));
  return {
    row: make("div", { class: "kd-row" }, range.row, ...buttons),
    buttons,
    resize(size, at) {
      count = Math.max(1, size);
      range.input.max = count;
      range.set(at + 1);
      for (const control of [range.input, ...buttons]) control.disabled = size < 2;
    },
  };
}

/** Return a panel of bars, one per class, under a title: {element, show(title, shares, label, words)}. */
function bars(classes) {
  const title = make("div", { class: "kd-panel-title", "aria-hidden": "true" });
  const rows = classes.map((name) => {
    const [bar, value] = [make("span", { class: "kd-bar" }), make("span", { class: "kd-bar-value" })];
    const row = make("div", { class: "kd-bar-row" }, make("span", { class: "kd-bar-name" }, name), make("span", { class: "kd-bar-track" }, bar, value));
    return { row, bar, value };
  });
  const element = make("div", { class: "kd-panel", role: "img" }, title, ...rows.map(({ row }) => row));
  return {
    element,
    show(heading, shares, label, words) {
      title.textContent = heading;
      const order = shares.map((_, at) => at).sort((one, other) => shares[other] - shares[one]);
      rows.forEach(({ row, bar, value }, at) => {
        row.classList.toggle("kd-label", at === label);
        bar.style.width = `${72 * shares[at]}%`;
        value.textContent = order.indexOf(at) < 3 ? percent(shares[at]) : "";
      });
      const best = order.slice(0, 3).map((at) => `${classes[at]} ${percent(shares[at])}`);
      element.setAttribute("aria-label", `${words} ${best.join(", ")}.`);
    },
  };
}
