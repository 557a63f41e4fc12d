// Part 2, native. libFuzzer looks for bytes whose row breaks an invariant of the solver
// (test/native/fuzz/solver_fuzz.cc), under AddressSanitizer, UndefinedBehaviorSanitizer and
// LeakSanitizer. Needs clang with its runtime; as root it is installed, elsewhere the part is skipped.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { amount, check, figure, options, skip } from './support.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = path.join(root, 'build', 'fuzz');
const corpus = path.join(root, 'test', 'native', 'fuzz', 'corpus');
const program = path.join(folder, 'solver_fuzz');

const SOURCES = [
  'test/native/fuzz/solver_fuzz.cc',
  'native/common/memory_account.cc',
  'native/common/thread_pool.cc',
  'native/cpu/loss.cc',
  'native/cpu/posterior.cc',
  'native/cpu/row_solver.cc',
];

const run = (command, args, extra = {}) =>
  spawnSync(command, args, { cwd: root, encoding: 'utf8', ...extra });

function compile() {
  mkdirSync(folder, { recursive: true });
  return run('clang++', [
    ...['-std=c++20', '-O1', '-g', '-ffp-contract=off', '-pthread', '-Inative'],
    '-fsanitize=fuzzer,address,undefined',
    '-fno-sanitize-recover=undefined',
    ...SOURCES,
    ...['-o', program],
  ]);
}

/** Installs what is missing, as root; returns what the compiler says in the end. */
function compileOrInstall() {
  const first = compile();
  if (first.status === 0 || process.getuid() !== 0) return first;
  const lacks =
    first.error !== undefined || /libclang_rt|cannot find/.test(first.stderr);
  if (!lacks) return first;
  const install = (name) =>
    run('apt-get', ['install', '-y', '-qq', '--no-install-recommends', name], {
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    });
  run('apt-get', ['update', '-qq']);
  install('clang');
  const version = run('clang', ['-dumpversion']).stdout?.split('.')[0];
  install(`libclang-rt-${version}-dev`);
  return compile();
}

const compiled = compileOrInstall();
const isMissing =
  compiled.error !== undefined || /libclang_rt/.test(compiled.stderr ?? '');
if (isMissing) {
  skip(
    'native fuzzing',
    'clang and its sanitizer runtime are not installed (apt-get install clang libclang-rt-14-dev)',
  );
} else if (compiled.status !== 0) {
  check(false, 'the fuzz target compiles', compiled.stderr);
} else {
  const found = path.join(folder, 'corpus');
  mkdirSync(found, { recursive: true });
  const { status, signal, stderr } = run(program, [
    `-seed=${options.seed}`,
    `-max_total_time=${amount(60, 12)}`,
    '-max_len=400',
    '-timeout=20',
    '-print_final_stats=1',
    `-artifact_prefix=${folder}/`,
    found,
    corpus,
  ]);
  const number = (name) => new RegExp(`${name}:\\s+(\\d+)`).exec(stderr)?.[1];
  figure('rows tried', number('number_of_executed_units') ?? 'unknown');
  figure(
    'kept inputs',
    `${readdirSync(corpus).length} in the repository, ${readdirSync(found).length} found`,
  );
  check(
    status === 0 && signal === null,
    'no row breaks an invariant of the solver',
    stderr.slice(-3000),
  );
}
