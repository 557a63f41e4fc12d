// A build of the native code beside the usual one, in a folder of its own below build/.
import { spawnSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * Builds targets in build/`name`; returns the folder. The addon lies where node-gyp-build looks for it when
 * ALPHAMARGIN_PREBUILD is the folder.
 */
export function cmakeBuild(name, targets, definitions) {
  const folder = path.join(root, 'build', name);
  const run = (...args) => {
    const { status, stdout, stderr } = spawnSync('cmake', args, {
      cwd: root,
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
    });
    if (status !== 0) throw new Error(`cmake failed:\n${stdout}${stderr}`);
  };
  run(
    ...['-S', root, '-B', folder, '-DCMAKE_BUILD_TYPE=Release'],
    `-DCMAKE_JS_INC=${path.join(root, 'node_modules', 'node-api-headers', 'include')}`,
    `-DCMAKE_LIBRARY_OUTPUT_DIRECTORY=${path.join(folder, 'build', 'Release')}`,
    ...definitions,
  );
  const jobs =
    process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? os.availableParallelism();
  run('--build', folder, '--parallel', String(jobs), '--target', ...targets);
  return folder;
}
