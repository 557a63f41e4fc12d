import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { backendInfo, type Device, entmaxSync, tensor } from '../lib/index.js';

const logits = tensor(Float32Array.of(2, 1, -1), [1, 3]);
const root = fileURLToPath(new URL('..', import.meta.url));

/** backendInfo(), or the error, of a process of its own with ALPHAMARGIN_DEVICE set. */
function inEnvironment(device: string): string {
  const script = `
    import { backendInfo } from './dist/index.js';
    try { console.log(backendInfo().device); } catch (e) { console.log(e.code, e.message); }`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: root,
    env: { ...process.env, ALPHAMARGIN_DEVICE: device },
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
  'ALPHAMARGIN_DEVICE',
  () => {
    it.each([
      ['cpu', /^cpu$/],
      [
        'cuda:999',
        /^ERR_DEVICE backendInfo: ALPHAMARGIN_DEVICE 'cuda:999' cannot be used: ./,
      ],
      ['gpu', /^ERR_INVALID_ARGUMENT .*ALPHAMARGIN_DEVICE.*'gpu'/],
      ['', /^(cpu|cuda:\d+)$/],
      ['auto', /^(cpu|cuda:\d+)$/],
    ])('%j', (device, expected) => {
      expect(inEnvironment(device)).toMatch(expected);
    });

    it.runIf(backendInfo().emulation)('cuda-emulated, in test builds', () => {
      expect(inEnvironment('cuda-emulated')).toBe('cuda-emulated');
    });
  },
);
