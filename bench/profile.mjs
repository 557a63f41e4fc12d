// Where the time of a step goes: perf's samples of a head at work, by function of the addon.
// Linux perf is needed. Writes bench/results/profile-PROCESSOR.json.
//
//   node bench/profile.mjs [--setting NAME]… [--samples N] [--out DIR]
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { backendInfo } from '../dist/index.js';
import { head } from './contenders.mjs';
import { Worker } from './contest.mjs';
import { environment } from './environment.mjs';
import { profileTable } from './profile-table.mjs';
import { RESULTS, resultsFile, writeResults } from './results.mjs';
import { SETTINGS } from './settings.mjs';
import { summarize } from './statistics.mjs';

/** Functions with less of the time are summed up. */
const SMALLEST_SHARE = 0.02;
const ADDON = 'alphamargin.node';

const { values } = parseArgs({
  options: {
    setting: {
      type: 'string',
      multiple: true,
      default: ['face-100k', 'face-100k-trained', 'speaker', 'cosface-100k'],
    },
    samples: { type: 'string', default: '30' },
    out: { type: 'string', default: RESULTS },
  },
});
const work = mkdtempSync(path.join(os.tmpdir(), 'alphamargin-profile-'));
const data = path.join(work, 'perf.data');

/** The function's own name: without namespaces, arguments and what wraps a lambda. */
function nameOf(symbol) {
  const inner = symbol.replace(/^std::_Function_handler<.*?\), /, '');
  return inner
    .replace(/alphamargin::|\(anonymous namespace\)::/g, '')
    .replace(/[(<{].*$/, '')
    .replace(/::$/, '');
}

/** Shares of the addon's time by function, largest first. */
function stagesOf(report, seconds) {
  const shares = new Map();
  for (const line of report.split('\n')) {
    const match = line.match(
      /^\s*([\d.]+)%\s*;([^;]*);\s*\[.\] (.*?)\s*(;.*)?$/,
    );
    if (match === null || match[2].trim() !== ADDON) continue;
    const name = nameOf(match[3]);
    shares.set(name, (shares.get(name) ?? 0) + Number(match[1]));
  }
  const total = [...shares.values()].reduce((sum, share) => sum + share, 0);
  const stages = [...shares]
    .map(([stage, share]) => ({ stage, share: share / total }))
    .sort((a, b) => b.share - a.share);
  const large = stages.filter(({ share }) => share >= SMALLEST_SHARE);
  const named = large.reduce((sum, { share }) => sum + share, 0);
  return [...large, { stage: 'all others', share: 1 - named }].map(
    ({ stage, share }) => ({ stage, share, seconds: share * seconds }),
  );
}

async function profile(name, setting, threads) {
  const worker = new Worker(head('step', setting, threads));
  try {
    await worker.answer();
    // Making the head and the first steps are not what is asked.
    for (let step = 0; step < 2; step += 1) await worker.sample();
    const perf = spawn(
      'perf',
      ['record', '-q', '-F', '1999', '-o', data, '-p', String(worker.pid)],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    await Promise.race([
      sleep(500),
      once(perf, 'exit').then(() => {
        throw new Error('perf cannot record');
      }),
    ]);
    const times = [];
    for (let step = 0; step < Number(values.samples); step += 1) {
      times.push((await worker.sample()).seconds);
    }
    const ended = once(perf, 'exit');
    perf.kill('SIGINT');
    await ended;
    await worker.end();
    const report = execFileSync(
      'perf',
      ['report', '--stdio', '--sort', 'dso,symbol', '-t', ';', '-i', data],
      {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        maxBuffer: 2 ** 26,
      },
    );
    const { median } = summarize(times);
    const stages = stagesOf(report, median);
    const how =
      'perf, share of the samples in the addon, times the median step';
    return { name, setting, threads, how, stages };
  } finally {
    worker.stop();
  }
}

const where = environment();
const run = { benchmark: 'profile', environment: where, results: [] };
try {
  for (const name of values.setting) {
    const setting = SETTINGS[name];
    if (setting === undefined) throw new Error(`there is no setting '${name}'`);
    console.error(`${name} …`);
    run.results.push(await profile(name, setting, backendInfo().threads));
  }
} catch (error) {
  console.error(`no profile: ${error.message}`);
  process.exit(1);
} finally {
  rmSync(work, { recursive: true });
}
console.log(profileTable(run));
writeResults(resultsFile(values.out, 'profile', where), run);
