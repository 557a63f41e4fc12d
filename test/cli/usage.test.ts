import { spawnSync } from 'node:child_process';
import { cp, readFile, symlink } from 'node:fs/promises';
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { useTemporaryDirectory } from '../io/temporary-directory.js';
import { runAll, runCli } from './run-cli.js';

const files = ['--embeddings', 'x', '--labels', 'y', '--out', 'z'];

test.each([
  [[], 2, /^Usage: alphamargin COMMAND/],
  [['--help'], 0, /train {5}train a prototype head/],
  [['train', '--help'], 0, /--margin-ramp/],
  [['verify', '-h'], 0, /--trials/],
  [['info', '--help'], 0, /Usage: alphamargin info/],
  [['project', '--help'], 0, /--normalize/],
  [['demo', '--help'], 0, /Usage: alphamargin demo/],
  [['--version'], 0, /^\d+\.\d+\.\d+\n$/],
] as const)('%j prints help', async (args, code, text) => {
  const result = await runCli(args);
  expect(result).toMatchObject({ code, stderr: '' });
  expect(result.stdout).toMatch(text);
});

const badUsages: readonly (readonly [string[], RegExp])[] = [
  [['fly'], /no command 'fly'/],
  [['toString'], /no command 'toString'/],
  [['info', '--fast'], /--fast/],
  [['info', 'extra'], /extra/],
  [['info', '--plan', '10'], /--plan must be C,D.*not '10'/],
  [['info', '--plan', '10,0'], /two whole numbers >= 1, not '10,0'/],
  [['info', '--plan', '1e9,5'], /not '1e9,5'/],
  [['info', '--batch', '8'], /--batch needs --plan C,D/],
  [['info', '--sub-centres', '8'], /--sub-centres needs --plan C,D/],
  [['info', '--plan', '9,9', '--sub-centres', '0'], /from 1 to 256, not '0'/],
  [
    ['info', '--plan', '1000000000,5', '--sub-centres', '3'],
    /at most 2147483647 prototypes, not 1000000000 times 3/,
  ],
  [['train'], /--embeddings is required/],
  [['train', '--embeddings'], /argument missing/],
  [['train', ...files, '--alpha', '0.5'], /--alpha must be a number >= 1/],
  [['train', ...files, '--alpha', ''], /--alpha must be/],
  [['train', ...files, '--loss', 'hinge'], /one of q-margin, a3m, cosface/],
  [['train', ...files, '--epochs', '1.5'], /whole number >= 1, not '1.5'/],
  [['train', ...files, '--margin=-1'], /--margin must be a number >= 0/],
  [['train', ...files, '--momentum', '1'], /\[0, 1\)/],
  [['train', ...files, '--lr', '1', '--weight-decay', '1'], /less than 1/],
  [['train', ...files, '--scale', '1e4'], /would overflow/],
  [['train', ...files, '--lr-schedule', 'up'], /--lr-schedule/],
  [['train', ...files, '--margin-ramp', '5'], /--margin-ramp/],
  [
    ['train', ...files, '--label-smoothing', '0.1'],
    /--label-smoothing goes with --loss cosface or arcface, not with q-margin/,
  ],
  [
    ['train', ...files, '--loss', 'cosface', '--label-smoothing', '1'],
    /--label-smoothing must be a number in \[0, 1\), not '1'/,
  ],
  [
    [
      ...['train', ...files, '--loss', 'arcface', '--alpha', '1.5'],
      ...['--label-smoothing', '0.1'],
    ],
    /labelSmoothing to be 0 for alpha 1.5/,
  ],
  [['train', ...files, '--inter-top-k', '5'], /K:PENALTY.* not '5'/],
  [['train', ...files, '--inter-top-k', '0:0.1'], /not '0:0.1'/],
  [['train', ...files, '--inter-top-k', '2:2.5'], /\[0, 2\], not '2:2.5'/],
  [['train', ...files, '--logit-adjustment=-1'], /a number >= 0, not '-1'/],
  [['train', ...files, '--sub-centres', '257'], /from 1 to 256, not '257'/],
  [
    ['train', ...files, '--init', 'i', '--resume'],
    /either --init, which starts a new run, or --resume/,
  ],
  [['train', ...files, '--device', 'gpu'], /--device must be auto, cpu/],
  [['train', ...files, '--threads', '2000'], /from 1 to 1024/],
  [['train', ...files, '--reinitialize-at', '15'], /less than --epochs/],
  [['train', ...files, '--embeddings', ''], /--embeddings is required/],
  [['train', ...files, '--sampler', 'random'], /one of shuffled, class-bal/],
  [['train', ...files, '--samples', '4'], /belongs to --sampler identity-sam/],
  [
    ['train', ...files, '--sampler', 'class-balanced', '--block-rows', '1'],
    /--block-rows belongs to --sampler shuffled, not to class-balanced/,
  ],
  [
    ['train', ...files, '--sampler', 'class-balanced', '--class-power', '2'],
    /number in \[0, 1\], not '2'/,
  ],
  [
    ['train', ...files, '--sampler', 'identity-samples', '--batch', '130'],
    /multiple of --samples 4, not 130/,
  ],
  [['train', ...files, '--project-lr', '1'], /--project-lr needs --project D/],
  [['train', ...files, '--project-init', 'random'], /init needs --project D/],
  [['verify', '--embeddings', 'x'], /either --labels or --trials/],
  [
    ['verify', '--embeddings', 'x', '--labels', 'y', '--trials', 't'],
    /either --labels or --trials/,
  ],
  [['verify', '--embeddings', 'x', '--trials', 't', '--split', 's'], /--split/],
  [['verify', '--embeddings', 'x', '--labels', 'y', '--names', 'n'], /--names/],
  [
    ['verify', '--embeddings', 'x', '--labels', 'y', '--scores', 's'],
    /--scores goes with --trials/,
  ],
  [
    ['verify', '--embeddings', 'x', '--labels', 'y', '--cohort-top', '9'],
    /--cohort-top goes with --cohort/,
  ],
  [
    [
      ...['verify', '--embeddings', 'x', '--labels', 'y'],
      ...['--cohort', 'c', '--cohort-top', '1'],
    ],
    /--cohort-top must be a whole number >= 2, not '1'/,
  ],
  [['project', '--head', 'h', '--out', 'y.npy'], /--embeddings is required/],
  [
    ['project', '--head', 'h', '--embeddings', 'x', '--out', 'y.txt'],
    /--out must be the name of an npy file, not 'y\.txt'/,
  ],
  [['demo', '--seed', 'x'], /--seed must be a whole number/],
];

