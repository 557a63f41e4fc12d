// Part 7. Hostile numbers: α up to 100, s up to 1e4, ties, one class, denormal and huge values, zero
// vectors, more classes than float32 counts, sums of 10^7 terms; against the float64 reference of
// test/helpers/reference.ts, within the numerical contract. And the same bits for any number of threads,
// in every run, and for a row alone or in a batch.
import { readFileSync } from 'node:fs';
import * as api from 'alphamargin';
import ts from 'typescript';
import {
  amount,
  check,
  chooser,
  figure,
  options,
  sameBits,
  uniform,
} from './support.mjs';

/** The reference, which is TypeScript and imports nothing but types. */
const { referencePosterior, referenceRow } = await import(
  `data:text/javascript,${encodeURIComponent(
    ts.transpileModule(
      readFileSync(new URL('../helpers/reference.ts', import.meta.url), 'utf8'),
      {
        compilerOptions: {
          module: ts.ModuleKind.ESNext,
          target: ts.ScriptTarget.ES2022,
        },
      },
    ).outputText,
  )}`
);

const device = 'cpu';
const ORDERS = [1, 1.0001, 1.1, 1.25, 4 / 3, 1.5, 2, 2.5, 3, 5, 10, 50, 100];
const BOUND = 2e-6; // docs/numerical-contract.md
const g = chooser(uniform(Number(options.seed), 71));
const HUGE = 3.4028234663852886e38;

/** Rows of logits of every awkward kind. */
const ROWS = {
  'all equal': (n) => new Float32Array(n).fill(0.37),
  'all zero and minus zero': (n) =>
    Float32Array.from({ length: n }, (_, i) => (i % 2 ? 0 : -0)),
  'the largest float': (n) => new Float32Array(n).fill(HUGE),
  'both ends of float32': (n) =>
    Float32Array.from({ length: n }, (_, i) => (i % 3 ? -HUGE : HUGE)),
  denormal: (n) => Float32Array.from({ length: n }, (_, i) => i * 1e-45),
  'neighbouring floats': (n) =>
    Float32Array.from({ length: n }, (_, i) => 1 + (i % 4) * 2 ** -23),
  'one far ahead': (n) =>
    Float32Array.from({ length: n }, (_, i) => (i === n - 1 ? 1e4 : 0)),
  'many ties at the top': (n) =>
    Float32Array.from({ length: n }, (_, i) => (i % 2 ? 2 : -1)),
  random: (n) => g.floats(n, 3),
  'random, large': (n) => g.floats(n, 1e4),
  'random, tiny': (n) => g.floats(n, 1e-6),
};

function posteriors() {
  let [tried, worst, worstSum] = [0, 0, 0];
  let where = '';
  for (const alpha of ORDERS) {
    for (const [kind, make] of Object.entries(ROWS)) {
      for (const n of [1, 2, 3, 19, 111]) {
        const row = make(n);
        const { data } = api.entmaxSync(
          { data: row, dims: [1, n] },
          { alpha, device },
        );
        const { posterior } = referencePosterior([...row], alpha);
        const errors = posterior.map((p, j) => Math.abs(p - data[j]));
        const error = errors.some(Number.isNaN)
          ? Number.POSITIVE_INFINITY
          : Math.max(...errors);
        const sum = Math.abs(data.reduce((total, p) => total + p, 0) - 1);
        tried += 1;
        if (error > worst || sum > worstSum)
          where = `α ${alpha}, ${kind}, ${n} classes: ${error}, ${sum}`;
        worst = Math.max(worst, error);
        worstSum = Math.max(worstSum, sum);
      }
    }
  }
  figure('posteriors compared', tried);
  figure('largest error of a posterior', worst.toExponential(2));
  figure('largest |Σp − 1|', worstSum.toExponential(2));
  check(
    worst <= BOUND && worstSum <= BOUND,
    'posteriors of hostile rows keep the contract',
    where,
  );
}

