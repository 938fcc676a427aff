// The network of the page "live_masks": computes logits for every pixel of an image.
//
// The U-Net of kdcourse/models/unet.py. Widths, depth and sizes of kernels follow from the shapes of the stored weights;
// the stride of the first convolution doesn't, and comes from masks.json. Maps are planes of float32, one per channel.
// Runs in a worker, beside network.js, and in Node for the tests.
"use strict";

const maskNetwork = (() => {
  const { readTensors, scaleAndShift } = typeof module === "object" ? require("../network.js") : globalThis;

  /** Build a network from the content of its file and the stride of its first convolution. */
  function buildMaskNetwork(buffer, stride) {
    const tensors = readTensors(buffer);
    const levels = (way) => {
      const found = [];
      for (let n = 0; `${way}.${n}.0.weight` in tensors; n++) {
        const steps = []; // modules 0, 1, 2 of a level are a convolution, its norm and a ReLU; 3, 4, 5 the next
        for (let k = 0; `${way}.${n}.${k}.weight` in tensors; k += 3) {
          const step = folded(tensors[`${way}.${n}.${k}.weight`], scaleAndShift(tensors, `${way}.${n}.${k + 1}`));
          steps.push({ ...step, stride: way === "down" && n === 0 && k === 0 ? stride : 1, relu: true });
        }
        found.push(steps);
      }
      return found;
    };
    const { shape, values } = tensors["head.weight"];
    const head = { shape, kernels: values, bias: tensors["head.bias"].values, stride: 1, relu: false };
    return { stride, down: levels("down"), up: levels("up"), head };
  }

  /** A convolution without bias and its BatchNorm in eval mode, as one convolution with bias. */
  function folded({ shape, values }, { scale, shift }) {
    const each = values.length / shape[0];
    return { shape, kernels: values.map((value, at) => value * scale[Math.floor(at / each)]), bias: shift };
  }

  /**
   * Compute logits for one square image: Uint8Array [side * side * channels], a pixel's channels side by side
   * -> Float32Array [classes * side * side], one plane per class. mean and std have a value per channel.
   */
  function computeMaskLogits(network, pixels, { side, mean, std }) {
    const channels = mean.length;
    let image = { channels, height: side, width: side, values: new Float32Array(channels * side * side) };
    for (let c = 0; c < channels; c++) {
      for (let at = 0; at < side * side; at++) {
        image.values[c * side * side + at] = (pixels[at * channels + c] / 255 - mean[c]) / std[c];
      }
    }
    // An image that is too small for all levels is enlarged first.
    const smallest = Math.max(side, network.stride * 2 ** (network.down.length - 1));
    image = resized(image, smallest, smallest);
    const seen = [];
    for (const level of network.down) {
      image = level.reduce(convolved, seen.length > 0 ? halved(image) : image);
      seen.push(image);
    }
    seen.pop();
    for (const level of network.up) {
      const beside = seen.pop();
      image = level.reduce(convolved, joined(resized(image, beside.height, beside.width), beside));
    }
    return resized(convolved(image, network.head), side, side).values;
  }

  /** Convolve, with zeros around the image so that stride 1 keeps its size; add the bias; set negatives to 0 if asked. */
  function convolved(image, { shape: [outputs, inputs, size], kernels, bias, stride, relu }) {
    const pad = Math.floor(size / 2);
    const { width: span, plane: area, values: input } = padded(image, pad);
    const height = Math.floor((image.height + 2 * pad - size) / stride) + 1;
    const width = Math.floor((image.width + 2 * pad - size) / stride) + 1;
    const output = new Float32Array(outputs * height * width);
    for (let o = 0; o < outputs; o++) {
      const plane = output.subarray(o * height * width, (o + 1) * height * width).fill(bias[o]);
      for (let place = 0; place < inputs * size * size; place++) {
        const weight = kernels[o * inputs * size * size + place];
        const [c, row, column] = [Math.floor(place / (size * size)), Math.floor(place / size) % size, place % size];
        for (let y = 0; y < height; y++) {
          let from = c * area + (y * stride + row) * span + column;
          const end = (y + 1) * width;
          for (let to = y * width; to < end; to++, from += stride) plane[to] += weight * input[from];
        }
      }
      if (relu) for (let at = 0; at < plane.length; at++) if (plane[at] < 0) plane[at] = 0;
    }
    return { channels: outputs, height, width, values: output };
  }

  function padded({ channels, height, width, values }, pad) {
    const [tall, wide] = [height + 2 * pad, width + 2 * pad];
    if (pad === 0) return { width, plane: height * width, values };
    const output = new Float32Array(channels * tall * wide);
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        const from = (c * height + y) * width;
        output.set(values.subarray(from, from + width), (c * tall + y + pad) * wide + pad);
      }
    }
    return { width: wide, plane: tall * wide, values: output };
  }

  /** Keep the maxima of squares of 2x2 pixels; an odd last row or column is left out. */
  function halved({ channels, height, width, values }) {
    const [low, narrow] = [Math.floor(height / 2), Math.floor(width / 2)];
    const output = new Float32Array(channels * low * narrow);
    let to = 0;
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < low; y++) {
        let from = (c * height + 2 * y) * width;
        for (let x = 0; x < narrow; x++, from += 2) {
          output[to++] = Math.max(values[from], values[from + 1], values[from + width], values[from + width + 1]);
        }
      }
    }
    return { channels, height: low, width: narrow, values: output };
  }

  /** Resize bilinearly, as PyTorch does with align_corners=False: pixels are squares, and their corners are aligned. */
  function resized(image, height, width) {
    if (image.height === height && image.width === width) return image;
    const [rows, columns] = [between(image.height, height), between(image.width, width)];
    const output = new Float32Array(image.channels * height * width);
    let to = 0;
    for (let c = 0; c < image.channels; c++) {
      const plane = image.values.subarray(c * image.height * image.width, (c + 1) * image.height * image.width);
      for (const { first, second, share } of rows) {
        const [above, below] = [first * image.width, second * image.width];
        for (const { first: left, second: right, share: along } of columns) {
          const top = plane[above + left] * (1 - along) + plane[above + right] * along;
          const bottom = plane[below + left] * (1 - along) + plane[below + right] * along;
          output[to++] = top * (1 - share) + bottom * share;
        }
      }
    }
    return { channels: image.channels, height, width, values: output };
  }

  /** For each place of a resized axis: the two places of the original one that it lies between, and the second's share. */
  function between(before, after) {
    return Array.from({ length: after }, (_, place) => {
      const centre = Math.max(0, ((place + 0.5) * before) / after - 0.5);
      const first = Math.floor(centre);
      return { first, second: Math.min(first + 1, before - 1), share: centre - first };
    });
  }

  /** The channels of one image, then those of another one of the same size. */
  function joined(one, other) {
    const values = new Float32Array(one.values.length + other.values.length);
    values.set(one.values);
    values.set(other.values, one.values.length);
    return { ...one, channels: one.channels + other.channels, values };
  }

  return { buildMaskNetwork, computeMaskLogits };
})();

if (typeof module === "object") module.exports = maskNetwork;
