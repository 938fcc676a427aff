// A quiz: model has name, questions [{text, options: [{text, right, why}]}] and chosen {question's place: option's text}.
function render({ model, el }) {
  const questions = model.get("questions");
  begin(el, `Quiz ${model.get("name")}`);
  const score = announced();
  const chosen = () => model.get("chosen") ?? {};
  const option = (place) => questions[place].options.find(({ text }) => text === chosen()[place]);
  const count = () => {
    const made = questions.map((_, place) => option(place)).filter(Boolean);
    const right = made.filter((one) => one.right).length;
    score.textContent = made.length ? `${made.length} of ${questions.length} answered, ${right} right.` : "";
  };
  questions.forEach((question, place) => {
    const reason = make("div", { class: "kd-reason", role: "status", "aria-live": "polite" });
    const explain = () => {
      const one = option(place);
      if (!one) return;
      reason.dataset.right = one.right;
      reason.replaceChildren(make("strong", {}, one.right ? "✓ Right." : "✗ Not this one."), ` ${one.why}`);
    };
    const options = question.options.map(({ text }) => [text, text]);
    el.append(make("fieldset", {}, make("legend", {}, `${place + 1}. ${question.text}`),
      ...radios(options, chosen()[place], (text) => {
        model.set("chosen", { ...chosen(), [place]: text });
        model.save_changes();
        explain();
        count();
      }), reason));
    explain();
  });
  count();
  el.append(score);
}

export default { render };
