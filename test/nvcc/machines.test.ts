import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { BackendInfo } from '../../lib/index.js';

/* What the addon makes of a machine: its driver, its devices, its memory. The emulated libcudart has
   the machine that a variable describes (native/emulation/cudart/cudart.h). */

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What a program prints on a machine. */
async function output(machine: string, args: string[], device = 'auto') {
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    cwd: root,
    env: {
      ...process.env,
      ALPHAMARGIN_DEVICE: device,
      ALPHAMARGIN_EMULATED_CUDART: machine,
    },
  });
  return stdout.trim();
}

/** What a script prints that has the package's names. */
const script = (machine: string, text: string) =>
  output(machine, [
    '--input-type=module',
    '-e',
    `import * as alphamargin from './dist/index.js';\n${text}`,
  ]);

const infoOf = async (machine: string) =>
  JSON.parse(
    await script(
      machine,
      'console.log(JSON.stringify(alphamargin.backendInfo()))',
    ),
  ) as BackendInfo;

it.each([
  ['driver=0', 'no NVIDIA driver is installed'],
  [
    'driver=12080',
    'the NVIDIA driver is too old: it supports CUDA 12.8, this build needs CUDA 13.0 (driver 580 or newer)',
  ],
  ['devices=0', 'no CUDA device was found'],
  ['capability=70', 'the addon has no kernels for compute capability 7.0'],
  ['pools=0', 'the device has no memory pools'],
])('with %s it computes on the CPU and says why', async (machine, reason) => {
  const info = await infoOf(machine);
  expect(info.device).toBe('cpu');
  expect(info.cuda.reason).toBe(reason);
});

it('finds every device', async () => {
  const { device, cuda } = await infoOf('devices=2,megabytes=4096');
  expect(device).toBe('cuda:0');
  expect(cuda.reason).toBe('');
  expect(cuda.devices).toMatchObject(
    Array.from({ length: 2 }, () => ({
      name: 'emulated device',
      memory: 2 ** 32,
      computeCapability: '9.0',
      reason: '',
    })),
  );
});

it('computes on the device that is asked for, and on no other', async () => {
  const text = `
    const { DeviceTensor, entmax, tensor } = alphamargin;
    const logits = tensor(Float32Array.of(2, 1, -1), [1, 3]);
    const placed = await DeviceTensor.upload(logits, { device: 'cuda:1' });
    console.log(placed.device, (await entmax(placed, { alpha: 2 })).device);
    for (const device of ['cuda:0', 'cuda:2']) {
      const logitsThere = device === 'cuda:0' ? placed : logits;
      await entmax(logitsThere, { alpha: 2, device }).catch(({ code, message }) =>
        console.log(code, message));
    }`;
  const lines = (await script('devices=2', text)).split('\n');
  expect(lines[0]).toBe('cuda:1 cuda:1');
  expect(lines[1]).toMatch(/^ERR_DEVICE entmax: .*cuda:1/);
  expect(lines[2]).toMatch(/^ERR_DEVICE entmax: .*there are 2 CUDA devices/);
});

it('says how much memory there is when it runs out, and goes on', async () => {
  const text = `
    const { DeviceTensor, entmax, memory, tensor } = alphamargin;
    const large = tensor(new Float32Array(12 * 2 ** 20), [3, 2 ** 22]);
    const small = tensor(Float32Array.of(2, 1, -1), [1, 3]);
    const first = await DeviceTensor.upload(large);
    const before = memory().device;
    await DeviceTensor.upload(large).catch(({ code, message }) => console.log(code, message));
    console.log(memory().device - before, ...(await entmax(small, { alpha: 2 })).data);
    first.dispose();
    (await DeviceTensor.upload(large)).dispose();
    console.log(memory().device);`;
  const lines = (await script('megabytes=64', text)).split('\n');
  expect(lines[0]).toMatch(
    /^ERR_OUT_OF_MEMORY .*50331648 bytes could not be allocated; \d+ of 67108864 bytes are free$/,
  );
  expect(lines.slice(1)).toEqual(['0 1 0 0', '0']);
});

/** The numbers of four steps and identifications of a head. */
async function digestOf(machine: string, device: string): Promise<string> {
  const text = await output(machine, ['test/helpers/head-run.mjs'], device);
  return JSON.parse(text).digest;
}

it('has the same bits in any order of blocks, warps and lanes, on any device, and without pinned memory', async () => {
  const machines = [
    ['seed=2,interval=31', 'cuda'],
    ['seed=3,devices=2', 'cuda:1'],
    ['seed=7,pinned=0', 'cuda'],
  ] as const;
  const digests = await Promise.all(
    machines.map(([machine, device]) => digestOf(machine, device)),
  );
  expect(new Set(digests).size).toBe(1);
});
