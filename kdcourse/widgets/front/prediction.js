// A prediction: model has question, choices or number [low, high, step], unit, and guess once it is made.
function render({ model, el }) {
  const [choices, range, unit] = ["choices", "number", "unit"].map((name) => model.get(name));
  begin(el, "Predict before you look");
  const status = announced();
  let guess = model.get("guess") ?? null;
  const question = make("legend", {}, model.get("question"));
  if (range) {
    const [min, max, step] = range;
    const digits = (String(step).split(".")[1] ?? "").length;
    guess = typeof guess === "number" ? guess : min + step * Math.round((max - min) / 2 / step);
    const words = (value) => `${value.toLocaleString("en", { minimumFractionDigits: digits })} ${unit}`.trim();
    const { row } = slider("Guess", { min, max, step, value: guess }, words, (value) => { guess = value; });
    el.append(make("fieldset", {}, question, row));
  } else {
    el.append(make("fieldset", {}, question,
      ...radios(choices.map((text) => [text, text]), guess, (text) => { guess = text; })));
  }
  const commit = () => {
    if (guess === null) {
      status.textContent = "⚠ Choose an answer first.";
      return;
    }
    model.set("guess", guess);
    model.save_changes();
    status.textContent = `Your prediction: ${answer(guess, unit)}. Read on to see whether it is right.`;
  };
  el.append(make("button", { type: "button", class: "kd-button", click: commit }, "That is my prediction"), status);
  if (model.get("guess") !== undefined)
    status.textContent = `Your prediction so far: ${answer(guess, unit)}. You may change it.`;
}

export default { render };
