// Scores of an ensemble: model has names, accuracy, error and disagreement of the members, and the accuracy and
// calibration error of all their ensembles, {"logits 0 2": [accuracy, error]}.
function render({ model, el }) {
  const [names, accuracy, error, disagreement, ensembles] =
    ["names", "accuracy", "error", "disagreement", "ensembles"].map((name) => model.get(name));
  begin(el, "Ensemble explorer");
  const members = names.map((_, place) => place);
  let [chosen, average] = [members, "logits"];
  const status = announced();
  const boxes = members.map((place) => make("label", { class: "kd-choice" },
    make("input", { type: "checkbox", checked: true, change: (event) => {
      chosen = members.filter((one) => (one === place ? event.target.checked : chosen.includes(one)));
      draw();
    } }), make("span", {}, names[place])));
  const averages = radios([["mean of logits", "logits"], ["mean of probabilities", "probabilities"]], average, (value) => {
    average = value;
    draw();
  });
  const chart = (title, low, high, digits) => {
    const rows = [...names, "ensemble"].map((name) => {
      const [bar, value] = [make("span", { class: "kd-bar" }), make("span", { class: "kd-bar-value" })];
      return { name, bar, value, row: make("div", { class: "kd-bar-row" }, make("span", { class: "kd-bar-name" }, name), make("span", { class: "kd-bar-track" }, bar, value)) };
    });
    const element = make("div", { class: "kd-panel", role: "img" },
      make("div", { class: "kd-panel-title", "aria-hidden": "true" }, title), ...rows.map(({ row }) => row));
    return { element, show(values) {
      rows.forEach(({ row, bar, value }, place) => {
        row.classList.toggle("kd-label", place === names.length);
        row.classList.toggle("kd-out", place < names.length && !chosen.includes(place));
        bar.style.width = `${72 * Math.max(0, (values[place] - low) / (high - low))}%`;
        value.textContent = values[place].toFixed(digits);
      });
      element.setAttribute("aria-label", `${title}. ${rows.map(({ name }, place) => `${name} ${values[place].toFixed(digits)}`).join(", ")}.`);
    } };
  };
  const found = Object.values(ensembles);
  const rates = [...accuracy, ...found.map(([rate]) => rate)].map((rate) => 100 * rate);
  const errors = [...error, ...found.map(([, gap]) => gap)].map((gap) => 100 * gap);
  const start = Math.floor(2 * Math.min(...rates) - 1) / 2;
  const charts = [chart(`Accuracy (%), from ${start.toFixed(1)}`, start, Math.max(...rates), 2),
    chart("Calibration error (ECE, points)", 0, Math.max(...errors), 2)];
  const most = Math.max(...disagreement.flat());
  const cells = members.map((row) => members.map((column) => make("td", { style: `--share: ${(100 * disagreement[row][column]) / (3 * most)}%` },
    row === column ? "–" : (100 * disagreement[row][column]).toFixed(1))));
  const table = make("table", { class: "kd-matrix" }, make("caption", {}, "Disagreement: images classified differently (%)"),
    make("thead", {}, make("tr", {}, make("td"), ...members.map((place) => make("th", { scope: "col" }, String(place + 1))))),
    make("tbody", {}, ...members.map((row) => make("tr", {}, make("th", { scope: "row" }, names[row]), ...cells[row]))));
  const draw = () => {
    const scores = ensembles[`${average} ${chosen.join(" ")}`];
    if (!scores) {
      status.textContent = "Tick at least one teacher: an ensemble needs a member. The figure shows the last choice.";
      return;
    }
    const [rate, gap] = scores;
    charts[0].show([...accuracy, rate].map((share) => 100 * share));
    charts[1].show([...error, gap].map((share) => 100 * share));
    for (const row of members)
      for (const column of members)
        cells[row][column].classList.toggle("kd-in", row !== column && chosen.includes(row) && chosen.includes(column));
    const pairs = chosen.flatMap((one) => chosen.filter((other) => other > one).map((other) => disagreement[one][other]));
    const mean = pairs.reduce((total, share) => total + share, 0) / pairs.length;
    status.textContent = `${chosen.length} member${chosen.length > 1 ? "s" : ""}: accuracy ${percent(rate, 2)}, calibration error (ECE) ` +
      `${(100 * gap).toFixed(2)} points. ` +
      (pairs.length ? `Two of them differ on ${percent(mean)} of the images on average.` : "A single teacher has no disagreement.");
  };
  el.append(make("fieldset", {}, make("legend", {}, "Members of the ensemble"), make("div", { class: "kd-row" }, ...boxes)),
    make("fieldset", {}, make("legend", {}, "Average"), make("div", { class: "kd-row" }, ...averages)), status,
    make("div", { class: "kd-panels" }, ...charts.map(({ element }) => element), make("div", { class: "kd-panel" }, table)));
  draw();
}

export default { render };
