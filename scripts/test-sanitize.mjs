// The CPU and the emulated CUDA backend under AddressSanitizer and UndefinedBehaviorSanitizer: the
// test of the kernel sets and the emulated device's own cases must be clean, and its planted mistakes
// (cases "asan: …") must each end in a report. The JavaScript suite is not part of it.
import { execFileSync, spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'build', 'sanitize');
const flags =
  '-fsanitize=address,undefined -fno-sanitize-recover=undefined -g1';
const show = { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] };

execFileSync(
  'cmake',
  [
    '-S',
    root,
    '-B',
    folder,
    '-DALPHAMARGIN_CUDA=OFF',
    '-DCMAKE_BUILD_TYPE=Release',
    `-DCMAKE_CXX_FLAGS=${flags}`,
  ],
  show,
);
execFileSync(
  'cmake',
  [
    '--build',
    folder,
    '--target',
    'emulation_test',
    'kernel_sets_test',
    '--parallel',
  ],
  show,
);

const program = path.join(folder, 'Release', 'emulation_test');
const env = { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' };
const names = execFileSync(program, ['--list'], { env, encoding: 'utf8' });
let failed = 0;
const report = (good, name, stderr) => {
  console.log(`${good ? 'ok    ' : 'FAILED'} ${name}`);
  if (good) return;
  failed += 1;
  console.error(stderr.slice(0, 4000));
};

const kernelSets = path.join(folder, 'Release', 'kernel_sets_test');
const { status, stderr } = spawnSync(kernelSets, { env, encoding: 'utf8' });
report(status === 0, 'kernel sets', stderr);
for (const name of names.trim().split('\n')) {
  const { status, stderr } = spawnSync(program, [name], {
    env,
    encoding: 'utf8',
  });
  // Mistakes that guards catch in other builds are reports here.
  const planted =
    name.startsWith('asan') || name === 'planted writes out of bounds';
  const good = planted
    ? status !== 0 && stderr.includes('AddressSanitizer')
    : status === 0;
  report(good, name, stderr);
}
process.exitCode = failed > 0 ? 1 : 0;
