/* An extension of JupyterLab as it is served, without a build. It is not installed: `kdcourse lab` passes its folder on.
 * It acts on notebooks of the course alone, those whose metadata has the key "kdcourse". There it gives figures the alt
 * text that they carry in their metadata, which JupyterLab 4 leaves out, names editors and sliders for screen readers,
 * and switches readable.css on. Without it a lesson works all the same: the text of each figure is below it in any case. */
(() => {
  const style = new URL("readable.css", document.currentScript.src).href;
  let scope = {}, readouts = 0;

  /** Load a module that JupyterLab shares with extensions. */
  const shared = async name => (await Object.values(scope[name])[0].get())();

  /** Return a factory whose renderers set the alt text of each image that they render. */
  const describing = factory => ({
    ...factory,
    createRenderer: options => {
      const renderer = factory.createRenderer(options);
      const render = renderer.renderModel.bind(renderer);
      renderer.renderModel = async model => {
        await render(model);
        describe(renderer.node, model.metadata[options.mimeType]);
      };
      return renderer;
    }
  });

  /** Set the alt text of an image, if its metadata has one; `node` is what JupyterLab rendered it into. */
  const describe = (node, metadata) => {
    if (metadata?.alt) node.querySelector("img")?.setAttribute("alt", metadata.alt);
  };

  /** Set the alt text of images that were rendered before the notebook's metadata was known. */
  const describeRendered = notebook => {
    for (const { outputArea } of notebook.widgets) {
      outputArea?.widgets.forEach((output, index) => {
        const image = output.node.querySelector(":scope > .jp-RenderedImage");
        const metadata = outputArea.model.get(index)?.metadata ?? {};
        if (image) describe(image, metadata[image.dataset.mimeType]);
      });
    }
  };

  /** Add to the widgets in a node what they lack for keyboards and screen readers. */
  const improveWidgets = node => {
    // Without this the arrow keys in a list select another cell instead of another option.
    for (const list of node.querySelectorAll(".kdcourse select:not([data-lm-suppress-shortcuts])")) {
      list.setAttribute("data-lm-suppress-shortcuts", "true");
    }
    // A slider of ipywidgets has a number but no name; on a logarithmic one it isn't even the number shown.
    for (const handle of node.querySelectorAll(".widget-slider .noUi-handle:not([aria-label])")) {
      const slider = handle.closest(".widget-slider");
      const label = slider.querySelector("label"), readout = slider.querySelector(".widget-readout");
      if (!label?.textContent) continue;
      handle.setAttribute("aria-label", label.textContent);
      if (readout) handle.setAttribute("aria-describedby", readout.id ||= `readout-${++readouts}`);
    }
  };

  /** Make one notebook of the course readable, and keep it so while cells and widgets are added. */
  const improve = (panel, label) => {
    const { rendermime } = panel.content; // the notebook's own copy: other notebooks keep theirs
    for (const factory of new Set(["image/png", "image/jpeg"].map(type => rendermime.getFactory(type)))) {
      if (factory) rendermime.addFactory(describing(factory), factory.defaultRank ?? 90);
    }
    describeRendered(panel.content);
    panel.addClass("kdcourse-notebook");
    const named = new WeakSet();
    let due = false;
    const refresh = () => {
      due = false;
      for (const { editor } of panel.content.widgets) {
        if (!editor || named.has(editor)) continue;
        editor.injectExtension(label);
        named.add(editor);
      }
      improveWidgets(panel.node);
    };
    const observer = new MutationObserver(() => {
      if (!due) requestAnimationFrame(refresh);
      due = true;
    });
    observer.observe(panel.node, { childList: true, subtree: true });
    panel.disposed.connect(() => observer.disconnect());
    refresh();
  };

  const plugin = async () => {
    const { INotebookTracker } = await shared("@jupyterlab/notebook");
    const { EditorView } = await shared("@codemirror/view");
    const label = EditorView.contentAttributes.of({ "aria-label": "Source" });
    const watch = async panel => {
      await panel.context.ready;
      if (!panel.isDisposed && panel.context.model.getMetadata("kdcourse")) improve(panel, label);
    };
    return {
      id: "kdcourse:readable",
      description: "In notebooks of the course: alt text of figures, names of editors and sliders, legible links and code.",
      autoStart: true,
      requires: [INotebookTracker],
      activate: (_, notebooks) => {
        document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href: style }));
        notebooks.forEach(watch);
        notebooks.widgetAdded.connect((_, panel) => watch(panel));
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
      } catch (error) { // a JupyterLab that shares other modules has to start all the same
        console.warn("Figures are shown without alt text, editors and sliders without names:", error);
      }
      return () => ({ __esModule: true, default: plugins });
    }
  };
})();
