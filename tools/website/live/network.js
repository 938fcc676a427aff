// The networks of the page "live": reads a file of weights as the course stores them, and computes logits.
//
// Students (PocketCNN) and teachers (ResidualTeacher) of kdcourse/models/convolutional.py share this code. Images are
// planes of float32, one per channel, each with a border of zeros, so that a 3x3 convolution needs no special case at
// an edge. Runs in a worker, and in Node for the tests.
"use strict";

/** Read a safetensors file (https://github.com/huggingface/safetensors): name -> Float32Array, with its shape. */
function readTensors(buffer) {
  const view = new DataView(buffer);
  const start = 8 + Number(view.getBigUint64(0, true));
  const entries = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  const tensors = {};
  delete entries.__metadata__;
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(entries)) {
    if (name.endsWith("num_batches_tracked")) continue;
    const bytes = buffer.slice(start + begin, start + end); // a copy, because offsets needn't be aligned
    if (bytes.byteLength !== end - begin) throw new Error("the file is cut short");
    if (dtype !== "F16" && dtype !== "F32") throw new Error(`${name} is of type ${dtype}; only F16 and F32 can be read`);
    tensors[name] = { shape, values: dtype === "F32" ? new Float32Array(bytes) : fromHalf(new Uint16Array(bytes)) };
  }
  return tensors;
}

/** Convert IEEE 754 half precision (sign, 5 bits of exponent, 10 bits of fraction) to float32. */
function fromHalf(halves) {
  const powers = Array.from({ length: 32 }, (_, exponent) => 2 ** (Math.max(exponent, 1) - 25));
  return Float32Array.from(halves, (half) => {
    const exponent = (half >> 10) & 31;
    const fraction = (half & 1023) + (exponent > 0 ? 1024 : 0);
    return (half & 32768 ? -1 : 1) * fraction * powers[exponent];
  });
}

/** Build a network from the content of its file. */
function buildNetwork(buffer) {
  const tensors = readTensors(buffer);
  const step = (conv, norm) => ({ conv: tensors[`${conv}.weight`], ...scaleAndShift(tensors, norm) });
  const stages = [];
  for (let n = 0; `stages.${n}.expand.weight` in tensors; n++) {
    const at = `stages.${n}`;
    const blocks = []; // each is a list of convolutions around one shortcut
    if (`${at}.first.weight` in tensors) {
      blocks.push(["first", "second"].map((name) => step(`${at}.${name}`, `${at}.${name}_norm`)));
    }
    for (let k = 0; `${at}.refine.${k}.weight` in tensors; k++) {
      blocks.push([step(`${at}.refine.${k}`, `${at}.refine_norms.${k}`)]);
    }
    stages.push({ expand: step(`${at}.expand`, `${at}.expand_norm`), blocks });
  }
  const isTeacher = "stem.weight" in tensors;
  return {
    stem: isTeacher ? step("stem", "stem_norm") : null,
    stages,
    weight: tensors["head.weight"].values,
    bias: tensors["head.bias"]?.values,
    divisor: isTeacher ? 8 : 1, // ResidualTeacher's logits leave scaled by 1/8
  };
}

/** BatchNorm in eval mode as one factor and one summand per channel. */
function scaleAndShift(tensors, name) {
  const [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"].map(
    (part) => tensors[`${name}.${part}`].values,
  );
  const scale = gamma.map((value, c) => value / Math.sqrt(variance[c] + 1e-5));
  return { scale, shift: beta.map((value, c) => value - mean[c] * scale[c]) };
}

/** Compute logits for one grey image: Uint8Array [side * side] -> Array [classes]. */
function computeLogits(network, pixels, { side, mean, std }) {
  let image = { channels: 1, side, values: new Float32Array((side + 2) ** 2) };
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      image.values[(y + 1) * (side + 2) + x + 1] = (pixels[y * side + x] / 255 - mean) / std;
    }
  }
  if (network.stem) image = normalised(convolved(image, network.stem.conv), network.stem);
  for (const { expand, blocks } of network.stages) {
    image = normalised(halved(convolved(image, expand.conv)), expand);
    for (const block of blocks) {
      let inner = image;
      for (const step of block) inner = normalised(convolved(inner, step.conv), step);
      for (let at = 0; at < inner.values.length; at++) inner.values[at] += image.values[at];
      image = inner;
    }
  }
  const most = maxima(image);
  return Array.from({ length: network.weight.length / most.length }, (_, k) => {
    let sum = 0;
    for (let c = 0; c < most.length; c++) sum += network.weight[k * most.length + c] * most[c];
    return (sum + (network.bias?.[k] ?? 0)) / network.divisor;
  });
}

