#!/usr/bin/env node
// The command. It is here before anything is built: npx remembers a clone by the commands that exist
// when it is first asked for one, and would not find one that is built later.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const main = new URL('../dist/cli/main.js', import.meta.url);
if (existsSync(main)) {
  await import(main.href);
} else {
  const root = fileURLToPath(new URL('..', import.meta.url));
  console.error(
    `alphamargin: not built yet: run "npm ci && npm run build" in ${root}`,
  );
  process.exitCode = 1;
}
