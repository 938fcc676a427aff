// Images that some model gets wrong: model has images, size, count (of all images), classes, names, labels and
// logits [M, N, C] of those N that are shown.
async function render({ model, el }) {
  const [size, count, classes, names, labels, logits] =
    ["size", "count", "classes", "names", "labels", "logits"].map((name) => model.get(name));
  const images = await inflated(model.get("images"));
  const largest = (row) => row.indexOf(Math.max(...row));
  const said = logits.map((rows) => rows.map(largest));
  const filters = names.map(() => "either");
  let [found, at, temperature, pair] = [[], 0, 1, ""];
  begin(el, "Mistake browser");
  const status = announced();

  const matches = (place) => filters.every((filter, one) => filter === "either" || (filter === "right") === (said[one][place] === labels[place]));
  /** Return the classes that an image is taken for, by the models that are to be wrong, or by any. */
  const takenFor = (place) => {
    const wrong = names.map((_, one) => one).filter((one) => filters[one] === "wrong");
    const asked = wrong.length ? wrong : names.map((_, one) => one);
    return [...new Set(asked.map((one) => said[one][place]))].filter((answer) => answer !== labels[place]);
  };
  const select = make("select", { change: () => { pair = select.value; choose(); } });
  const offer = () => {
    const counts = new Map();
    for (const place of labels.keys())
      if (matches(place))
        for (const answer of takenFor(place)) {
          const key = `${labels[place]} ${answer}`;
          counts.set(key, (counts.get(key) ?? 0) + 1);
        }
    const pairs = [...counts].sort((one, other) => other[1] - one[1]);
    if (!counts.has(pair)) pair = "";
    select.replaceChildren(make("option", { value: "" }, "any class"), ...pairs.map(([key, many]) => {
      const [label, answer] = key.split(" ");
      return make("option", { value: key, selected: key === pair }, `${classes[label]} taken for ${classes[answer]} (${many})`);
    }));
  };
  const choose = () => {
    const [label, answer] = pair.split(" ").map(Number);
    found = [...labels.keys()].filter((place) => matches(place) && (!pair || (labels[place] === label && takenFor(place).includes(answer))));
    at = 0;
    pages.resize(found.length, 0);
    status.textContent = `${found.length} image${found.length === 1 ? "" : "s"} of ${count.toLocaleString("en")} match${found.length === 1 ? "es" : ""}.` +
      (found.length ? "" : " Set a filter back to 'either', or choose any class.");
    show();
  };

  const canvas = make("canvas", { class: "kd-image", role: "img" });
  const label = make("strong");
  const panels = names.map(() => bars(classes));
  const scene = make("div", { class: "kd-scene" },
    make("div", { class: "kd-side" }, canvas, make("div", {}, "Label: ", label)),
    make("div", { class: "kd-panels" }, ...panels.map(({ element }) => element)));
  const show = () => {
    scene.hidden = found.length === 0;
    if (scene.hidden) return;
    const place = found[at];
    paint(canvas, images, place, size, images.length / (labels.length * size[0] * size[1]));
    canvas.setAttribute("aria-label", `An image labelled ${classes[labels[place]]}`);
    label.textContent = classes[labels[place]];
    panels.forEach((panel, one) => {
      const [shares, nats] = softened(logits[one][place], temperature);
      const verdict = `${said[one][place] === labels[place] ? "✓" : "✗"} ${classes[said[one][place]]}, ${nats.toFixed(2)} nats`;
      panel.show(`${names[one]}\n${verdict}`, shares, labels[place], `${names[one]}, entropy ${nats.toFixed(2)} nats:`);
    });
  };

  const pages = browser("mistake", 2, 0, (chosen) => { at = chosen; show(); });
  const group = (title, controls) => make("fieldset", { class: "kd-group" }, make("legend", {}, title), ...controls);
  el.append(
    make("div", { class: "kd-row" }, ...names.map((name, one) =>
      group(`${name} is`, radios(["either", "wrong", "right"].map((word) => [word, word]), "either", (word) => {
        filters[one] = word;
        offer();
        choose();
      }))),
    group("Temperature", radios([["1 (as predicted)", 1], ["4 (soft targets)", 4]], 1, (value) => { temperature = value; show(); }))),
    make("label", { class: "kd-row" }, make("strong", {}, "Taken for"), select), pages.row, status, scene);
  offer();
  choose();
}

export default { render };