function losses() {
  let [tried, refused, worst] = [0, 0, 0];
  let where = '';
  const makers = [
    // The reference forms exp(−s·m), which must not underflow.
    ['qMarginLossSync', api.qMargin, (scale) => Math.min(0.1, 40 / scale)],
    ['a3mLossSync', api.a3m, () => 0.3],
    ['cosFaceLossSync', api.cosFace, () => 0.2],
    ['arcFaceLossSync', api.arcFace, () => 3.1],
  ];
  const functions = { ...api };
  for (const alpha of ORDERS) {
    for (const scale of [1e-3, 1, 64, 1e4]) {
      for (const [name, specification, marginAt] of makers) {
        const margin = { margin: marginAt(scale) };
        for (const kind of [
          'all equal',
          'many ties at the top',
          'random',
          'denormal',
        ]) {
          const n = g.pick([1, 2, 19, 111]);
          const cosines = ROWS[kind](n).map((value) =>
            Math.max(-1, Math.min(1, value)),
          );
          const label = g.below(n);
          let loss;
          try {
            loss = specification({ alpha, scale, ...margin });
          } catch (error) {
            if (error.code !== 'ERR_INVALID_ARGUMENT') throw error;
            refused += 1;
            continue;
          }
          const result = functions[name](
            { data: cosines, dims: [1, n] },
            [label],
            { alpha, scale, ...margin, device },
          );
          const { loss: expected, gradCosines } = referenceRow(
            loss,
            [...cosines],
            label,
          );
          const gradient = result.backwardSync().data;
          const error =
            Math.abs(result.loss.data[0] - Math.max(0, expected)) /
            (1 + Math.abs(expected));
          // α > 2: the loss is a difference of terms of size 1/(α−1) at most; the bound is the same.
          const gradientError =
            Math.max(
              ...gradCosines.map((value, j) => Math.abs(value - gradient[j])),
            ) / scale;
          tried += 1;
          const size = Math.max(
            error / BOUND,
            gradientError / (2 * BOUND * Math.max(1, 1 / Math.sin(3.1))),
          );
          if (!(size <= worst)) {
            worst = Number.isNaN(size) ? Number.POSITIVE_INFINITY : size;
            where = `${name}, α ${alpha}, s ${scale}, ${kind}, ${n} classes, label ${label}: ${result.loss.data[0]} and ${expected}, gradient off by ${gradientError}·s`;
          }
        }
      }
    }
  }
  figure('losses and gradients compared', tried);
  figure('settings refused as out of range', refused);
  figure('largest error, in units of the bound', worst.toFixed(3));
  check(
    worst <= 1,
    'losses and gradients of hostile rows keep the contract',
    where,
  );
}

const head = (identities, dim, extra = {}) =>
  new api.PrototypeHead({
    identities,
    dim,
    device,
    loss: api.qMargin({ alpha: 1.25, scale: 16 }),
    optimizer: api.sgd({ learningRate: 0.1, momentum: 0.9 }),
    ...extra,
  });

const codeOf = async (call) => {
  try {
    await call();
    return 'accepted';
  } catch (error) {
    return error instanceof api.AlphaMarginError ? error.code : String(error);
  }
};

async function vectors() {
  const dim = 4;
  const one = head(9, dim);
  const vector = (...values) => ({
    data: Float32Array.from(values),
    dims: [1, dim],
  });
  const refused = ['ERR_INVALID_ARGUMENT', 'ERR_NON_FINITE'];
  const wrong = [];
  const before = (await one.prototypes()).data;
  const cases = {
    zero: vector(0, 0, 0, 0),
    'minus zero': vector(-0, 0, -0, 0),
    denormal: vector(1e-45, 0, 0, 0),
    NaN: vector(1, Number.NaN, 0, 0),
    infinite: vector(1, Number.POSITIVE_INFINITY, 0, 0),
    'norm beyond 1e30': vector(HUGE, HUGE, HUGE, HUGE),
  };
  for (const [kind, x] of Object.entries(cases)) {
    const codes = [
      await codeOf(() => one.step(x, [0])),
      await codeOf(() => one.nearest(x)),
      await codeOf(() => one.posterior(x)),
      await codeOf(() => one.setPrototypes(x, Int32Array.of(3))),
      await codeOf(() => one.reinitialize([{ embeddings: x, labels: [3] }])),
      await codeOf(() =>
        api.scoreTrials(
          { data: Float32Array.of(...x.data, 1, 2, 3, 4), dims: [2, dim] },
          { labels: Int32Array.of(0, 0) },
        ),
      ),
    ];
    // Scores of trials take norms of any size; the others document [1e-30, 1e30].
    const decided = codes.every(
      (code, i) => refused.includes(code) || (i === 5 && code === 'accepted'),
    );
    if (!decided) wrong.push(`${kind}: ${codes}`);
  }
  const isSame = sameBits((await one.prototypes()).data, before);
  one.dispose();
  check(
    wrong.length === 0 && isSame,
    'vectors without a direction are refused and change nothing',
    wrong.join('; '),
  );

  // Equal prototypes share the posterior; one class alone has all of it and no loss.
  const twins = head(1000, dim, {
    prototypes: {
      data: new Float32Array(1000 * dim).fill(0.5),
      dims: [1000, dim],
    },
  });
  const rows = await twins.posterior(vector(1, 2, 3, 4));
  const shares =
    rows.values.every((p) => Math.abs(p - 1e-3) <= BOUND) &&
    rows.values.length === 1000;
  twins.dispose();
  const alone = head(1, dim);
  const { losses: own, gradEmbeddings } = await alone.step(
    vector(1, 2, 3, 4),
    [0],
  );
  const isAlone =
    own[0] === 0 && gradEmbeddings.data.every((value) => value === 0);
  alone.dispose();
  check(
    shares && isAlone,
    'equal prototypes share the posterior; one class alone has no loss',
  );
}

