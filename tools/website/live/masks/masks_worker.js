// Runs the students of the page "live_masks" beside the page, so that it stays responsive while they compute.
"use strict";

importScripts("network.js", "timed.js", "masks_network.js");

const { buildMaskNetwork, computeMaskLogits } = maskNetwork;
const networks = {};

addEventListener("message", ({ data: { load, pixels, input, token } }) => {
  try {
    for (const [name, { file, stride }] of Object.entries(load ?? {})) {
      networks[name] = buildMaskNetwork(file, stride);
      // The first runs are slow, until the browser has compiled the program.
      const blank = new Uint8Array(input.side ** 2 * input.mean.length);
      for (let run = 0; run < 3; run++) computeMaskLogits(networks[name], blank, input);
    }
    const answers =
      pixels &&
      Object.fromEntries(
        Object.entries(networks).map(([name, network]) => [name, timed(() => computeMaskLogits(network, pixels, input))]),
      );
    postMessage({ token, answers });
  } catch (error) {
    postMessage({ token, error: error.message });
  }
});
