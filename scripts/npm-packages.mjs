// Packages that only a script needs: from npm into a folder under build/, once.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

/**
 * Installs packages into a folder of their own, unless it has exactly these; returns its node_modules.
 *
 * @param options.force For packages that say they are for another system.
 */
export function installPackages(folder, dependencies, { force = false } = {}) {
  const wanted = JSON.stringify({ private: true, dependencies });
  const manifest = path.join(folder, 'package.json');
  const modules = path.join(folder, 'node_modules');
  const isCurrent =
    existsSync(path.join(modules, '.package-lock.json')) &&
    readFileSync(manifest, 'utf8') === wanted;
  if (!isCurrent) {
    rmSync(modules, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(manifest, wanted);
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund'];
    const how = [...quiet, '--prefer-offline', ...(force ? ['--force'] : [])];
    execFileSync('npm', ['install', ...how], {
      cwd: folder,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  return modules;
}
