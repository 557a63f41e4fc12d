// The PTX that nvcc makes of the kernels, in build/ptx, for the emulated device to interpret in place of
// the same sources compiled for the host (native/emulation/ptx/interpreter.h).
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { inParallel } from './in-parallel.mjs';
import { cudaSources, findNvcc, writePtx } from './nvcc.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = path.join(root, 'build', 'ptx');
const addon = path.join(root, 'build', 'Release', 'alphamargin.node');
// Has all kernels: those of newer devices and those of older ones.
const ARCHITECTURE = '90a';

const sources = cudaSources(root).map((source) => ({
  source,
  file: `${path.basename(source, '.cu')}.ptx`,
}));

async function compile(asker) {
  const nvcc = findNvcc(asker);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await inParallel(sources, ({ source, file }) =>
    writePtx(nvcc, root, source, ARCHITECTURE, path.join(folder, file)),
  );
}

/** Names as C++ has them, without the namespaces that tell nvcc's kernels from the host's. */
function plainNames(mangled) {
  const text = execFileSync('c++filt', [], {
    input: mangled.join('\n'),
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  return text
    .split('\n')
    .map((name) => name.replaceAll(/alphamargin::(cuda|emulated)::/g, ''));
}

/** Our kernels in the PTX, by plain name. */
function kernelsOfPtx() {
  const kernels = new Map();
  for (const { file } of sources) {
    const text = readFileSync(path.join(folder, file), 'utf8');
    const entries = [...text.matchAll(/\.entry (_ZN11alphamargin\w+)\(/g)].map(
      ([, entry]) => entry,
    );
    plainNames(entries).forEach((name, i) => {
      if (entries.length > 0) kernels.set(name, { file, entry: entries[i] });
    });
  }
  return kernels;
}

/** Functions of the addon's emulated device: [{ address, name }]. */
function functionsOfAddon() {
  const text = execFileSync('nm', [addon], {
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  const symbols = [
    ...text.matchAll(/^([\da-f]+) [tTwW] (_ZN11alphamargin8emulated\S+)$/gm),
  ];
  const names = plainNames(symbols.map(([, , name]) => name));
  return symbols.map(([, address], i) => ({
    address: BigInt(`0x${address}`),
    name: names[i],
  }));
}

/** kernels.txt, as native/emulation/ptx/interpreter.h says. */
function writeIndex() {
  const kernels = kernelsOfPtx();
  const functions = functionsOfAddon();
  const begin = functions.find(({ name }) =>
    name.startsWith('ptx::launch_instead('),
  );
  const lines = functions.flatMap(({ address, name }) => {
    const kernel = kernels.get(name);
    return kernel === undefined
      ? []
      : [`${address - begin.address} ${kernel.file} ${kernel.entry}`];
  });
  // The probe of a device's code (device_context.cu) is not launched by the emulated one.
  if (lines.length !== kernels.size - 1) {
    throw new Error(
      `of ${kernels.size} kernels ${lines.length} are in the addon`,
    );
  }
  writeFileSync(path.join(folder, 'kernels.txt'), `${lines.join('\n')}\n`);
}

/**
 * Makes the PTX, or takes what is there (`keep`), for the script `asker`; returns the environment in
 * which the emulated device runs it.
 */
export async function emulatedPtx(asker, keep) {
  if (!keep) await compile(asker);
  writeIndex();
  return { ...process.env, ALPHAMARGIN_EMULATED_PTX: folder };
}
