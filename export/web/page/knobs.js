// Controls for the knobs: what an image is drawn with, beside its seed.

// Adds a control for each. Returns what reads them: name -> {dtype, shape, data}, throwing one line if one is wrong.
export function addKnobs(parent, knobs) {
  const controls = knobs.map((knob) => [knob, addControl(parent, knob)]);
  return async () => {
    const values = {};
    for (const [knob, input] of controls) {
      const data = knob.dtype === "uint8" ? await pictureOf(knob, input) : numberOf(knob, input);
      values[knob.name] = { dtype: knob.dtype, shape: knob.shape, data };
    }
    return values;
  };
}

function addControl(parent, knob) {
  const input = document.createElement("input");
  input.name = knob.name;
  if (knob.dtype === "uint8") {
    const [height, width] = knob.shape;
    Object.assign(input, { type: "file", accept: "image/*" });
    parent.append(labelled(input, `${knob.name}: a picture of ${width} × ${height}`, knob.help));
    return input;
  }
  const step = knob.dtype === "int64" ? 1 : "any";
  Object.assign(input, { type: "number", min: knob.least, max: knob.most, step, value: knob.default ?? "" });
  const drawn = knob.drawn ? ", below 0 from the seed" : "";
  parent.append(labelled(input, `${knob.name}: ${knob.least}..${knob.most}${drawn}`, knob.help));
  return input;
}

function labelled(input, text, help) {
  const label = document.createElement("label");
  label.title = help;
  label.append(text, input);
  return label;
}

function numberOf(knob, input) {
  const right = `give a number in ${knob.least}..${knob.most}`;
  const empty = input.value === "";
  if (input.validity.badInput || (empty && knob.default === null)) throw new Error(`${knob.name} is no number: ${right}`);
  const value = empty ? knob.default : Number(input.value);
  if (knob.dtype === "int64" && !Number.isSafeInteger(value)) throw new Error(`${knob.name} ${value} is no integer: ${right}`);
  if (!(value >= knob.least && value <= knob.most)) throw new Error(`${knob.name} ${value} is out of range: ${right}`);
  return knob.dtype === "int64" ? BigInt64Array.of(BigInt(value)) : Float32Array.of(value);
}

// uint8 [h, w, C] of the file that was chosen; the browser decodes it, and nothing is resized.
async function pictureOf({ name, shape: [height, width, channels] }, input) {
  const right = `choose a picture of ${width} × ${height} pixels, none of them transparent`;
  const [file] = input.files;
  if (!file) throw new Error(`${name} must be given: ${right}`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${file.name} is no picture that this browser reads: ${right}`);
  }
  if (bitmap.width !== width || bitmap.height !== height) {
    throw new Error(`${file.name} is ${bitmap.width} × ${bitmap.height}: ${right}`);
  }
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  // A canvas does not keep the colours there, nor does a model know of it.
  if (rgba.some((value, i) => i % 4 === 3 && value < 255)) throw new Error(`${file.name} is transparent in places: ${right}`);
  return Uint8Array.from({ length: height * width * channels }, (_, i) => rgba[Math.floor(i / channels) * 4 + i % channels]);
}