/** Convolve with 3x3 kernels, four output channels at a time. */
function convolved({ channels, side, values: input }, { shape: [outputs], values: kernels }) {
  const width = side + 2;
  const plane = width * width;
  const output = new Float32Array(outputs * plane);
  // One loop over a plane, borders between the rows included, which are set back to zero afterwards.
  const [first, last] = [width + 1, plane - width - 1];
  for (let o = 0; o < outputs; o += 4) {
    for (let c = 0; c < channels; c++) {
      const [k0, k1, k2, k3] = [0, 1, 2, 3].map((more) => ((o + more) * channels + c) * 9);
      accumulate(input.subarray(c * plane, (c + 1) * plane), output.subarray(o * plane, (o + 4) * plane), kernels, k0, k1, k2, k3, first, last, width, plane);
    }
  }
  for (let channel = 0; channel < outputs; channel++) {
    for (let row = 1; row <= side; row++) {
      const at = channel * plane + row * width;
      output[at] = output[at + width - 1] = 0;
    }
  }
  return { channels: outputs, side, values: output };
}

/** Add one input plane, convolved with four kernels, to four output planes. */
function accumulate(input, output, kernels, k0, k1, k2, k3, first, last, width, plane) {
  const a0 = kernels[k0], a1 = kernels[k0 + 1], a2 = kernels[k0 + 2], a3 = kernels[k0 + 3], a4 = kernels[k0 + 4],
    a5 = kernels[k0 + 5], a6 = kernels[k0 + 6], a7 = kernels[k0 + 7], a8 = kernels[k0 + 8];
  const b0 = kernels[k1], b1 = kernels[k1 + 1], b2 = kernels[k1 + 2], b3 = kernels[k1 + 3], b4 = kernels[k1 + 4],
    b5 = kernels[k1 + 5], b6 = kernels[k1 + 6], b7 = kernels[k1 + 7], b8 = kernels[k1 + 8];
  const c0 = kernels[k2], c1 = kernels[k2 + 1], c2 = kernels[k2 + 2], c3 = kernels[k2 + 3], c4 = kernels[k2 + 4],
    c5 = kernels[k2 + 5], c6 = kernels[k2 + 6], c7 = kernels[k2 + 7], c8 = kernels[k2 + 8];
  const d0 = kernels[k3], d1 = kernels[k3 + 1], d2 = kernels[k3 + 2], d3 = kernels[k3 + 3], d4 = kernels[k3 + 4],
    d5 = kernels[k3 + 5], d6 = kernels[k3 + 6], d7 = kernels[k3 + 7], d8 = kernels[k3 + 8];
  let x0 = input[first - width - 1], x1 = input[first - width];
  let x3 = input[first - 1], x4 = input[first];
  let x6 = input[first + width - 1], x7 = input[first + width];
  for (let at = first; at < last; at++) {
    const x2 = input[at - width + 1], x5 = input[at + 1], x8 = input[at + width + 1];
    output[at] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3 + a4 * x4 + a5 * x5 + a6 * x6 + a7 * x7 + a8 * x8;
    output[at + plane] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3 + b4 * x4 + b5 * x5 + b6 * x6 + b7 * x7 + b8 * x8;
    output[at + 2 * plane] += c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3 + c4 * x4 + c5 * x5 + c6 * x6 + c7 * x7 + c8 * x8;
    output[at + 3 * plane] += d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3 + d4 * x4 + d5 * x5 + d6 * x6 + d7 * x7 + d8 * x8;
    x0 = x1; x1 = x2; x3 = x4; x4 = x5; x6 = x7; x7 = x8;
  }
}

/** Keep the maxima of squares of 2x2 pixels. */
function halved({ channels, side, values }) {
  const half = Math.floor(side / 2);
  const [width, narrow] = [side + 2, half + 2];
  const output = new Float32Array(channels * narrow * narrow);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < half; y++) {
      let from = c * width * width + (2 * y + 1) * width + 1;
      let to = c * narrow * narrow + (y + 1) * narrow + 1;
      for (let x = 0; x < half; x++, from += 2) {
        output[to++] = Math.max(values[from], values[from + 1], values[from + width], values[from + width + 1]);
      }
    }
  }
  return { channels, side: half, values: output };
}

/** Apply factor, summand and ReLU to every channel, in place. */
function normalised(image, { scale, shift }) {
  const { channels, side, values } = image;
  const width = side + 2;
  for (let c = 0; c < channels; c++) {
    const [factor, summand] = [scale[c], shift[c]];
    for (let y = 1; y <= side; y++) {
      const row = (c * width + y) * width;
      for (let at = row + 1; at <= row + side; at++) {
        const value = values[at] * factor + summand;
        values[at] = value > 0 ? value : 0;
      }
    }
  }
  return image;
}

/** The maximum of every channel; after a ReLU the border's zeros are never above it. */
function maxima({ channels, values }) {
  const plane = values.length / channels;
  return Array.from({ length: channels }, (_, c) => values.subarray(c * plane, (c + 1) * plane).reduce((a, b) => Math.max(a, b)));
}

if (typeof module === "object") module.exports = { buildNetwork, computeLogits, readTensors, scaleAndShift };