const results = runAll(badUsages.map(([args]) => args));

test.each(
  badUsages.map(([args, message], i) => [args, message, results[i]!] as const),
)('%j is bad usage', (_, message, result) => {
  expect(result).toMatchObject({ code: 2, stdout: '' });
  expect(result.stderr).toMatch(message);
  expect(result.stderr).toMatch(/; see alphamargin (\w+ )?--help\n$/);
  expect(result.stderr.match(/\n/g)).toHaveLength(1);
});

const file = useTemporaryDirectory();

test('without an addon the one line has one prefix', async () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  await cp(`${root}/dist`, file('dist'), { recursive: true });
  await cp(`${root}/package.json`, file('package.json'));
  await symlink(`${root}/node_modules`, file('node_modules'));
  const main = file('dist/cli/main.js');
  const result = spawnSync(process.execPath, [main, 'info'], {
    encoding: 'utf8',
  });
  expect(result.status).toBe(1);
  expect(result.stderr).toMatch(/^alphamargin: no native addon [^\n]*\n$/);
});

test('the command is there before it is built, and says so', async () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const { bin } = JSON.parse(await readFile(`${root}/package.json`, 'utf8'));
  const command = (folder: string) =>
    spawnSync(process.execPath, [`${folder}/${bin.alphamargin}`, '--version'], {
      encoding: 'utf8',
    });
  expect(command(root)).toMatchObject({ status: 0, stderr: '' });
  expect(command(root).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  const path = bin.alphamargin as string;
  await cp(`${root}/${path}`, file(`unbuilt/${path}`));
  expect(command(file('unbuilt'))).toMatchObject({
    status: 1,
    stdout: '',
    stderr: `alphamargin: not built yet: run "npm ci && npm run build" in ${file('unbuilt')}${sep}\n`,
  });
});

test('a failure is one line and exit code 1', async () => {
  const absent = ['--embeddings', '/absent/x.npy', '--labels', '/absent/y.npy'];
  const cases = [
    ['verify', ...absent],
    ['train', ...absent, '--out', '/tmp/alphamargin-never.safetensors'],
    ['train', ...absent, '--out', '/absent/head.safetensors'],
  ];
  for (const args of cases) {
    const result = await runCli(args);
    expect(result).toMatchObject({ code: 1, stdout: '' });
    expect(result.stderr).toMatch(/^alphamargin: \/absent\/.*ENOENT\)\n$/);
  }
});
