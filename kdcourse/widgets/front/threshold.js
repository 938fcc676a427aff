// One class's mask at a threshold: model has images, masks, size, classes, names, offered [[class, its images]], first
// [image, class], start, areas [M][offered] below the curves, and for each model the levels of the offered classes at
// every pixel, [K, offered, H, W]: a pixel is called at threshold t / 100 if its level is at least t.
const LEFT_OUT = 255;
const STEPS = 101; // thresholds 0.00, 0.01, ..., 1.00

async function render({ model, el }) {
  const [size, classes, names, offered, areas] =
    ["size", "classes", "names", "offered", "areas"].map((name) => model.get(name));
  const [images, masks, ...levels] = await Promise.all([model.get("images"), model.get("masks"), ...model.get("levels")].map(inflated));
  const [height, width] = size;
  const area = height * width;
  const count = masks.length / area;
  let [at, label] = model.get("first");
  let [one, threshold] = [0, Math.round(100 * model.get("start"))];
  begin(el, "Threshold explorer");
  const status = announced();

  const level = (image, pixel) => levels[one][(image * offered.length + place()) * area + pixel];
  const place = () => offered.findIndex(([known]) => known === label);
  /** Return the pixels called rightly and wrongly at each threshold, and the pixels of the class, over these images. */
  const counts = (which) => {
    const [right, wrong] = [new Array(STEPS).fill(0), new Array(STEPS).fill(0)];
    let there = 0;
    for (const image of which)
      for (let pixel = 0; pixel < area; pixel++) {
        const truth = masks[image * area + pixel];
        if (truth === LEFT_OUT) continue;
        there += truth === label;
        (truth === label ? right : wrong)[level(image, pixel)]++;
      }
    for (const each of [right, wrong])
      for (let step = STEPS - 2; step >= 0; step--) each[step] += each[step + 1];
    return { right, wrong, there };
  };
  const overlap = ({ right, wrong, there }) => right[threshold] / (there + wrong[threshold]);
  const everywhere = [...Array(count).keys()];
  let all = counts(everywhere);
  const precision = (step) => (all.right[step] + all.wrong[step] ? all.right[step] / (all.right[step] + all.wrong[step]) : 1);
  const recall = (step) => all.right[step] / all.there;

  // Pictures. What is right is filled, what is too much striped, what was missed dotted: not told by colour alone.
  const [seen, called] = [0, 1].map(() => make("canvas", { class: "kd-image", role: "img" }));
  const titles = [0, 1].map(() => make("div", { class: "kd-panel-title", "aria-hidden": "true" }));
  const scale = 4;
  const border = (context) => {
    const edges = [];
    for (let y = 0; y < height; y++)
      for (let x = 0; x < width; x++) {
        const here = masks[at * area + y * width + x] === label;
        if (x + 1 < width && here !== (masks[at * area + y * width + x + 1] === label)) edges.push([x + 1, y, x + 1, y + 1]);
        if (y + 1 < height && here !== (masks[at * area + (y + 1) * width + x] === label)) edges.push([x, y + 1, x + 1, y + 1]);
      }
    for (const [colour, thick] of [["#fff", 3], ["#000", 1.2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.beginPath();
      for (const [x, y, right, bottom] of edges) {
        context.moveTo(scale * x, scale * y);
        context.lineTo(scale * right, scale * bottom);
      }
      context.stroke();
    }
  };
  const plain = document.createElement("canvas");
  const drawImage = () => {
    paint(plain, images, at, size, images.length / (count * area));
    [seen.width, seen.height] = [scale * width, scale * height];
    const context = seen.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(plain, 0, 0, seen.width, seen.height);
    border(context);
    titles[0].textContent = `${classes[label]}: its true border`;
    seen.setAttribute("aria-label", `Image ${at + 1} with the true border of the class ${classes[label]}`);
  };
  const drawMask = () => {
    [called.width, called.height] = [scale * width, scale * height];
    const context = called.getContext("2d");
    context.fillStyle = "#ececec";
    context.fillRect(0, 0, called.width, called.height);
    for (let pixel = 0; pixel < area; pixel++) {
      const [truth, said] = [masks[at * area + pixel], level(at, pixel) >= threshold];
      if (!said && truth !== label && truth !== LEFT_OUT) continue;
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      if (truth === LEFT_OUT) context.fillStyle = (x + y) % 2 ? "#fff" : "#8a8a8a";
      else if (said && truth === label) context.fillStyle = "#0072b2";
      else if (said) context.fillStyle = (x + y) % 3 ? "#d55e00" : "#fff";
      else context.fillStyle = x % 2 || y % 2 ? "#fff" : "#000";
      context.fillRect(scale * x, scale * y, scale, scale);
    }
    border(context);
    titles[1].textContent = `pixels with p ≥ ${(threshold / 100).toFixed(2)}`;
  };

  // The curve, drawn in hundredths.
  const place_ = (step) => `${(100 * recall(step)).toFixed(2)},${(100 - 100 * precision(step)).toFixed(2)}`;
  const line = shape("polyline", { class: "kd-curve" });
  const lead = shape("polyline", { class: "kd-lead" });
  const point = shape("circle", { class: "kd-point", r: 3 });
  const ticks = [0, 20, 40, 60, 80, 100].flatMap((tick) => [
    shape("text", { x: tick, y: 108, "text-anchor": "middle" }, (tick / 100).toString()),
    shape("text", { x: -3, y: 102 - tick, "text-anchor": "end" }, (tick / 100).toString()),
  ]);
  const curve = shape("svg", { class: "kd-plot", viewBox: "-22 -5 130 128", role: "img" },
    shape("polyline", { class: "kd-axes", points: "0,0 0,100 100,100" }), ...ticks,
    shape("text", { x: 50, y: 119, "text-anchor": "middle" }, "recall"),
    shape("text", { x: -50, y: -15, "text-anchor": "middle", transform: "rotate(-90)" }, "precision"), line, lead, point);
  const drawCurve = () => {
    // The highest threshold that some pixel reaches is where the curve begins.
    const steps = [...Array(STEPS).keys()].reverse().filter((step) => all.right[step] + all.wrong[step]);
    line.setAttribute("points", steps.map(place_).join(" "));
  };
  const mark = () => {
    const [x, y] = place_(threshold).split(",");
    point.setAttribute("cx", x);
    point.setAttribute("cy", y);
    lead.setAttribute("points", `0,${y} ${x},${y} ${x},100`);
  };

  const share = (value) => (Number.isNaN(value) ? "the class is neither there nor predicted" : percent(value));
  const update = () => {
    drawMask();
    mark();
    const scores = `precision ${precision(threshold).toFixed(3)}, recall ${recall(threshold).toFixed(3)}`;
    const here = counts([at]);
    const [right, wrong] = [here.right[threshold], here.wrong[threshold]];
    called.setAttribute("aria-label", `Mask at threshold ${(threshold / 100).toFixed(2)}: ${right} pixels are right, ` +
      `${wrong} too much, ${here.there - right} missed`);
    curve.setAttribute("aria-label", `Precision against recall of ${names[one]} for ${classes[label]}: ${scores} at this ` +
      `threshold, average precision ${areas[one][place()].toFixed(3)}`);
    status.textContent = `${names[one]}, ${classes[label]}: ${scores}, IoU ${percent(overlap(all))} over all ${count} images; ` +
      `IoU in this image: ${share(overlap(here))}.`;
  };
  const curveTitle = make("div", { class: "kd-panel-title", "aria-hidden": "true" });
  const changed = () => {
    all = counts(everywhere);
    curveTitle.textContent = `${names[one]}, over all images: average precision ${areas[one][place()].toFixed(3)}`;
    drawCurve();
    drawImage();
    update();
  };
  const choose = (options, chosen, then) => {
    const select = make("select", { change: () => then(Number(select.value)) },
      ...options.map(([text, value]) => make("option", { value, selected: value === chosen }, text)));
    return select;
  };
  const models = choose(names.map((name, which) => [name, which]), one, (which) => { one = which; changed(); });
  const labels = choose(offered.map(([known, shown]) => [`${classes[known]} (in ${shown} of ${count} images)`, known]), label, (known) => {
    label = known;
    const has = (image) => masks.subarray(image * area, (image + 1) * area).includes(label);
    const after = [...everywhere.slice(at), ...everywhere.slice(0, at)];
    at = after.find(has);
    pages.resize(count, at);
    changed();
  });
  const pages = browser("image", count, at, (chosen) => { at = chosen; drawImage(); update(); });
  const range = slider("Threshold", { min: 0, max: STEPS - 1, step: 1, value: threshold }, (step) => (step / 100).toFixed(2), (step) => {
    threshold = step;
    update();
  });
  const key = [["kd-right", "right"], ["kd-wrong", "too much"], ["kd-missed", "missed"]].map(([look, word]) =>
    make("span", { class: "kd-key" }, make("span", { class: `kd-swatch ${look}` }), word));
  el.append(
    make("div", { class: "kd-row" }, make("label", { class: "kd-row" }, make("strong", {}, "Model"), models),
      make("label", { class: "kd-row" }, make("strong", {}, "Class"), labels)),
    pages.row, make("div", { class: "kd-row" }, range.row), status,
    make("div", { class: "kd-panels kd-masks" },
      make("div", { class: "kd-panel" }, titles[0], seen),
      make("div", { class: "kd-panel" }, titles[1], called, make("div", { class: "kd-row", "aria-hidden": "true" }, ...key)),
      make("div", { class: "kd-panel" }, curveTitle, curve)));
  pages.resize(count, at);
  changed();
}

export default { render };
