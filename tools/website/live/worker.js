// Runs networks beside the page, so that drawing stays smooth while they compute.
"use strict";

importScripts("network.js");

const SHORTEST_MS = 8; // browsers round their clocks, some to a millisecond
const groups = {}; // name -> networks that answer together, by the mean of their logits

function answer(networks, pixels, input) {
  const each = networks.map((network) => computeLogits(network, pixels, input));
  return each[0].map((_, k) => each.reduce((sum, logits) => sum + logits[k], 0) / each.length);
}

/** Answer once, and again until the clock can tell how long an answer takes: {logits, ms}. */
function timed(networks, pixels, input) {
  const begin = performance.now();
  let logits;
  let runs = 0;
  let ms;
  do {
    logits = answer(networks, pixels, input);
    runs += 1;
    ms = performance.now() - begin;
  } while (ms < SHORTEST_MS);
  return { logits, ms: ms / runs };
}

addEventListener("message", ({ data: { load, pixels, input, token } }) => {
  try {
    for (const [name, files] of Object.entries(load ?? {})) {
      groups[name] = files.map(buildNetwork);
      // The first runs are slow, until the browser has compiled the program.
      for (let run = 0; run < 3; run++) answer(groups[name], new Uint8Array(input.side ** 2), input);
    }
    const answers = pixels && Object.fromEntries(Object.entries(groups).map(([name, networks]) => [name, timed(networks, pixels, input)]));
    postMessage({ token, answers });
  } catch (error) {
    postMessage({ token, error: error.message });
  }
});
