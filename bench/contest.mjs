import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { summarize } from './statistics.mjs';

const ANSWER_LIMIT_MS = 10 * 60_000;
// OpenBLAS and OpenMP threads spin for some 30 ms after a call, on a core that is not theirs then.
const PAUSE_MS = 40;
const MOST_SAMPLES = 200;

/** A program in a process of its own that measures one sample whenever it is asked. */
export class Worker {
  #child;
  #lines;
  #stderr = '';

  constructor({ command, args, env }) {
    this.#child = spawn(command, args, {
      env,
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stderr.on('data', (chunk) => {
      this.#stderr = (this.#stderr + chunk).slice(-4000);
    });
    // A worker that died is noticed when its answer is missing.
    this.#child.on('error', (error) => {
      this.#stderr += error.message;
    });
    this.#child.stdin.on('error', () => {});
    this.#lines = createInterface({ input: this.#child.stdout })[
      Symbol.asyncIterator
    ]();
  }

  get pid() {
    return this.#child.pid;
  }

  /** Its next line of JSON; what libraries print besides is skipped. */
  async answer() {
    const limit = setTimeout(() => {
      this.#stderr += `no answer within ${ANSWER_LIMIT_MS / 60_000} minutes`;
      this.stop();
    }, ANSWER_LIMIT_MS);
    try {
      for (;;) {
        const { value, done } = await this.#lines.next();
        if (done) throw new Error(await this.#lastWords());
        if (value.startsWith('{')) return JSON.parse(value);
      }
    } finally {
      clearTimeout(limit);
    }
  }

  async sample() {
    await sleep(PAUSE_MS);
    this.#child.stdin.write('sample\n');
    return this.answer();
  }

  end() {
    this.#child.stdin.end();
    return this.answer();
  }

  stop() {
    this.#child.kill('SIGKILL');
  }

  async #lastWords() {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      await once(this.#child, 'close');
    }
    const { exitCode, signalCode } = this.#child;
    const lines = this.#stderr.trim().split('\n');
    // Node ends with its version, Python with the error.
    const cause =
      lines.findLast((line) => /Error\b.*:/.test(line)) ?? lines.at(-1);
    return cause || `ended with ${signalCode ?? `exit code ${exitCode}`}`;
  }
}

/** Means over the samples of what was counted besides the time. */
function means(samples) {
  const names = Object.keys(samples[0]).filter((name) => name !== 'seconds');
  return Object.fromEntries(
    names.map((name) => {
      const sum = samples.reduce((total, sample) => total + sample[name], 0);
      return [name, sum / samples.length];
    }),
  );
}

/** One contender's part: it starts, takes turns until it has enough samples, and ends. */
class Turns {
  samples = [];
  error;
  #contender;
  #how;
  #worker;
  #about;
  #end;
  #total = 0;

  constructor(contender, how) {
    this.#contender = contender;
    this.#how = how;
  }

  /** Does something of the worker's; a failure ends this contender's part only. */
  async #attempt(action) {
    if (this.error !== undefined) return;
    try {
      await action();
    } catch (error) {
      this.error = error.message;
      this.#worker.stop();
    }
  }

  start() {
    return this.#attempt(async () => {
      this.#worker = new Worker(this.#contender);
      this.#about = await this.#worker.answer();
      const warmUps = this.#contender.slow ? 1 : 2;
      for (let turn = 0; turn < warmUps; turn += 1) await this.#worker.sample();
    });
  }

  get isDone() {
    if (this.error !== undefined) return true;
    const { seconds, smallestSamples, slowSamples } = this.#how;
    const count = this.samples.length;
    if (this.#contender.slow) return count >= slowSamples;
    if (count >= MOST_SAMPLES) return true;
    return count >= smallestSamples && this.#total >= seconds;
  }

  take() {
    return this.#attempt(async () => {
      const sample = await this.#worker.sample();
      this.samples.push(sample);
      this.#total += sample.seconds;
    });
  }

  async finish() {
    await this.#attempt(async () => {
      this.#end = await this.#worker.end();
    });
    if (this.error !== undefined) return { error: this.error };
    const seconds = this.samples.map((sample) => sample.seconds);
    return {
      ...this.#about,
      time: { ...summarize(seconds), seconds },
      ...means(this.samples),
      ...this.#end,
    };
  }
}

/** Measures what can stay in memory together, taking turns so that noise meets all of it. */
async function measureTogether(entries, how) {
  const turns = entries.map(([, contender]) => new Turns(contender, how));
  for (const turn of turns) await turn.start();
  for (let round = 0; turns.some((turn) => !turn.isDone); round += 1) {
    // Forwards and backwards: nobody always runs behind the same neighbour.
    const order = round % 2 === 0 ? turns : turns.toReversed();
    for (const turn of order) {
      if (!turn.isDone) await turn.take();
    }
  }
  const results = [];
  for (const turn of turns) results.push(await turn.finish());
  return entries.map(([name], index) => [name, results[index]]);
}

/**
 * Measures contenders against each other.
 *
 * @param contenders By name: `{ command, args, env }` of a worker, `slow` when few samples must do,
 * or `{ missing }` with a hint when it is not installed.
 * @param how `seconds` and `smallestSamples` of each, `slowSamples` of the slow ones; `alone` when
 * they do not fit in memory together.
 * @returns By name: time, means of the counters and what the worker said; or `error`; or `missing`.
 */
export async function contest(contenders, how) {
  const entries = Object.entries(contenders);
  const present = entries.filter(([, { missing }]) => missing === undefined);
  const groups = how.alone ? present.map((entry) => [entry]) : [present];
  const measured = [];
  for (const group of groups) {
    measured.push(...(await measureTogether(group, how)));
  }
  const results = Object.fromEntries(measured);
  return Object.fromEntries(
    entries.map(([name, { missing }]) => [name, results[name] ?? { missing }]),
  );
}
