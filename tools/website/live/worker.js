// Runs networks beside the page, so that drawing stays smooth while they compute.
"use strict";

importScripts("network.js", "timed.js");

const groups = {}; // name -> networks that answer together, by the mean of their logits

function answer(networks, pixels, input) {
  const each = networks.map((network) => computeLogits(network, pixels, input));
  return each[0].map((_, k) => each.reduce((sum, logits) => sum + logits[k], 0) / each.length);
}

addEventListener("message", ({ data: { load, pixels, input, token } }) => {
  try {
    for (const [name, files] of Object.entries(load ?? {})) {
      groups[name] = files.map(buildNetwork);
      // The first runs are slow, until the browser has compiled the program.
      for (let run = 0; run < 3; run++) answer(groups[name], new Uint8Array(input.side ** 2), input);
    }
    const answers =
      pixels &&
      Object.fromEntries(
        Object.entries(groups).map(([name, networks]) => [name, timed(() => answer(networks, pixels, input))]),
      );
    postMessage({ token, answers });
  } catch (error) {
    postMessage({ token, error: error.message });
  }
});
