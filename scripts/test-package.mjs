// The package as users get it. Packs it, installs the tarball into an empty folder, and there, with
// nothing but `node` on PATH, trains through `import` and `require` on every supported Node; checks
// what is in the tarball, and its types as TypeScript projects resolve them.
//
//   node scripts/test-package.mjs              the prebuilt binary of `npm run prebuilds`
//   node scripts/test-package.mjs --cpu-only   a binary without CUDA, built here (a minute)
//   … --platform linux-x64 --platform NAME …   binaries for all of these (scripts/platforms.mjs): those for
//                                              linux-arm64 train under qemu, for win32-x64 under wine, the
//                                              others are looked at
//
// Versions of Node and the checkers come from npm into build/package-test/tools, once.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { reportBinary } from './check-binary.mjs';
import { LAUNCHERS } from './launchers.mjs';
import { installPackages } from './npm-packages.mjs';
import { ownPlatform, platformOf } from './platforms.mjs';

/** The oldest that package.json allows, and what was current of each later line. */
const NODES = ['20.19.0', '22.23.3', '24.21.0', '26.10.0'];
const LARGEST_TARBALL = 20e6;
const CONTENTS = [
  ...['bin', 'dist', 'prebuilds', 'native', 'CMakeLists.txt', 'package.json'],
  ...['README.md', 'LICENSE', 'CHANGELOG.md'],
];

const root = fileURLToPath(new URL('..', import.meta.url));
const work = path.join(root, 'build', 'package-test');
const { values } = parseArgs({
  options: {
    'cpu-only': { type: 'boolean', default: false },
    platform: { type: 'string', multiple: true, default: [ownPlatform] },
  },
});
const cpuOnly = values['cpu-only'];
const platforms = [...new Set(values.platform)].map(platformOf);
/** Which Nodes train, of which platforms. */
const runs = platforms.flatMap((platform) => {
  const launcher = LAUNCHERS[platform.name];
  const versions = platform.isOwn ? NODES : (launcher?.versions(NODES) ?? []);
  return versions.map((version) => ({ version, platform }));
});
const toolOf = ({ version, platform }) => `node-${platform.name}-${version}`;
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json')));

let failed = 0;
function report(good, name, details = '') {
  console.log(`${good ? 'ok    ' : 'FAILED'} ${name}`);
  if (good) return;
  failed += 1;
  if (details !== '') console.error(details);
}

/** Standard output of a program; throws with all it said when it fails. */
function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, {
      ...{ encoding: 'utf8', stdio: 'pipe', maxBuffer: 2 ** 26 },
      ...options,
    });
  } catch (error) {
    const said = `${error.stdout ?? ''}${error.stderr ?? ''}`.trim();
    throw new Error(said || error.message);
  }
}

/** Runs a check of one name; what it throws is its failure. */
function check(name, action) {
  try {
    const details = action();
    report(true, details ? `${name}: ${details}` : name);
  } catch (error) {
    report(false, name, error.message);
  }
}

/** Runs npm as this Node does, so that PATH need not have it. */
const npmProgram =
  process.env.npm_execpath ??
  realpathSync(path.join(path.dirname(process.execPath), 'npm'));
function npm(args, options) {
  return run(process.execPath, [npmProgram, ...args], options);
}
const QUIET = ['--no-audit', '--no-fund', '--prefer-offline'];

/** What npm calls Node for a platform. */
function packageOf({ platform, arch }) {
  return platform === 'win32' ? `win-${arch}` : `${platform}-${arch}`;
}

/** What this script runs: its node_modules. */
function installTools() {
  return installPackages(
    path.join(work, 'tools'),
    {
      ...Object.fromEntries(
        runs.map((one) => [
          toolOf(one),
          `npm:node-${packageOf(one.platform)}@${one.version}`,
        ]),
      ),
      '@arethetypeswrong/cli': '0.18.5',
      publint: '0.3.25',
    },
    { force: !runs.every((one) => one.platform.isOwn) },
  );
}

