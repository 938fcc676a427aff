// A prediction beside the result: model has unit, guess where one was made, truth where it is known here.
function compared(guess, truth, unit) {
  if (typeof guess === "string" || typeof truth === "string")
    return guess === truth ? "✓ You predicted it." : "✗ The result is another one.";
  const difference = guess - truth;
  if (Math.abs(difference) <= 0.005 * Math.max(Math.abs(truth), Math.abs(guess))) return "✓ You predicted it.";
  return `Your prediction is ${answer(Math.abs(difference), unit)} too ${difference > 0 ? "high" : "low"}.`;
}

function render({ model, el }) {
  begin(el, "Your prediction and the truth");
  const lines = announced();
  el.append(lines);
  const show = () => {
    const [guess, truth, unit] = ["guess", "truth", "unit"].map((name) => model.get(name));
    const made = guess === undefined ? "You haven't made a prediction yet." : `Your prediction: ${answer(guess, unit)}.`;
    // Whoever hasn't predicted yet shouldn't be told.
    const known = guess !== undefined && truth !== undefined && truth !== null;
    const said = known ? [`Truth: ${answer(truth, unit)}.`, made, compared(guess, truth, unit)] : [made];
    if (guess !== undefined && !known) said.push("Compare it with the result.");
    lines.replaceChildren(...said.map((line) => make("div", {}, line)));
  };
  model.on("change:guess", show);
  show();
}

export default { render };
