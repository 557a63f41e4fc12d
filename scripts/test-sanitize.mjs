// The native code under sanitizers, which g++ brings along. Two builds:
//
//   address   CPU and emulated CUDA backend under AddressSanitizer and UndefinedBehaviorSanitizer:
//             the emulated device's own cases, whose planted mistakes (cases "asan: …") must each end
//             in a report; the test of the kernel sets; then the JavaScript suite on the instrumented
//             addon (ASAN_TESTS).
//   thread    the thread pool and heads that share it (test/native/thread_pool_test.cc) under
//             ThreadSanitizer, which must see the planted race (case "tsan: …").
//
//   node scripts/test-sanitize.mjs                     everything
//   node scripts/test-sanitize.mjs PROJECT [TEST …]    these tests on the instrumented addon
//
// Threads of the emulated device are one thread of the processor, so ThreadSanitizer has no part in
// them: their races are what the permuted orders of test/device-order.test.ts find.
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cmakeBuild } from './cmake-build.mjs';
import { inParallel } from './in-parallel.mjs';

/**
 * What of the suite runs on the instrumented addon. On the CPU everything that computes: the rest has
 * no native code in it, or starts the command line, which calls the same. On the emulated device, where
 * a step takes a second, the files that reach most kernels and odd sizes. Both without the longest
 * tests, by parts of their names.
 */
const ASAN_TESTS = {
  cpu: {
    files: [
      'test/cli/projection',
      'test/cli/training.test',
      'test/device-',
      'test/entmax',
      'test/head-',
      'test/ignored-rows',
      'test/inter-top-k',
      'test/label-smoothing',
      'test/loss-',
      'test/memory',
      'test/option',
      'test/row-margins',
      'test/sub-centres',
      'test/verification/score-trials',
    ],
    without: [
      'does not hold the pairs of a large set',
      'a signal aborted before or during',
      // Processes that read a variable and say so.
      'variables of the environment',
      // Large, or many orders of a size, for the sake of their numbers.
      'a batch that takes several passes',
      'how many rows stream',
      'more survivors than a group may have',
      'on 20000 cosines',
      'the shortest and the longest prototype',
      'α (1.1|1.5|2|2.5) B 3, C 5001',
      'sub-centres α (1.1|1.5|2.5) ',
      'nearly equal sub-centres',
    ],
  },
  'cuda-emulated': {
    // Not device-order: the same kernels in other orders, for minutes. Nor what repeats kernels with
    // numbers to compare, such as the vectors of the head: memory is the question here.
    files: [
      'test/device-fast',
      'test/device-filters',
      'test/device-selection',
      'test/device-split',
      'test/device-sub-centres',
      'test/device-tensor',
      'test/device-tiers',
      'test/entmax.test',
      'test/head-hostile',
      'test/head-overflow',
      'test/loss-vectors',
    ],
    without: [
      '989 rows of 2 classes',
      // Of the tiers' sizes the two that take longest; 989 has edges and several tiles too.
      'C 4097',
      'B 513',
      '(, mma|simt|-int8|-split) B 131',
      // Rows that overflow leave the tier behind: one tier's do.
      '(simt|wgmma|-int8|-split) B .* budget \\+0',
      'products of rows that stream (ArcFace|Q-Margin)',
      'softmax, faces far',
      'cosFace is within the contract',
      'cosines kept from pass to pass',
      // The same kernels and sizes again, with other numbers.
      'what the filter of a GPU reads changes no result',
      'train like whole ones',
      '(a3m|arcFace|combinedMargin|entmaxHead) is within the contract',
      'variables of the environment',
      "'faces far from",
      "'narrow faces'",
      "'a sharp posterior'",
      'α (1.05|1.25), s (40|8) qMargin',
      "'faces'",
      "'speakers'",
      'every class its own error',
      'bounds are stale',
      // With sub-centres one filter is enough, and one way to stream.
      'sub-centres, (simt|wgmma|mma-)',
      'sub-centres, mma (B 131|stale|nearest)',
      'rows that stream past sub-centres',
      'sub-centres (in any order|keep the cosines)',
      'changes no result',
      'ties beyond the room',
      'hard settings of rows',
      's 0.05',
      's 0.5 ',
      'a gallery of equal prototypes',
      'in several pieces',
      'train like whole ones',
    ],
  },
};

const root = fileURLToPath(new URL('..', import.meta.url));
let failed = 0;

function report(good, name, details = '') {
  console.log(`${good ? 'ok    ' : 'FAILED'} ${name}`);
  if (good) return;
  failed += 1;
  console.error(details);
}

/** Builds targets with flags in a folder of their own; returns the folder. */
function build(name, flags, targets, definitions = []) {
  return cmakeBuild(name, targets, [
    '-DALPHAMARGIN_CUDA=OFF',
    // Instrumented code gains little from more, and takes twice as long to compile.
    `-DCMAKE_CXX_FLAGS=${flags} -g1`,
    '-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG',
    ...definitions,
  ]);
}

/** Exit status and stderr of a program. */
function outcome(command, args, env) {
  return new Promise((resolve) => {
    execFile(command, args, { env, maxBuffer: 2 ** 26 }, (error, _, stderr) => {
      resolve({ status: error === null ? 0 : error.code, stderr });
    });
  });
}

