// The networks of the page "masks": U-Nets of kdcourse/models/unet.py, from the files that the course stores.
//
// Runs in the page, and in Node for the tests. An image takes a few milliseconds, so no worker is needed. Files are read
// by live/network.js, which the page loads before.
"use strict";

const maskNetworks = (({ readTensors, scaleAndShift }) => {
  /** Build a U-Net from the content of its file and the stride of its first convolution; the rest is in the tensors. */
  function build(buffer, stride) {
    const tensors = readTensors(buffer);
    const level = (name) => {
      const steps = []; // convolution, norm, ReLU: numbers 0, 1, 2 of the sequence, then the next step's
      for (let n = 0; `${name}.${n}.weight` in tensors; n += 3) {
        steps.push({ kernels: tensors[`${name}.${n}.weight`], ...scaleAndShift(tensors, `${name}.${n + 1}`) });
      }
      return steps;
    };
    const levels = (way) => {
      const found = [];
      while (`${way}.${found.length}.0.weight` in tensors) found.push(level(`${way}.${found.length}`));
      return found;
    };
    return { down: levels("down"), up: levels("up"), head: tensors["head.weight"], bias: tensors["head.bias"].values, stride };
  }

  /** Return a class per pixel, Uint8Array [side * side], for an image of that side: Uint8Array [3 * side * side]. */
  function classify(network, pixels, input) {
    const { channels, values } = computeLogits(network, pixels, input);
    const area = values.length / channels;
    return Uint8Array.from({ length: area }, (_, at) => {
      let best = 0;
      for (let k = 1; k < channels; k++) if (values[k * area + at] > values[best * area + at]) best = k;
      return best;
    });
  }

  /** Compute logits, [classes * side * side], for an image whose planes are red, green and blue. */
  function computeLogits(network, pixels, { side, mean, std }) {
    const area = side * side;
    let x = { channels: 3, side, values: Float32Array.from(pixels, (value, at) => {
      const c = Math.floor(at / area);
      return (value / 255 - mean[c]) / std[c];
    }) };
    const seen = [];
    network.down.forEach((level, place) => {
      x = through(level, place ? halved(x) : x, place ? 1 : network.stride);
      seen.push(x);
    });
    network.up.forEach((level, place) => {
      const beside = seen[seen.length - 2 - place];
      x = through(level, joined(resized(x, beside.side), beside), 1);
    });
    const logits = convolved(x, network.head, 1);
    const plane = logits.side ** 2;
    for (let at = 0; at < logits.values.length; at++) logits.values[at] += network.bias[Math.floor(at / plane)];
    return resized(logits, side);
  }

  function through(level, x, stride) {
    level.forEach(({ kernels, scale, shift }, place) => {
      x = convolved(x, kernels, place ? 1 : stride);
      const plane = x.side ** 2;
      for (let at = 0; at < x.values.length; at++) {
        const c = Math.floor(at / plane);
        x.values[at] = Math.max(0, x.values[at] * scale[c] + shift[c]);
      }
    });
    return x;
  }

  /** Convolve with kernels [outputs, channels, size, size], padded by size // 2. */
  function convolved({ channels, side, values }, { shape: [outputs, , size], values: kernels }, stride) {
    const pad = size >> 1;
    const small = Math.floor((side + 2 * pad - size) / stride) + 1;
    const output = new Float32Array(outputs * small * small);
    for (let o = 0; o < outputs; o++) {
      for (let c = 0; c < channels; c++) {
        for (let ky = 0; ky < size; ky++) {
          for (let kx = 0; kx < size; kx++) {
            const weight = kernels[((o * channels + c) * size + ky) * size + kx];
            for (let y = 0; y < small; y++) {
              const from = y * stride + ky - pad;
              if (from < 0 || from >= side) continue;
              const [row, to] = [(c * side + from) * side + kx - pad, (o * small + y) * small];
              for (let x = 0; x < small; x++) {
                const column = x * stride + kx - pad;
                if (column >= 0 && column < side) output[to + x] += weight * values[row + x * stride];
              }
            }
          }
        }
      }
    }
    return { channels: outputs, side: small, values: output };
  }

  /** Keep the maxima of squares of 2x2 pixels. */
  function halved({ channels, side, values }) {
    const half = Math.floor(side / 2);
    const output = new Float32Array(channels * half * half);
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < half; y++) {
        for (let x = 0; x < half; x++) {
          const at = (c * side + 2 * y) * side + 2 * x;
          output[(c * half + y) * half + x] = Math.max(values[at], values[at + 1], values[at + side], values[at + side + 1]);
        }
      }
    }
    return { channels, side: half, values: output };
  }

  function joined(one, other) {
    const values = new Float32Array(one.values.length + other.values.length);
    values.set(one.values);
    values.set(other.values, one.values.length);
    return { channels: one.channels + other.channels, side: one.side, values };
  }

  /** Resize bilinearly, as PyTorch does with align_corners=False. */
  function resized({ channels, side, values }, wanted) {
    const places = Array.from({ length: wanted }, (_, at) => {
      const exact = Math.max(0, ((at + 0.5) * side) / wanted - 0.5);
      const low = Math.min(side - 1, Math.floor(exact));
      return [low, Math.min(side - 1, low + 1), exact - low];
    });
    const output = new Float32Array(channels * wanted * wanted);
    let to = 0;
    for (let c = 0; c < channels; c++) {
      for (const [top, bottom, down] of places) {
        const [above, below] = [(c * side + top) * side, (c * side + bottom) * side];
        for (const [left, right, across] of places) {
          const upper = values[above + left] * (1 - across) + values[above + right] * across;
          const lower = values[below + left] * (1 - across) + values[below + right] * across;
          output[to++] = upper * (1 - down) + lower * down;
        }
      }
    }
    return { channels, side: wanted, values: output };
  }

  return { build, classify, computeLogits };
})(typeof module === "object" ? require("../live/network.js") : { readTensors, scaleAndShift });

if (typeof module === "object") module.exports = maskNetworks;
