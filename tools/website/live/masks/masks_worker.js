// Runs the students of the page "live_masks" beside the page, so that it stays responsive while they compute.
"use strict";

importScripts("network.js", "answering.js", "masks_network.js");

answerMessages(({ file, stride }) => maskNetwork.buildMaskNetwork(file, stride), maskNetwork.computeMaskLogits);
