// Images on the page.

const ENLARGED = 160; // CSS pixels of a small image's longer side, at most

// Adds an image; pixels: uint8 [H, W, C], C = 1 or 3: a canvas does not keep colours that are transparent.
export function addImage(parent, seed, pixels, [channels, height, width], time) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  // By a whole factor, so that all pixels are of one size.
  const factor = Math.max(1, Math.floor(ENLARGED / Math.max(width, height)));
  Object.assign(canvas.style, { width: `${width * factor}px`, imageRendering: factor > 1 ? "pixelated" : "auto" });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Image of seed ${seed}`);
  canvas.getContext("2d").putImageData(new ImageData(rgba(pixels, channels), width, height), 0, 0);

  const save = document.createElement("button");
  save.textContent = "PNG";
  save.title = `Save ${seed}.png`;
  save.setAttribute("aria-label", save.title);
  save.addEventListener("click", () => canvas.toBlob((blob) => download(blob, `${seed}.png`)));

  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.append(span(`seed ${seed}`), span(time), save);
  figure.dataset.seed = seed;
  figure.append(canvas, caption);
  parent.append(figure);
}

function span(text) {
  const made = document.createElement("span");
  made.textContent = text;
  return made;
}

function rgba(pixels, channels) {
  const count = pixels.length / channels;
  const all = new Uint8ClampedArray(4 * count).fill(255);
  for (let i = 0; i < count; i += 1) {
    for (let c = 0; c < 3; c += 1) all[4 * i + c] = pixels[i * channels + (channels === 1 ? 0 : c)];
  }
  return all;
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // Some browsers come to read it only after this.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
