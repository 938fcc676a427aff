// Answers the messages of a live page in its worker: loads networks, computes, and measures how long that takes.
"use strict";

const SHORTEST_MS = 8; // browsers round their clocks, some to a millisecond

/** Answer once, and again until the clock can tell how long an answer takes: {logits, ms}. */
function timed(answer) {
  const begin = performance.now();
  let logits;
  let runs = 0;
  let ms;
  do {
    logits = answer();
    runs += 1;
    ms = performance.now() - begin;
  } while (ms < SHORTEST_MS);
  return { logits, ms: ms / runs };
}

/** Answer messages: `build` makes a network of what is loaded under a name, `answer` its logits for an image. */
function answerMessages(build, answer) {
  const networks = {};
  addEventListener("message", ({ data: { load, pixels, input, token } }) => {
    try {
      for (const [name, files] of Object.entries(load ?? {})) {
        networks[name] = build(files);
        // The first runs are slow, until the browser has compiled the program.
        const blank = new Uint8Array(input.side ** 2 * (input.mean.length ?? 1)); // a number, or one per channel
        for (let run = 0; run < 3; run++) answer(networks[name], blank, input);
      }
      const answers =
        pixels &&
        Object.fromEntries(
          Object.entries(networks).map(([name, network]) => [name, timed(() => answer(network, pixels, input))]),
        );
      postMessage({ token, answers });
    } catch (error) {
      postMessage({ token, error: error.message });
    }
  });
}
