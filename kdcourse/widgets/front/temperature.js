// Soft targets of an image at a temperature: model has images, size, names, classes, labels, logits [M, N, C] and
// ensemble [N, C].
async function render({ model, el }) {
  const [size, names, classes, labels, logits, ensemble] =
    ["size", "names", "classes", "labels", "logits", "ensemble"].map((name) => model.get(name));
  const images = await inflated(model.get("images"));
  let [at, temperature] = [0, 1];
  begin(el, "Temperature explorer");
  const canvas = make("canvas", { class: "kd-image", role: "img" });
  const label = make("strong");
  const models = names.length > 1 ? [...names, "ensemble"] : names;
  const panels = models.map(() => bars(classes));
  const rows = (place) => (place < names.length ? logits[place][at] : ensemble[at]);
  const draw = () => {
    panels.forEach((panel, place) => {
      const [shares, nats] = softened(rows(place), temperature);
      const said = shares.indexOf(Math.max(...shares));
      const verdict = `${said === labels[at] ? "✓" : "✗"} ${classes[said]}, ${nats.toFixed(2)} nats`;
      panel.show(`${models[place]}\n${verdict}`, shares, labels[at], `${models[place]}, entropy ${nats.toFixed(2)} nats:`);
    });
  };
  const show = () => {
    paint(canvas, images, at, size, images.length / (labels.length * size[0] * size[1]));
    canvas.setAttribute("aria-label", `An image labelled ${classes[labels[at]]}`);
    label.textContent = classes[labels[at]];
    draw();
  };
  // 20 steps per doubling, so that 1, 2, 4, 8 and 16 can be chosen exactly.
  const [low, high, step] = [Math.log10(0.5), Math.log10(20), Math.log10(2) / 20];
  const words = (steps) => Number((0.5 * 2 ** (steps / 20)).toPrecision(3)).toString();
  const range = slider("Temperature T", { min: 0, max: Math.round((high - low) / step), step: 1, value: 20 }, words, (steps) => {
    temperature = 0.5 * 2 ** (steps / 20);
    draw();
  });
  const images_ = browser("image", labels.length, 0, (chosen) => { at = chosen; show(); });
  el.append(images_.row, make("div", { class: "kd-row" }, range.row),
    make("div", { class: "kd-scene" },
      make("div", { class: "kd-side" }, canvas, make("div", {}, "Label: ", label)),
      make("div", { class: "kd-panels" }, ...panels.map(({ element }) => element))));
  show();
}

export default { render };
