// Runs networks beside the page, so that drawing stays smooth while they compute.
"use strict";

importScripts("network.js", "answering.js");

/** The mean of the logits of networks that answer together. */
function answer(networks, pixels, input) {
  const each = networks.map((network) => computeLogits(network, pixels, input));
  return each[0].map((_, k) => each.reduce((sum, logits) => sum + logits[k], 0) / each.length);
}

answerMessages((files) => files.map(buildNetwork), answer);