/** A copy of what is packed with a binary of its own: prebuilds/ stays as it is. */
function stage() {
  const folder = path.join(work, 'stage');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const script = path.join(root, 'scripts', 'prebuild.mjs');
  const names = platforms.flatMap(({ name }) => ['--platform', name]);
  run(process.execPath, [script, '--cpu-only', ...names, '--out', folder]);
  prepack(folder);
  for (const name of CONTENTS) {
    if (name === 'prebuilds') continue;
    cpSync(path.join(root, name), path.join(folder, name), { recursive: true });
  }
  return folder;
}

/** What npm runs before it packs, for a folder that has prebuilds/; from nothing. */
function prepack(folder) {
  rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  const [program, script] = manifest.scripts.prepack.split(' ');
  run(program, [script, folder], { cwd: root });
}

/** Packs the package; returns the tarball and what npm says of it. */
function pack() {
  if (!cpuOnly) prepack(root);
  const source = cpuOnly ? stage() : root;
  rmSync(path.join(work, 'tarball'), { recursive: true, force: true });
  mkdirSync(path.join(work, 'tarball'), { recursive: true });
  const [about] = JSON.parse(
    // Its script has run above.
    npm(
      [
        ...['pack', '--json', '--ignore-scripts'],
        ...['--pack-destination', path.join(work, 'tarball')],
      ],
      { cwd: source },
    ),
  );
  return { ...about, file: path.join(work, 'tarball', about.filename) };
}

