import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import {
  type BackendInfo,
  backendInfo,
  type Device,
  entmaxSync,
  tensor,
} from '../lib/index.js';

const logits = tensor(Float32Array.of(2, 1, -1), [1, 3]);
const root = fileURLToPath(new URL('..', import.meta.url));

/** A field of backendInfo(), or the error, of a process of its own with a variable set. */
function inEnvironment(
  variable: string,
  value: string,
  field: keyof BackendInfo = 'device',
): string {
  const script = `
    import { backendInfo } from './dist/index.js';
    try { console.log(backendInfo().${field}); } catch (e) { console.log(e.code, e.message); }`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    env: { ...process.env, [variable]: value },
    encoding: 'utf8',
  }).trim();
}

describe('the device option', () => {
  it("'auto' is what backendInfo says", () => {
    const info = backendInfo();
    expect(info.device).toMatch(/^(cpu|cuda:\d+|cuda-emulated)$/);
    expect(info.cuda.devices).toBeInstanceOf(Array);
    // Either a GPU can be used, or there is a reason why not.
    const usable = info.cuda.devices.some(({ reason }) => reason === '');
    expect(info.cuda.reason === '').toBe(usable);
  });

  it("'cpu' always works", () => {
    expect([...entmaxSync(logits, { alpha: 2, device: 'cpu' }).data]).toEqual([
      1, 0, 0,
    ]);
  });

  it.each(['cuda:999', 'cuda'] as const)('%s fails with a reason', (device) => {
    const { cuda } = backendInfo();
    if (device === 'cuda' && cuda.reason === '') return;
    expect(() => entmaxSync(logits, { device })).toThrow(
      new RegExp(`entmaxSync: device '${device}' cannot be used: .{10}`),
    );
  });

  it.each(['gpu', 'cuda:', 'cuda:-1', 'CPU', '', 3, null])(
    '%j is no device',
    (device) => {
      expect(() => entmaxSync(logits, { device: device as Device })).toThrow(
        /'auto', 'cpu', 'cuda' or 'cuda:N'/,
      );
    },
  );
});

describe.runIf(existsSync(`${root}/dist/index.js`))(
  'variables of the environment',
  () => {
    it.each([
      ['3', /^3$/],
      ['', /^\d+$/],
    ])('ALPHAMARGIN_THREADS %j', (wish, expected) => {
      expect(inEnvironment('ALPHAMARGIN_THREADS', wish, 'threads')).toMatch(
        expected,
      );
    });

    it.each(['0', '-1', '1025', '2.5', 'many', ' 2'])(
      'ALPHAMARGIN_THREADS %j is no number of threads',
      (wish) => {
        expect(inEnvironment('ALPHAMARGIN_THREADS', wish, 'threads')).toBe(
          `ERR_INVALID_ARGUMENT alphamargin: expected ALPHAMARGIN_THREADS to be a whole number from 1 to 1024 but received '${wish}'`,
        );
      },
    );

    it.each([
      ['portable', /^portable$/],
      ['', /^[a-z0-9-]+$/],
      [
        'avx-512',
        /^ERR_INVALID_ARGUMENT .*ALPHAMARGIN_INSTRUCTION_SET to be one of .*portable but received 'avx-512'/,
      ],
    ])('ALPHAMARGIN_INSTRUCTION_SET %j', (wish, expected) => {
      const variable = 'ALPHAMARGIN_INSTRUCTION_SET';
      expect(inEnvironment(variable, wish, 'instructionSet')).toMatch(expected);
    });

    it.each([
      ['cpu', /^cpu$/],
      [
        'cuda:999',
        /^ERR_DEVICE backendInfo: ALPHAMARGIN_DEVICE 'cuda:999' cannot be used: ./,
      ],
      ['gpu', /^ERR_INVALID_ARGUMENT .*ALPHAMARGIN_DEVICE.*'gpu'/],
      ['', /^(cpu|cuda:\d+)$/],
      ['auto', /^(cpu|cuda:\d+)$/],
    ])('ALPHAMARGIN_DEVICE %j', (device, expected) => {
      expect(inEnvironment('ALPHAMARGIN_DEVICE', device)).toMatch(expected);
    });

    it.runIf(backendInfo().emulation)('cuda-emulated, in test builds', () => {
      expect(inEnvironment('ALPHAMARGIN_DEVICE', 'cuda-emulated')).toBe(
        'cuda-emulated',
      );
    });
  },
);