/** Runs every case of a program; those that `mistake` names must end in a report of `sanitizer`. */
async function runCases([command, ...before], env, sanitizer, mistake) {
  const list = spawnSync(command, [...before, '--list'], {
    env,
    encoding: 'utf8',
  });
  if (list.status !== 0) throw new Error(`no list of cases: ${list.stderr}`);
  await inParallel(list.stdout.trim().split('\n'), async (name) => {
    const { status, stderr } = await outcome(command, [...before, name], env);
    const good = mistake(name)
      ? status !== 0 && stderr.includes(sanitizer)
      : status === 0 && stderr === '';
    report(good, name, stderr.slice(0, 8000) || `exit status ${status}`);
  });
}

/** Runtime libraries of the sanitizers, which a program that is not instrumented must load first. */
function runtimeLibraries(addon) {
  const linked = execFileSync('ldd', [addon], { encoding: 'utf8' });
  const found = [...linked.matchAll(/=> (\S*lib(?:asan|ubsan)\.so\S*)/g)];
  if (found.length !== 2) {
    throw new Error(
      `${addon} lacks the shared libraries of the sanitizers: build with g++`,
    );
  }
  return found.map(([, file]) => file).join(' ');
}

/** Runs part of the suite on the instrumented addon; reports of AddressSanitizer go to files. */
function runSuite(project, { files, without }, folder) {
  const addon = path.join(folder, 'build', 'Release', 'alphamargin.node');
  const reports = path.join(folder, 'reports');
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports);
  const log = `log_path=${path.join(reports, 'report')}`;
  const env = {
    ...process.env,
    LD_PRELOAD: runtimeLibraries(addon),
    // Node keeps what it has until the end. A crash is reported although Node would handle it.
    ASAN_OPTIONS: `detect_leaks=0:handle_segv=2:${log}`,
    // Its reports go to stderr, whatever else is asked for.
    UBSAN_OPTIONS: 'print_stacktrace=1',
    // Where node-gyp-build looks for build/Release/*.node.
    ALPHAMARGIN_PREBUILD: folder,
  };
  // The suite must not pass because it ran on another addon.
  const loaded = execFileSync(
    process.execPath,
    [
      ...['--input-type=module', '-e'],
      "import { backendInfo } from './dist/index.js';" +
        'backendInfo();' +
        'console.log(process.report.getReport().sharedObjects.join("\\n"));',
    ],
    { cwd: root, env, encoding: 'utf8' },
  );
  const { status } = spawnSync(
    process.execPath,
    [
      path.join(root, 'node_modules', 'vitest', 'vitest.mjs'),
      ...['run', '--project', project, '--reporter', 'dot', ...files],
      ...(without.length > 0 ? ['-t', `^(?!.*(${without.join('|')}))`] : []),
    ],
    { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] },
  );
  const texts = readdirSync(reports).map((file) =>
    readFileSync(path.join(reports, file), 'utf8').slice(0, 8000),
  );
  const right = loaded.split('\n').includes(addon);
  report(
    right && status === 0 && texts.length === 0,
    `the suite on ${project}`,
    right ? texts.join('\n') : `${addon} was not loaded`,
  );
}

const [only, ...files] = process.argv.slice(2);
const folder = build(
  'sanitize',
  // Without the checks of pointers that AddressSanitizer makes as well, or that a crash tells; they
  // take a third of the time to compile.
  '-fsanitize=address,undefined -fno-sanitize-recover=undefined ' +
    '-fno-sanitize=null,vptr,object-size,pointer-overflow,nonnull-attribute,returns-nonnull-attribute',
  ['emulation_test', 'kernel_sets_test', 'alphamargin'],
);
if (only !== undefined) {
  runSuite(only, { files, without: [] }, folder);
} else {
  await runCases(
    [path.join(folder, 'Release', 'emulation_test')],
    { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' },
    'AddressSanitizer',
    // Mistakes that guards catch in other builds are reports here.
    (name) =>
      name.startsWith('asan') || name === 'planted writes out of bounds',
  );
  const sets = spawnSync(path.join(folder, 'Release', 'kernel_sets_test'), {
    encoding: 'utf8',
    env: { ...process.env, ASAN_OPTIONS: 'detect_leaks=0' },
  });
  report(sets.status === 0, 'kernel sets', sets.stdout + sets.stderr);
  for (const [device, tests] of Object.entries(ASAN_TESTS)) {
    runSuite(device, tests, folder);
  }
  const threads = build(
    'sanitize-thread',
    '-fsanitize=thread',
    ['thread_pool_test'],
    ['-DALPHAMARGIN_EMULATION=OFF'],
  );
  // ThreadSanitizer of older compilers does not start where addresses are too random.
  const canFix = spawnSync('setarch', ['-R', 'true']).status === 0;
  const fixed = canFix ? ['setarch', '-R'] : [];
  await runCases(
    [...fixed, path.join(threads, 'Release', 'thread_pool_test')],
    process.env,
    'ThreadSanitizer: data race',
    (name) => name.startsWith('tsan'),
  );
}
process.exitCode = failed > 0 ? 1 : 0;
