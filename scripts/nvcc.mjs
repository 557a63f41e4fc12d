// nvcc, and what it compiles.
import { execFile, execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

/** nvcc's command; ends the process of the script `asker` when there is none. */
export function findNvcc(asker) {
  for (const nvcc of ['nvcc', '/usr/local/cuda/bin/nvcc']) {
    try {
      execFileSync(nvcc, ['--version'], { stdio: 'ignore' });
      return nvcc;
    } catch {
      // The next place.
    }
  }
  console.error(`${asker}: nvcc was not found (CUDA toolkit 13 or newer)`);
  process.exit(1);
}

/** Options of the build that make a difference to kernels; every warning is an error. */
export function nvccOptions(root) {
  return [
    '-std=c++20',
    '-O3',
    '--fmad=false',
    '-Werror=all-warnings',
    `-I${path.join(root, 'native')}`,
  ];
}

/** The CUDA sources of the repository. */
export function cudaSources(root) {
  const below = (folder) =>
    readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const file = path.join(folder, entry.name);
      if (entry.isDirectory()) return below(file);
      return entry.name.endsWith('.cu') ? [file] : [];
    });
  return below(path.join(root, 'native', 'cuda'));
}

/** The PTX in the object of a source, in a folder where CMake has built it without compression. */
export function builtPtx(folder, root, source) {
  const object = path.join(
    ...[folder, 'CMakeFiles', 'alphamargin_cuda.dir'],
    `${path.relative(root, source)}.o`,
  );
  const bytes = readFileSync(object);
  const begin = bytes.indexOf('\n.version ');
  const end = bytes.indexOf(0, begin);
  if (begin < 0 || end < 0) throw new Error(`${object} has no PTX`);
  return bytes.subarray(begin, end);
}

/** Compiles one source to PTX. */
export async function writePtx(nvcc, root, source, architecture, output) {
  const options = [
    `-arch=compute_${architecture}`,
    ...(architecture === '90a' ? ['-DALPHAMARGIN_WITH_SM90A=1'] : []),
  ];
  await promisify(execFile)(nvcc, [
    ...nvccOptions(root),
    ...options,
    '-lineinfo',
    '-ptx',
    source,
    '-o',
    output,
  ]);
}
