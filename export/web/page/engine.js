// ONNX Runtime in a thread of its own, so that the page stays awake while it draws.

const NOT_STARTED = "worker.js cannot be started: it is missing, is not handed out as JavaScript, or is forbidden by the " +
  "server's Content-Security-Policy, or the browser is too old; the browser's console says which";

// Loads the graph, its weights and ONNX Runtime, and opens the graph. runtime, files: name -> {bytes, integrity};
// tell: is told of the stops.
export async function openEngine({ runtime, files }, tell) {
  // The scripts among them are imported later: by then the browser's cache has no older ones of another version.
  const { "onnxruntime-web/ort-wasm-simd-threaded.wasm": binary } = await loadAll(runtime, tell);
  const { "ddgan.onnx": graph, ...beside } = await loadAll(files, tell);
  tell("Opening the graph ...");
  const ask = startWorker();
  const moved = [binary, graph, ...Object.values(beside)];
  const { milliseconds, threads } = await ask({ kind: "open", binary, graph, beside }, moved);
  return {
    milliseconds,
    threads,
    // One image: seed is a BigInt, knobs name -> {dtype, shape, data}. Returns {pixels: uint8 [H, W, C], milliseconds}.
    draw: (seed, knobs) => ask({ kind: "draw", seed, knobs }),
  };
}

async function loadAll(files, tell) {
  const loaded = {};
  for (const [name, file] of Object.entries(files)) {
    tell(`Loading ${name}, ${(file.bytes / 1e6).toFixed(1)} MB ...`);
    loaded[name] = await load(name, file);
  }
  return loaded;
}

// The browser itself compares what came with what was exported.
async function load(name, { integrity }) {
  try {
    const answer = await fetch(name, { integrity, cache: "no-cache" });
    if (answer.ok) return await answer.arrayBuffer();
  } catch {
    // What went wrong a browser tells its console alone.
  }
  throw new Error(`${name} is missing, or not as it was exported: serve the folder as --web wrote it`);
}

// Returns a function that asks the worker and waits for its answer; a question at a time.
function startWorker() {
  // A worker out of a blob keeps the page's Content-Security-Policy; one out of a file would have none.
  const source = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
  const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(address, { type: "module" });
  return (question, moved = []) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => data.error === undefined ? resolve(data) : reject(new Error(data.error));
    worker.onerror = (event) => reject(new Error(event.message || NOT_STARTED));
    worker.postMessage(question, moved);
  });
}
