// How many candidates the filters of a GPU let through, and the bytes of an identity, in the first step of
// a head with random prototypes: the table of docs/devices.md. The numbers are those of any device.
//
//   node bench/filter-candidates.mjs [--device NAME]      default cuda-emulated, about half a minute
import { parseArgs } from 'node:util';
import { PrototypeHead, tensor } from '../dist/index.js';
import { fillNormal, uniform } from './random.mjs';
import { lossOf, optimizerOf, SETTINGS } from './settings.mjs';

const BATCH = 32;
const CASES = [
  { ...SETTINGS['face-100k'], identities: 20_000 },
  SETTINGS.speaker,
];

const { values } = parseArgs({
  options: { device: { type: 'string', default: 'cuda-emulated' } },
});

console.log(
  '| | candidates a row | of them in the support | bytes an identity |\n|---|---|---|---|',
);
for (const setting of CASES) {
  const { alpha, scale, identities, dim } = setting;
  const random = uniform(1);
  const data = new Float32Array(BATCH * dim);
  fillNormal(random, data);
  const labels = Int32Array.from({ length: BATCH }, () =>
    Math.floor(random() * identities),
  );
  for (const filter of ['mma', 'mma-split', 'mma-int8']) {
    const head = new PrototypeHead({
      identities,
      dim,
      loss: lossOf(setting),
      optimizer: optimizerOf(),
      device: values.device,
      seed: 1,
      filter,
    });
    const { stats } = head.stepSync(tensor(data, [BATCH, dim]), labels);
    const name =
      filter === 'mma'
        ? `α ${alpha}, s ${scale}, C ${identities.toLocaleString('en')}, D ${dim}: `
        : '';
    const cells = [
      Math.round(stats.survivors / BATCH),
      Math.round(stats.support / BATCH),
      head.memory().prototypes / identities,
    ];
    console.log(`| ${name}\`'${filter}'\` | ${cells.join(' | ')} |`);
    head.dispose();
  }
}
