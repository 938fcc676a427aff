// What the pages "live" and "live_masks" share: fetching with a second try, workers, and ways to write numbers.
//
// A classic script, not a module: it also runs, and can explain what to do, if the page was opened as a file.
"use strict";

const liveCommon = (() => {
  const script = document.currentScript;
  const beside = (name) => new URL(name, script.src).href;
  const byId = (id) => document.getElementById(`live-${id}`);

  const STALLED_MS = 20_000; // a download without a byte for so long is given up
  const TIMES = 9; // the median of so many answers is shown, which other programs disturb least

  // -- what is written -----------------------------------------------------------------------------------------------

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function percent(share, digits = 0) {
    const least = 10 ** -digits;
    if (share > 0 && 100 * share < least / 2) return `<\u00a0${least}\u00a0%`;
    if (share < 1 && 100 * share > 100 - least / 2) return `>\u00a0${100 - least}\u00a0%`;
    return `${(100 * share).toFixed(digits)}\u00a0%`;
  }

  const size = (bytes) => (bytes < 1e6 ? `${Math.round(bytes / 1e3)}\u00a0kB` : `${(bytes / 1e6).toFixed(1)}\u00a0MB`);
  const duration = (ms) => `${ms < 10 ? ms.toFixed(1) : Math.round(ms)}\u00a0ms`;

  /** Keep the latest times by name: `add` returns the median of those of a name, in milliseconds. */
  function medians() {
    const times = {};
    return {
      add(name, ms) {
        times[name] = [...(times[name] ?? []), ms].slice(-TIMES);
        return [...times[name]].sort((a, b) => a - b)[Math.floor(times[name].length / 2)];
      },
    };
  }

  // -- fetching ------------------------------------------------------------------------------------------------------

  const waiting = new Set(); // what to try again when the network is back
  addEventListener("online", () => {
    const works = [...waiting];
    waiting.clear();
    for (const work of works) work();
  });

  /** Fetch a file as an ArrayBuffer; `heard` is told the number of bytes as they come. */
  async function fetched(name, heard = () => {}) {
    const control = new AbortController();
    let timer;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => control.abort(new Error("no answer from the network")), STALLED_MS);
    };
    try {
      alive();
      const response = await fetch(beside(name), { signal: control.signal });
      if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
      const parts = [];
      for (const reader = response.body.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        alive();
        heard(value.length);
        parts.push(value);
      }
      return await new Blob(parts).arrayBuffer();
    } finally {
      clearTimeout(timer);
    }
  }

  const fetchedJson = async (name) => JSON.parse(new TextDecoder().decode(await fetched(name)));
  const fromBase64 = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));

  /** Show why the page can't begin, nothing if it can. */
  function trouble(...content) {
    byId("why").replaceChildren(...content);
    byId("trouble").hidden = content.length === 0;
  }

  /** Begin by `open`, which loads the students; explain an error, and offer to begin again. */
  function beginPage(open) {
    async function attempt() {
      waiting.delete(attempt);
      trouble();
      try {
        await open();
      } catch (error) {
        if (location.protocol === "file:") {
          trouble(...howToServe());
          byId("controls").hidden = byId("retry").hidden = true;
          return;
        }
        trouble(`The students could not be loaded (${error.message}). The page tries again when the network is back.`);
        waiting.add(attempt);
      }
    }
    byId("retry").addEventListener("click", attempt);
    attempt();
  }

  function howToServe() {
    const code = (text) => element("code", {}, text);
    const page = location.pathname.split("/").pop();
    return [
      "This page was opened as a file, and this browser doesn't allow it to load the networks. Start a server in the " +
        "folder of this page, ", code("python -m http.server"), ", and open ", code(`http://localhost:8000/${page}`), ".",
    ];
  }

  // -- workers -------------------------------------------------------------------------------------------------------

  /** Start a worker; `send` returns what it answers to a message, and throws its error. */
  function startWorker(file) {
    const worker = new Worker(beside(file));
    const open = new Map(); // token -> functions that settle the promise
    let tokens = 0;
    const settle = (token, error, answers) => {
      const [resolve, reject] = open.get(token) ?? [];
      open.delete(token);
      if (error) reject?.(new Error(error));
      else resolve?.(answers);
    };
    worker.addEventListener("message", ({ data: { token, answers, error } }) => settle(token, error, answers));
    worker.addEventListener("error", (event) => {
      for (const token of open.keys()) settle(token, event.message || "the worker could not be started");
    });
    const send = (content, transferred = []) =>
      new Promise((resolve, reject) => {
        open.set(++tokens, [resolve, reject]);
        worker.postMessage({ ...content, token: tokens }, transferred);
      });
    return { send, stop: () => worker.terminate() };
  }

  /** Return `work` for one question at a time; of those that wait, the latest alone. */
  function latestOnly(work) {
    let busy = false;
    let next = null;
    return async (asked) => {
      next = asked;
      if (busy) return;
      busy = true;
      try {
        while (next !== null) {
          const current = next;
          next = null;
          await work(current);
        }
      } finally {
        busy = false;
      }
    };
  }

  return {
    beginPage, beside, byId, duration, element, fetched, fetchedJson, fromBase64, latestOnly, medians, percent, size, startWorker, waiting,
  };
})();
