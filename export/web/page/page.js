// The page: what is asked for, what is under way, and what went wrong.

import { openEngine } from "./engine.js";
import { addImage } from "./images.js";
import { addKnobs } from "./knobs.js";
import { parseSeeds } from "./seeds.js";

const [title, form, seeds, draw, stop, error, status, progress, images] = [
  "title", "form", "seeds", "draw", "stop", "error", "status", "progress", "images",
].map((id) => document.getElementById(id));

const tell = (text) => { status.textContent = text; };
const time = (milliseconds) => milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;

async function main() {
  tell("Loading ...");
  const sampler = await readSampler();
  const [, height, width] = sampler.image;
  const steps = sampler.steps === 1 ? "1 step" : `${sampler.steps} steps`;
  title.textContent = `${sampler.name}: ${width} × ${height}, ${steps}, ${sampler.precision}`;
  document.title = sampler.name;
  const readKnobs = addKnobs(document.getElementById("knobs"), sampler.knobs);
  const engine = await openEngine(sampler, tell);
  const threads = engine.threads === 1 ? "one thread" : `${engine.threads} threads`;
  tell(`Opened in ${time(engine.milliseconds)}, to draw in ${threads}.`);
  draw.disabled = false;

  let stopped = false;
  stop.addEventListener("click", () => { stopped = true; });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    stopped = false;
    reported(async () => {
      // Before anything is waited for: what is pressed twice would be drawn twice.
      [draw.disabled, stop.disabled] = [true, false];
      try {
        const wanted = parseSeeds(seeds.value);
        const knobs = await readKnobs();
        progress.hidden = false;
        images.replaceChildren();
        await drawAll(wanted, knobs);
      } finally {
        [draw.disabled, stop.disabled, progress.hidden] = [false, true, true];
      }
    });
  });

  // One at a time: each appears as soon as it is there.
  async function drawAll(wanted, knobs) {
    let spent = 0, count = 0;
    progress.max = wanted.length;
    try {
      for (const seed of wanted) {
        if (stopped) break;
        progress.value = count;
        tell(`Drawing seed ${seed}, ${count + 1} of ${wanted.length} ...`);
        const { pixels, milliseconds } = await engine.draw(seed, knobs);
        addImage(images, seed, pixels, sampler.image, time(milliseconds));
        spent += milliseconds;
        count += 1;
      }
    } finally {
      tell(`${count} of ${wanted.length} images` + (count ? `, ${time(spent / count)} each.` : "."));
    }
  }
}

// What the page is told of the artifact.
async function readSampler() {
  const right = "serve the folder as --web wrote it";
  const answer = await fetch("sampler.json", { cache: "no-cache" }).catch(() => null);
  if (!answer?.ok) throw new Error(`sampler.json cannot be loaded (${answer?.status ?? "no answer"}): ${right}`);
  // Many servers answer with another page where a file is missing.
  return answer.json().catch(() => { throw new Error(`sampler.json is not as it was exported: ${right}`); });
}

// Runs what may fail; what failed is one line on the page.
async function reported(work) {
  error.textContent = "";
  try {
    await work();
  } catch (problem) {
    error.textContent = String(problem.message ?? problem).split("\n")[0];
  }
}

reported(async () => {
  try {
    await main();
  } catch (problem) {
    tell("Nothing can be drawn.");
    throw problem;
  }
});