async function manyClasses() {
  const n = 2 ** 24 + 1;
  const logits = new Float32Array(n);
  logits[n - 1] = 30;
  logits[n - 2] = 29.75;
  const rows = api.sparseEntmaxSync(
    { data: logits, dims: [1, n] },
    { alpha: 2, device },
  );
  const found = `${rows.columns} ${rows.values}`;
  check(
    found === `${n - 2},${n - 1} 0.375,0.625`,
    `class ${n - 1} of ${n} is not rounded to its neighbour`,
    found,
  );

  const large = head(n, 2, { seed: 4 });
  await large.setPrototypes(
    { data: Float32Array.of(1, 0.25, 0.25, 1), dims: [2, 2] },
    Int32Array.of(n - 2, n - 1),
  );
  await large.setPrototypes(
    { data: Float32Array.of(0.25, 1.0000001), dims: [1, 2] },
    Int32Array.of(n - 1),
  );
  const query = { data: Float32Array.of(0.25, 1.0000001), dims: [1, 2] };
  const { cosines } = await large.nearest(query, { k: 1 });
  const result = await large.step(query, [n - 1]);
  const after = await large.prototypes(Int32Array.of(n - 1));
  large.dispose();
  const moved = after.data[0] !== 0.25 || result.losses[0] === 0;
  check(
    cosines[0] === 1 && moved && Number.isFinite(result.loss),
    `a head of ${n} identities trains its last one`,
  );
}

function longSums() {
  const n = amount(10_000_000, 2_000_000);
  const zeros = { data: new Float32Array(n), dims: [1, n] };
  let worst = 0;
  for (const alpha of [1, 1.25, 1.5, 2, 3]) {
    const { data } = api.entmaxSync(zeros, { alpha, device });
    let total = 0;
    for (const p of data) total += p;
    worst = Math.max(
      worst,
      Math.abs(total - 1),
      Math.abs(data[0] * n - 1),
      Math.abs(data[n - 1] * n - 1),
    );
  }
  const loss = api.entmaxLossSync(zeros, [n - 1], {
    alpha: 1,
    scale: 5,
    device,
  }).loss.data[0];
  const lossError = Math.abs(loss - Math.log(n)) / Math.log(n);
  figure(
    `largest relative error of sums of ${n} terms`,
    Math.max(worst, lossError).toExponential(2),
  );
  check(worst <= BOUND && lossError <= BOUND, 'long sums keep the contract');
}

async function determinism() {
  const [identities, dim, rows] = [5000, 48, 64];
  const x = { data: g.floats(rows * dim), dims: [rows, dim] };
  const labels = g.integers(rows, identities);
  const logits = { data: g.floats(rows * 1000, 3), dims: [rows, 1000] };
  const run = async (alpha) => {
    const one = head(identities, dim, {
      loss: api.qMargin({ alpha, scale: 16 }),
    });
    for (let step = 0; step < 3; step += 1) await one.step(x, labels);
    const result = await one.evaluate(x, labels);
    const { data } = await one.prototypes();
    const alone = [];
    for (let row = 0; row < rows; row += 7) {
      const single = {
        data: x.data.subarray(row * dim, (row + 1) * dim),
        dims: [1, dim],
      };
      const { losses } = await one.evaluate(single, [labels[row]]);
      alone.push(losses[0] === result.losses[row]);
    }
    one.dispose();
    const posterior = api.entmaxSync(logits, { alpha, device }).data;
    const bits = Buffer.concat(
      [data, result.losses, result.gradEmbeddings.data, posterior].map(
        (array) => Buffer.from(array.buffer.slice(0)),
      ),
    );
    return { bits, alone: alone.every(Boolean) };
  };
  let different = 0;
  let compared = 0;
  let split = true;
  for (const alpha of [1, 1.25, 2]) {
    api.setThreadCount(1);
    const first = await run(alpha);
    for (const threads of [1, 2, 3, 8]) {
      api.setThreadCount(threads);
      const again = await run(alpha);
      compared += 1;
      if (!again.bits.equals(first.bits)) different += 1;
      if (alpha > 1) split &&= again.alone;
    }
  }
  figure('runs compared bit for bit', compared);
  check(
    different === 0,
    'the same bits for 1, 2, 3 and 8 threads',
    `${different} differ`,
  );
  check(split, 'a row alone has the bits of that row in a batch');
}

posteriors();
losses();
await vectors();
await manyClasses();
longSums();
await determinism();
