// How each program that is measured is started: our own operations, and the peers that
// bench/peers/install.sh installs. A peer that is not there says so and is never guessed.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { backendInfo } from '../dist/index.js';
import { evictorBytes } from './environment.mjs';

const PYTHON = '/usr/bin/python3';
const HINT = 'bash bench/peers/install.sh';

function here(file) {
  return fileURLToPath(new URL(file, import.meta.url));
}

const AVX512_CORES = ['SkylakeX', 'Cooperlake', 'SapphireRapids'];
const AVX2_CORES = [...AVX512_CORES, 'Haswell', 'Zen'];

let openblasCore;

/**
 * The kernels that OpenBLAS must be told to use, or nothing where its own choice is right. A
 * processor younger than the library gets kernels of 2004 otherwise, five times slower: no peer.
 */
function coreType() {
  if (openblasCore === undefined) {
    openblasCore = {};
    const program = here('peers/build/sgemm');
    const features = backendInfo().cpuFeatures;
    const wanted = features.includes('avx512f')
      ? { name: 'SkylakeX', equals: AVX512_CORES }
      : features.includes('avx2') && { name: 'Haswell', equals: AVX2_CORES };
    if (wanted && existsSync(program)) {
      const { OPENBLAS_CORETYPE: _core, ...env } = process.env;
      const options = { encoding: 'utf8', env, input: '' };
      const text = execFileSync(program, ['1', '1', '1', '1'], options);
      const { core } = JSON.parse(text.split('\n')[0]);
      if (!wanted.equals.includes(core)) {
        openblasCore = { OPENBLAS_CORETYPE: wanted.name };
      }
    }
  }
  return openblasCore;
}

/**
 * The environment without what would slow a library down, or change its threads. PyTorch and Faiss
 * have OpenMP threads besides those of OpenBLAS, and by default the ones that wait keep the cores
 * from the others: told to sleep instead they can be several times faster on few cores.
 */
function environmentOf(threads) {
  const {
    OPENBLAS_CORETYPE: _core,
    OPENBLAS_L2_SIZE: _cache,
    ...env
  } = process.env;
  return {
    ...env,
    ...coreType(),
    EVICTOR_BYTES: String(evictorBytes()),
    OPENBLAS_NUM_THREADS: String(threads),
    OMP_NUM_THREADS: String(threads),
    OMP_WAIT_POLICY: 'passive',
  };
}

/** The same program as it runs when nobody has tuned how its threads wait. */
export function asInstalled(contender) {
  if (contender.missing !== undefined) return contender;
  const { OMP_WAIT_POLICY: _policy, ...env } = contender.env;
  return { ...contender, env, slow: true };
}

function worker(threads, command, ...args) {
  return { command, args: args.map(String), env: environmentOf(threads) };
}

/** One of ours: 'step', 'stepSync', 'evaluate', 'forward' or 'nearest'. */
export function head(operation, setting, threads) {
  const argument = JSON.stringify({ setting, operation, threads });
  const program = here('workers/head.mjs');
  return worker(threads, process.execPath, '--expose-gc', program, argument);
}

/** One of ours on a GPU; `options` are the head's. */
export function deviceHead(operation, setting, threads, device, options = {}) {
  const argument = { setting, operation, threads, device, options };
  const program = here('workers/head.mjs');
  const text = JSON.stringify(argument);
  return worker(threads, process.execPath, '--expose-gc', program, text);
}

/** PyTorch on a GPU, or on the CPU where the device is emulated; see peers/torch_head.py. */
export function torchHead(form, setting, threads, device) {
  const where = device === 'cuda-emulated' ? 'cpu' : device;
  return python(
    'torch',
    'torch_head.py',
    { setting, form, device: where },
    threads,
  );
}

function built(name, threads, ...args) {
  const program = here(`peers/build/${name}`);
  if (!existsSync(program)) return { missing: HINT };
  return worker(threads, program, ...args);
}

/** OpenBLAS: only the logits. */
export function sgemm({ batch, identities, dim }, threads) {
  return built('sgemm', threads, batch, identities, dim, threads);
}

/** OpenBLAS and a partial sort: 'whole' or in 'blocks', see peers/top_k.cc. */
export function topK(form, { batch, identities, dim, k }, threads) {
  return built('top_k', threads, form, batch, identities, dim, k, threads);
}

const modules = new Map();

function hasPythonModule(name) {
  if (!modules.has(name)) {
    const { status } = spawnSync(PYTHON, ['-c', `import numpy, ${name}`]);
    modules.set(name, status === 0);
  }
  return modules.get(name);
}

function python(module, program, argument, threads) {
  if (!hasPythonModule(module)) return { missing: HINT };
  const text = JSON.stringify({ ...argument, threads });
  return worker(threads, PYTHON, here(`peers/${program}`), text);
}

/** PyTorch's dense step with the loss of the setting. */
export function torchStep(setting, threads) {
  return {
    ...python('torch', 'dense_step.py', setting, threads),
    slow: true,
  };
}

/** Faiss IndexFlatIP: the k nearest. */
export function flatIndex(setting, threads) {
  return python('faiss', 'flat_index.py', setting, threads);
}

/** The dense CosFace step in tfjs. */
export function tfjsStep(setting, backend, threads) {
  try {
    createRequire(import.meta.url).resolve('@tensorflow/tfjs');
  } catch {
    return { missing: HINT };
  }
  const argument = JSON.stringify({ setting, backend, threads });
  const program = here('workers/tfjs-step.mjs');
  return {
    ...worker(threads, process.execPath, program, argument),
    slow: true,
  };
}

/** What the processor could do at most; undefined when the program for it is not built. */
export function measureMachine(threads) {
  const { missing, command, args, env } = built('machine', threads, threads);
  if (missing !== undefined) return undefined;
  return JSON.parse(execFileSync(command, args, { encoding: 'utf8', env }));
}