function checkContents(tarball) {
  const paths = tarball.files.map((file) => file.path);
  const strange = paths.filter(
    (name) =>
      !CONTENTS.includes(name.split('/')[0]) ||
      name.startsWith('native/emulation/'),
  );
  if (strange.length > 0) throw new Error(`it has ${strange.join(', ')}`);
  const unbuilt = platforms.find(
    ({ file }) => !paths.includes(`prebuilds/${file}`),
  );
  if (unbuilt !== undefined) {
    throw new Error(
      `it has no binary for ${unbuilt.name}: run npm run prebuilds`,
    );
  }
  const absent = CONTENTS.filter(
    (name) =>
      !paths.some((file) => file === name || file.startsWith(`${name}/`)),
  );
  if (absent.length > 0) throw new Error(`it lacks ${absent.join(', ')}`);
  const hooks = ['preinstall', 'install', 'postinstall', 'prepare'];
  const scripts = hooks.filter((name) => manifest.scripts[name] !== undefined);
  if (scripts.length > 0) throw new Error(`it has scripts: ${scripts}`);
  if (tarball.size >= LARGEST_TARBALL) {
    throw new Error(`it has ${tarball.size} bytes`);
  }
  const megabytes = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`;
  return `${tarball.entryCount} files, ${megabytes(tarball.size)} packed, ${megabytes(tarball.unpackedSize)} unpacked`;
}

/** An environment with nothing but one Node on PATH. */
function bareEnvironment(folder, node, launcher) {
  const bin = path.join(folder, 'bin');
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin);
  const program = path.join(bin, 'node');
  if (launcher === undefined) {
    symlinkSync(node, program);
  } else {
    writeFileSync(program, launcher.script(node, folder), { mode: 0o755 });
  }
  return { PATH: bin, HOME: folder, PREBUILDS_ONLY: '1' };
}

/** A path of Windows as wine's drive of the whole system has it here. */
function hostPath(file) {
  return file.replace(/^Z:/, '').replaceAll('\\', '/');
}

/** Trains in both module systems on one Node; returns what the steps gave. */
function train(folder, { version, platform }) {
  const launcher = platform.isOwn ? undefined : LAUNCHERS[platform.name];
  const tool = path.join(installed, toolOf({ version, platform }));
  const node = launcher?.program(tool) ?? path.join(tool, 'bin', 'node');
  const env = bareEnvironment(folder, node, launcher);
  const runNode = (...args) =>
    run('node', args, { cwd: folder, env }).replaceAll('\r\n', '\n');
  const found = runNode('--version').trim();
  const built = runNode('-p', "process.platform + ' ' + process.arch").trim();
  if (
    found !== `v${version}` ||
    built !== `${platform.platform} ${platform.arch}`
  ) {
    throw new Error(`this is Node ${found} for ${built}`);
  }
  const [imported, required] = ['import.mjs', 'require.cjs'].map((program) =>
    runNode(program),
  );
  if (imported !== required) {
    throw new Error(`import: ${imported}require: ${required}`);
  }
  const { addons, cuda, ...result } = JSON.parse(imported);
  const home = path.join(folder, 'node_modules', 'alphamargin', 'prebuilds');
  if (
    addons.length !== 1 ||
    hostPath(addons[0]) !== path.join(home, platform.file)
  ) {
    throw new Error(`loaded: ${addons}`);
  }
  if (!(result.second < result.first)) {
    throw new Error(`the loss does not fall: ${imported}`);
  }
  if (result.emulation) throw new Error('the binary has the emulated device');
  // Binaries that are built elsewhere have no CUDA kernels.
  if (!cpuOnly && platform.name === 'linux-x64' && !cuda) {
    throw new Error('the binary has no CUDA kernels: nvcc was not found');
  }
  const info = runNode('node_modules/alphamargin/bin/alphamargin.mjs', 'info');
  if (!info.includes(manifest.version)) throw new Error(info);
  return JSON.stringify(result);
}

/** Compiles a file as projects of one kind do, declarations of libraries included. */
function compile(folder, file, options) {
  const name = `tsconfig.${options.moduleResolution}.json`;
  writeFileSync(
    path.join(folder, name),
    JSON.stringify({
      compilerOptions: {
        ...{ strict: true, skipLibCheck: false, noEmit: true },
        ...{ exactOptionalPropertyTypes: true, target: 'es2022' },
        types: ['node'],
        ...options,
      },
      files: [file],
    }),
  );
  const compiler = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  run(process.execPath, [compiler, '-p', name], { cwd: folder });
}

const installed = installTools();
const tarball = pack();
check('the tarball', () => checkContents(tarball));

const consumer = realpathSync(
  mkdtempSync(path.join(tmpdir(), 'alphamargin-consumer-')),
);
try {
  cpSync(path.join(root, 'test', 'consumer'), consumer, { recursive: true });
  writeFileSync(path.join(consumer, 'package.json'), '{"private":true}');
  const types = `@types/node@${manifest.devDependencies['@types/node']}`;
  check('it installs with nothing but node', () => {
    const env = bareEnvironment(consumer, process.execPath);
    const cache = npm(['config', 'get', 'cache']).trim();
    npm(['install', tarball.file, types, ...QUIET, '--cache', cache], {
      cwd: consumer,
      env,
    });
  });
  const home = path.join(consumer, 'node_modules', 'alphamargin', 'prebuilds');
  for (const { name, file } of platforms) {
    const binary = path.join(home, file);
    if (!existsSync(binary)) continue;
    report(reportBinary(binary), `the binary for ${name} may be published`);
  }

  const results = new Set();
  for (const one of runs) {
    const elsewhere = one.platform.isOwn ? '' : ` for ${one.platform.name}`;
    check(`a training step on Node ${one.version}${elsewhere}`, () => {
      const result = train(consumer, one);
      results.add(result);
      return result;
    });
  }
  check('alphamargin/tfjs names the peer it misses', () => {
    const code =
      "import('alphamargin/tfjs').catch((e) => console.log(e.message))";
    const said = run(process.execPath, ['-e', code], { cwd: consumer });
    if (!said.includes('@tensorflow/tfjs-core')) throw new Error(said);
  });
  report(
    results.size === 1,
    'the same bits on every Node',
    [...results].join(),
  );

  check('types: moduleResolution node16', () =>
    compile(consumer, 'types.mts', {
      ...{ module: 'node16', moduleResolution: 'node16' },
    }),
  );
  check('types: moduleResolution nodenext, CommonJS', () =>
    compile(consumer, 'types.cts', {
      ...{ module: 'nodenext', moduleResolution: 'nodenext' },
    }),
  );
  check('types: moduleResolution bundler', () =>
    compile(consumer, 'types.mts', {
      ...{ module: 'esnext', moduleResolution: 'bundler' },
    }),
  );
} finally {
  rmSync(consumer, { recursive: true, force: true });
}

const bin = (name) => path.join(installed, '.bin', name);
check('publint', () => {
  run(bin('publint'), [tarball.file, '--strict']);
});
// The package has ES modules alone; `require` of them is what the steps above try.
check('arethetypeswrong', () => {
  run(bin('attw'), [tarball.file, '--profile', 'esm-only']);
});
console.log(tarball.file);
process.exitCode = failed > 0 ? 1 : 0;
