// Part 9. What a user installs: no script runs at installation, few dependencies, each with a reason and
// a licence that allows the use, all fixed by the lock file; and a binary that is hardened.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkBinary } from '../../scripts/check-binary.mjs';
import { check, figure } from './support.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (name) => readFileSync(path.join(root, name), 'utf8');
const manifest = JSON.parse(read('package.json'));
const lock = JSON.parse(read('package-lock.json'));

/** Licences that ask for no more than their own text. */
const LICENCES =
  /^(MIT|ISC|BSD-2-Clause|BSD-3-Clause|0BSD|Apache-2\.0|Unlicense|CC0-1\.0|BlueOak-1\.0\.0|Python-2\.0)$/;

/** Packages that a user gets with this one: those of the lock file that are not for development. */
const installed = Object.entries(lock.packages).filter(
  ([name, entry]) =>
    name !== '' && !entry.dev && !entry.devOptional && !entry.peer,
);

const hooks = ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish'];
const own = hooks.filter((name) => name in manifest.scripts);
const foreign = installed
  .filter(([, entry]) => entry.hasInstallScript)
  .map(([name]) => name);
check(
  own.length === 0 && foreign.length === 0,
  'no script runs at installation',
  `${own} ${foreign}`,
);

const reasons = read('CONTRIBUTING.md');
const unexplained = Object.keys(manifest.dependencies).filter(
  (name) => !reasons.includes(`\`${name}\``),
);
const loose = Object.entries(manifest.dependencies).filter(
  ([, range]) => !/^\d+\.\d+\.\d+$/.test(range),
);
check(
  unexplained.length === 0 && loose.length === 0,
  'every dependency has a reason in CONTRIBUTING.md and one version',
  `${unexplained} ${loose}`,
);

const unsafe = Object.entries(lock.packages)
  .filter(([name, { link }]) => name !== '' && !link)
  .filter(
    ([, { integrity, resolved }]) =>
      !/^sha512-/.test(integrity ?? '') ||
      !(resolved ?? 'https://registry.npmjs.org/').startsWith(
        'https://registry.npmjs.org/',
      ),
  )
  .map(([name]) => name);
check(
  lock.lockfileVersion === 3 && unsafe.length === 0,
  'the lock file has the hash of every package, of one registry',
  unsafe.join(', '),
);

const unlicensed = [];
for (const [name] of installed) {
  const file = path.join(name, 'package.json');
  if (!existsSync(path.join(root, file))) {
    unlicensed.push(`${name} is not installed`);
    continue;
  }
  const { license } = JSON.parse(read(file));
  const names = String(license?.type ?? license)
    .replaceAll(/[()]/g, '')
    .split(' OR ');
  if (!names.some((one) => LICENCES.test(one)))
    unlicensed.push(`${name}: ${license}`);
}
figure('direct dependencies', Object.keys(manifest.dependencies).length);
figure('packages installed with this one', installed.length);
check(
  unlicensed.length === 0,
  'every licence allows the use',
  unlicensed.join('; '),
);

// What else a published binary must meet, npm run test:package checks: this one has the emulated device.
const { problems: all } = checkBinary(
  path.join(root, 'build', 'Release', 'alphamargin.node'),
);
const problems = all.filter(
  (problem) => !/^(needs (?!the library)|lacks CUDA)/.test(problem),
);
check(
  problems.length === 0,
  'the addon shows nothing it should not, and is hardened',
  problems.join('; '),
);
check(existsSync(path.join(root, 'SECURITY.md')), 'there is a SECURITY.md');
