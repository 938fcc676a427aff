// Give the interactive parts of a lesson's page to their front ends. In place of a kernel, the page holds the numbers,
// and this browser keeps what a reader answers. A part that can't be shown stays the figure that it was.
const NEAR = "800px"; // from the window, where a part with a file of its own is loaded
const kept = new Map(); // name in this browser's storage -> {values, listeners}

function shared(name) {
  if (!kept.has(name)) {
    let values = {};
    try { values = JSON.parse(localStorage.getItem(name)) ?? {}; } catch { /* storage is off, or holds something else */ }
    kept.set(name, { name, values, listeners: [] });
  }
  return kept.get(name);
}

/** Return a model as anywidget's front ends expect it. Parts of the same prediction share what was answered. */
function modelOf(kind, state) {
  const store = kind === "quiz" ? shared(`kdcourse quiz ${state.name}`)
    : state.key ? shared(`kdcourse prediction ${state.key}`) : { values: {}, listeners: [] };
  return {
    get: (name) => (name in store.values ? store.values[name] : state[name]),
    set(name, value) {
      store.values[name] = value;
      for (const [event, call] of store.listeners) if (event === `change:${name}`) call();
      unfold();
    },
    save_changes() {
      try { localStorage.setItem(store.name, JSON.stringify(store.values)); } catch { /* it is kept until the page closes */ }
    },
    on: (event, call) => store.listeners.push([event, call]),
  };
}

/** Open the results whose predictions have all been made. */
function unfold() {
  for (const result of document.querySelectorAll("details[data-after]"))
    if (result.dataset.after.split(" ").every((key) => "guess" in shared(`kdcourse prediction ${key}`).values)) {
      result.open = true;
      delete result.dataset.after; // it may be closed again
    }
}

async function show(part) {
  const { part: kind, state } = part.dataset;
  const [{ default: front }, known] = await Promise.all([
    import(`./${kind}.js`),
    state ? fetch(state).then((answer) => answer.json()) : JSON.parse(part.querySelector("script").textContent),
  ]);
  const el = document.createElement("div");
  await front.render({ model: modelOf(kind, known), el });
  part.replaceChildren(el);
}

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries)
    if (isIntersecting) {
      near.unobserve(target);
      show(target);
    }
}, { rootMargin: NEAR });
for (const part of document.querySelectorAll("[data-part]")) {
  if (part.dataset.state) near.observe(part);
  else show(part);
}
unfold();
