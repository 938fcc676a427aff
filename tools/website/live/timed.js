// Measures in a worker how long a network takes.
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
