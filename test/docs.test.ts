import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { TRAIN_HELP } from '../lib/cli/train-options.js';
import { VERIFY_HELP } from '../lib/cli/verify-options.js';

/** A ```ts block of a page: a program of its own, run as readers would. */
interface Example {
  readonly title: string;
  readonly file: string;
  readonly code: string;
}

const root = fileURLToPath(new URL('..', import.meta.url));
const examplesDirectory = path.join(root, 'build', 'doc-examples');
const pages = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...readdirSync(path.join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

function read(page: string): string {
  return readFileSync(path.join(root, page), 'utf8');
}

function examplesOf(page: string): Example[] {
  const text = read(page);
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map((match, index) => {
    const line = text.slice(0, match.index).split('\n').length;
    const name = `${page.replace(/[^\w]+/g, '-')}-${index + 1}.ts`;
    return {
      title: `${page}, line ${line}`,
      file: path.join(examplesDirectory, name),
      code: `${match[1]}export {};\n`,
    };
  });
}

const examples = pages.flatMap(examplesOf);
mkdirSync(examplesDirectory, { recursive: true });
await Promise.all(examples.map(({ file, code }) => writeFile(file, code)));

describe('examples of the documentation', () => {
  const start = process.cwd();
  let directory = '';
  beforeEach(async () => {
    // Examples write files next to themselves, as a reader's would.
    directory = await mkdtemp(path.join(tmpdir(), 'alphamargin-docs-'));
    process.chdir(directory);
    vi.spyOn(console, 'log').mockImplementation(() => {});
  });
  afterEach(async () => {
    vi.restoreAllMocks();
    process.chdir(start);
    await rm(directory, { recursive: true });
  });

  test('there are some', () => {
    expect(examples.length).toBeGreaterThan(5);
  });

  // The time of an example is that of the machine, which may be busy.
  test.each(examples)(
    '$title runs',
    async ({ file }) => {
      await import(file);
    },
    300_000,
  );

  test('pass the type checker', () => {
    const { config } = ts.readConfigFile(
      path.join(root, 'tsconfig.json'),
      ts.sys.readFile,
    );
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
    const program = ts.createProgram(
      examples.map(({ file }) => file),
      {
        ...options,
        noEmit: true,
        noUncheckedIndexedAccess: true,
        noUnusedLocals: false,
        // The examples run in another directory, where no types are found.
        typeRoots: [path.join(root, 'node_modules/@types')],
        paths: {
          '@tensorflow/tfjs': [path.join(root, 'test/helpers/tfjs.ts')],
          alphamargin: [path.join(root, 'lib/index.ts')],
          'alphamargin/data': [path.join(root, 'lib/data/index.ts')],
          'alphamargin/tfjs': [path.join(root, 'lib/tfjs/index.ts')],
          'alphamargin/verification': [
            path.join(root, 'lib/verification/index.ts'),
          ],
        },
      },
    );
    const problems = examples.flatMap(({ title, file }) =>
      ts
        .getPreEmitDiagnostics(program, program.getSourceFile(file))
        .map(
          ({ messageText }) =>
            `${title}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`,
        ),
    );
    expect(problems).toEqual([]);
  });
});

describe('pages of the documentation', () => {
  test.each(pages)('%s links to files that exist', (page) => {
    const links = [...read(page).matchAll(/\]\(([^)#\s]+)(#[^)\s]*)?\)/g)]
      .map((match) => match[1]!)
      .filter((link) => !/^[a-z]+:/.test(link));
    const missing = links.filter(
      // The API reference exists after `npm run docs` only.
      (link) =>
        !/(^|\/)api\//.test(link) &&
        !existsSync(path.join(root, path.dirname(page), link)),
    );
    expect(missing).toEqual([]);
  });

  test('name only npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json'));
    const named = pages.flatMap((page) =>
      [...read(page).matchAll(/npm run ([\w:-]+)/g)].map((match) => match[1]!),
    );
    expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  });

  test('describe every option of train and verify', () => {
    const page = read('docs/command-line.md');
    const options = `${TRAIN_HELP}${VERIFY_HELP}`.match(/--[a-z-]+/g) ?? [];
    expect(options.length).toBeGreaterThan(30);
    expect(options.filter((option) => !page.includes(option))).toEqual([]);
  });
});
