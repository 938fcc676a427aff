/* An extension of JupyterLab as it is served, without a build; pip puts a copy where JupyterLab looks (pyproject.toml).
 * Figures get the alt text that they carry in their metadata, which JupyterLab 4 leaves out; editors and sliders get names
 * for screen readers; readable.css is added. Where it can't be loaded nothing else is amiss: the words of each figure stand
 * below it in any case. */
(() => {
  const style = new URL("readable.css", document.currentScript.src).href;
  let scope = {};

  /** A module of JupyterLab's own, as it shares it with extensions. */
  const shared = async name => (await Object.values(scope[name])[0].get())();

  /** The renderer of pictures, followed by their alt text. */
  const describing = factory => ({
    ...factory,
    createRenderer: options => {
      const renderer = factory.createRenderer(options);
      const render = renderer.renderModel.bind(renderer);
      renderer.renderModel = async model => {
        await render(model);
        const words = model.metadata[options.mimeType]?.alt;
        if (words) renderer.node.querySelector("img")?.setAttribute("alt", words);
      };
      return renderer;
    }
  });

  /** What widgets lack for keyboards and screen readers; they come and go, so this is called whenever the page changes. */
  const mendWidgets = () => {
    // Else, in a list, the arrow keys choose another cell, where they should choose another option.
    for (const list of document.querySelectorAll(".kdcourse select:not([data-lm-suppress-shortcuts])")) {
      list.setAttribute("data-lm-suppress-shortcuts", "true");
    }
    // Sliders of ipywidgets say a number, but not of what; with a logarithmic one it is not even the number shown.
    for (const handle of document.querySelectorAll(".widget-slider .noUi-handle:not([aria-label])")) {
      const slider = handle.closest(".widget-slider");
      const label = slider.querySelector("label"), readout = slider.querySelector(".widget-readout");
      if (!label?.textContent) continue;
      handle.setAttribute("aria-label", label.textContent);
      if (readout) handle.setAttribute("aria-describedby", readout.id ||= `readout-${++readouts}`);
    }
    due = false;
  };
  let readouts = 0, due = false;
  const widgets = new MutationObserver(() => {
    if (!due) requestAnimationFrame(mendWidgets);
    due = true;
  });

  const plugin = async () => {
    const { IRenderMimeRegistry } = await shared("@jupyterlab/rendermime");
    const { EditorExtensionRegistry, IEditorExtensionRegistry } = await shared("@jupyterlab/codemirror");
    const { EditorView } = await shared("@codemirror/view");
    return {
      id: "kdcourse:readable",
      description: "Alt text of figures, names of editors and sliders, legible links and code.",
      autoStart: true,
      requires: [IRenderMimeRegistry, IEditorExtensionRegistry],
      activate: (_, registry, editors) => {
        document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: style }));
        for (const kind of ["image/png", "image/jpeg"]) {
          const factory = registry.getFactory(kind);
          if (factory) registry.addFactory(describing(factory), factory.defaultRank ?? 90);
        }
        widgets.observe(document.body, { childList: true, subtree: true });
        const named = EditorView.contentAttributes.of({ "aria-label": "Source" });
        editors.addExtension({
          name: "kdcourse:named",
          factory: () => EditorExtensionRegistry.createImmutableExtension(named)
        });
      }
    };
  };

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB.kdcourse = {
    init: modules => { scope = modules; },
    get: async () => {
      const plugins = [];
      try {
        plugins.push(await plugin());
      } catch (error) { // a JupyterLab that shares its modules otherwise shall start all the same
        console.warn("Figures are shown without alt text, editors and sliders without names:", error);
      }
      return () => ({ __esModule: true, default: plugins });
    }
  };
})();
