// Seeds, as the command line's --seeds takes them.

const MOST = 1000;
const LAST = 2n ** 64n - 1n;

// As the command line quotes them.
const short = (text) => text.length <= 60 ? `'${text}'` : `'${text.slice(0, 57)}'...`;

// "0-15", "3,7" or a mix of both -> BigInts; throws one line where the text is no such list.
export function parseSeeds(text) {
  const seeds = [];
  for (const part of text.split(",")) {
    const match = /^\s*(\d{1,20})(?:\s*-\s*(\d{1,20}))?\s*$/.exec(part);
    if (!match) throw new Error(`seeds ${short(text)} cannot be read: give a list such as 0-15 or 3,7,20-23`);
    const first = BigInt(match[1]), last = BigInt(match[2] ?? match[1]);
    for (const seed of [first, last]) {
      if (seed > LAST) throw new Error(`seed ${seed} is no 64-bit integer: give 0..${LAST}`);
    }
    if (last < first) throw new Error(`seeds ${part.trim()} run backwards: give ${last}-${first}`);
    if (BigInt(seeds.length) + last - first >= MOST) {
      throw new Error(`seeds ${short(text)} are over ${MOST}: draw them in several runs`);
    }
    for (let seed = first; seed <= last; seed += 1n) seeds.push(seed);
  }
  return seeds;
}
