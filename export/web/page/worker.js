// The worker: ONNX Runtime, and the artifact's graph in it.

import * as ort from "./onnxruntime-web/ort.wasm.min.js";

ort.env.wasm.wasmPaths = { mjs: new URL("onnxruntime-web/ort-wasm-simd-threaded.js", import.meta.url).href };
// Threads need memory that they share, which a browser gives only to a page that is isolated from all others. With 0
// ONNX Runtime takes one for two processors, four at most, and so none besides where there are two: both are faster.
const processors = navigator.hardwareConcurrency;
ort.env.wasm.numThreads = !self.crossOriginIsolated ? 1 : processors === 2 ? 2 : 0;

let session;

const work = {
  async open({ binary, graph, beside }) {
    ort.env.wasm.wasmBinary = binary;
    const externalData = Object.entries(beside).map(([path, data]) => ({ path, data: new Uint8Array(data) }));
    session = await ort.InferenceSession.create(new Uint8Array(graph), { executionProviders: ["wasm"], externalData });
    return { threads: ort.env.wasm.numThreads };
  },

  async draw({ seed, knobs }) {
    const feeds = { seed: new ort.Tensor("int64", BigInt64Array.of(BigInt.asIntN(64, seed)), [1, 1]) };
    for (const [name, { dtype, shape, data }] of Object.entries(knobs)) {
      feeds[name] = new ort.Tensor(dtype, data, [1, ...shape]);
    }
    const { image } = await session.run(feeds);
    return { pixels: image.data };
  },
};

self.onmessage = async ({ data: question }) => {
  const started = performance.now();
  try {
    const answer = await work[question.kind](question);
    self.postMessage({ ...answer, milliseconds: performance.now() - started });
  } catch (problem) {
    self.postMessage({ error: `onnxruntime-web: ${problem.message ?? problem}` });
  }
};
