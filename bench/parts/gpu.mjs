// The part `gpu`: the head on a GPU next to the library product that would only make the logits, and
// to the dense and the sampled step of PyTorch. Asked for with --device.
import { backendInfo } from '../../dist/index.js';
import { deviceHead, torchHead } from '../contenders.mjs';
import { GPU_SETTINGS, QUICK_GPU_SETTINGS } from '../settings.mjs';
import {
  gigaflops,
  isMeasured,
  markdownTable,
  NOTHING,
  of,
  ratioColumn,
  settingColumns,
  timeColumns,
} from '../table.mjs';

/** Heads by what sets them apart: the operation, and options of the head. */
const HEADS = {
  step: ['step', {}],
  evaluate: ['evaluate', {}],
  stepInt8: ['step', { filter: 'mma-int8' }],
  evaluateInt8: ['evaluate', { filter: 'mma-int8' }],
  stepSplit: ['step', { filter: 'mma-split' }],
  evaluateSplit: ['evaluate', { filter: 'mma-split' }],
  stepFast: ['step', { precision: 'fast' }],
  stepWgmma: ['step', { filter: 'wgmma' }],
  evaluateWgmma: ['evaluate', { filter: 'wgmma' }],
  stepWgmmaInt8: ['step', { filter: 'wgmma-int8' }],
  evaluateWgmmaInt8: ['evaluate', { filter: 'wgmma-int8' }],
  stepWgmmaSplit: ['step', { filter: 'wgmma-split' }],
  stepWgmmaFast: ['step', { filter: 'wgmma', precision: 'fast' }],
};

/** Whether a device has the instructions of Hopper; the emulated one has them. */
function hasWgmma(device) {
  if (device === 'cuda-emulated') return true;
  const { devices } = backendInfo().cuda;
  const index = Number(/^cuda:(\d+)$/.exec(device)?.[1] ?? 0);
  return devices[index]?.computeCapability === '9.0';
}

const PEERS = [
  ['eager', 'PyTorch'],
  ['compiled', 'PyTorch compiled'],
  ['sampled', 'PyTorch, a tenth'],
];

const rateColumn = (name, title) => [
  title,
  (result) =>
    isMeasured(result, name)
      ? (gigaflops(result, name) / 1e3).toPrecision(3)
      : NOTHING,
];

export const gpuPart = {
  name: 'gpu',
  about: 'with --device: the head on a GPU next to cuBLAS and PyTorch',
  seconds: 2,
  comparisons({ quick }) {
    const settings = quick ? QUICK_GPU_SETTINGS : GPU_SETTINGS;
    return Object.entries(settings).map(([name, setting]) => ({
      name,
      // Each with the memory of the device to itself.
      setting: { ...setting, alone: true },
    }));
  },
  contenders({ setting, device }, threads) {
    const ours = Object.entries(HEADS)
      // Softmax has no use for a filter.
      .filter(([name]) => setting.alpha > 1 || !/Int8|Split|Wgmma/.test(name))
      .filter(([name]) => !name.includes('Wgmma') || hasWgmma(device))
      .map(([name, [operation, options]]) => [
        name,
        deviceHead(operation, setting, threads, device, options),
      ]);
    const forms = ['gemm', ...PEERS.map(([form]) => form)];
    return Object.fromEntries([
      ...ours,
      ...forms.map((form) => [form, torchHead(form, setting, threads, device)]),
    ]);
  },
  table: (results) =>
    markdownTable(
      [
        ...settingColumns,
        ...timeColumns('step', 'step'),
        rateColumn('step', 'TFLOP/s'),
        of('step', 'TB/s', ({ movedBytes, time }) =>
          (movedBytes / time.median / 1e12).toPrecision(3),
        ),
        ...timeColumns('evaluate', 'evaluate').slice(0, 1),
        ...timeColumns('gemm', 'cuBLAS').slice(0, 1),
        ratioColumn('evaluate', 'gemm', 'evaluate / cuBLAS'),
        ratioColumn('evaluateInt8', 'gemm', 'int8 evaluate / cuBLAS'),
        ratioColumn('step', 'gemm', 'step / cuBLAS'),
        ratioColumn('stepInt8', 'gemm', 'int8 step / cuBLAS'),
        ratioColumn('evaluateSplit', 'gemm', 'split evaluate / cuBLAS'),
        ratioColumn('stepSplit', 'gemm', 'split step / cuBLAS'),
        ratioColumn('stepFast', 'gemm', 'fast step / cuBLAS'),
        ratioColumn('evaluateWgmma', 'gemm', 'wgmma evaluate / cuBLAS'),
        ratioColumn('stepWgmma', 'gemm', 'wgmma step / cuBLAS'),
        ratioColumn(
          'evaluateWgmmaInt8',
          'gemm',
          'int8 wgmma evaluate / cuBLAS',
        ),
        ratioColumn('stepWgmmaInt8', 'gemm', 'int8 wgmma step / cuBLAS'),
        ratioColumn('stepWgmmaSplit', 'gemm', 'split wgmma step / cuBLAS'),
        ratioColumn('stepWgmmaFast', 'gemm', 'fast wgmma step / cuBLAS'),
        ...PEERS.map(([form, label]) =>
          ratioColumn(form, 'step', `${label} / step`),
        ),
      ],
      results,
    ),
};
