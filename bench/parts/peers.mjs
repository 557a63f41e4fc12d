// The part `peers`: our step next to the dense step in the frameworks people use.
import {
  asInstalled,
  head,
  sgemm,
  tfjsStep,
  torchStep,
} from '../contenders.mjs';
import { SETTINGS } from '../settings.mjs';
import {
  isMeasured,
  markdownTable,
  milliseconds,
  NOTHING,
  ratio,
  sizes,
} from '../table.mjs';

const LABELS = {
  step: 'alphamargin',
  sgemm: 'sgemm, logits only',
  torch: 'PyTorch, the same loss',
  torchCosFace: 'PyTorch, CosFace',
  torchAsInstalled: 'PyTorch, CosFace, as installed',
  tfjsWasm: 'tfjs, wasm',
  tfjsCpu: 'tfjs, cpu',
};

/** The softmax loss at a setting's scale and margin: the least that PyTorch has to do there. */
export const asCosFace = (setting) => ({
  ...setting,
  loss: 'cosface',
  alpha: 1,
});

const faces = SETTINGS['face-100k'];
const speakers = SETTINGS.speaker;
const small = { ...faces, identities: 2000, dim: 128 };

// tfjs takes seconds at a few thousand identities: it is measured there only.
const COMPARISONS = [
  { name: 'Q-Margin, faces', setting: faces },
  { name: 'CosFace, faces', setting: SETTINGS['cosface-100k'] },
  { name: 'Q-Margin, speakers', setting: speakers },
  { name: 'CosFace, speakers', setting: asCosFace(speakers), tfjs: true },
];
const QUICK_COMPARISONS = [
  { name: 'Q-Margin', setting: small },
  { name: 'CosFace', setting: asCosFace(small), tfjs: true },
];

export const peersPart = {
  name: 'peers',
  about: 'our step next to the dense step in PyTorch and tfjs',
  comparisons: ({ quick }) => (quick ? QUICK_COMPARISONS : COMPARISONS),
  contenders: ({ setting, tfjs }, threads) => ({
    step: head('step', setting, threads),
    sgemm: sgemm(setting, threads),
    torch: torchStep(setting, threads),
    ...(setting.alpha > 1 && {
      torchCosFace: torchStep(asCosFace(setting), threads),
    }),
    torchAsInstalled: asInstalled(torchStep(asCosFace(setting), threads)),
    ...(tfjs && {
      tfjsWasm: tfjsStep(setting, 'wasm', threads),
      tfjsCpu: tfjsStep(setting, 'cpu', threads),
    }),
  }),
  /** A row for each program of each comparison. */
  table(results) {
    const rows = results.flatMap((result) =>
      Object.keys(result.contenders).map((contender) => ({
        result,
        contender,
        measured: isMeasured(result, contender),
      })),
    );
    const show = (cell) => (row) =>
      row.measured ? cell(row.result.contenders[row.contender], row) : NOTHING;
    return markdownTable(
      [
        ['loss', ({ result }) => result.name],
        ['B × C × D', ({ result }) => sizes(result.setting)],
        ['program', ({ contender }) => LABELS[contender]],
        ['ms', show(({ time }) => milliseconds(time.median))],
        [
          'min – max',
          show(
            ({ time }) =>
              `${milliseconds(time.min)} – ${milliseconds(time.max)}`,
          ),
        ],
        ['samples', show(({ time }) => String(time.samples))],
        [
          '× alphamargin',
          ({ result, contender }) =>
            ratio(result, contender, 'step')?.median.toPrecision(3) ?? NOTHING,
        ],
        ['process, MB', show(({ peakBytes }) => (peakBytes / 1e6).toFixed(0))],
      ],
      rows,
    );
  },
};
