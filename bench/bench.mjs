// The benchmarks. `npm run bench -- --help` says how to run them.
import path from 'node:path';
import { measureMachine } from './contenders.mjs';
import { contest } from './contest.mjs';
import { environment } from './environment.mjs';
import { readOptions } from './options.mjs';
import { RESULTS, readResults, resultsFile, writeResults } from './results.mjs';
import { environmentLine, problems } from './table.mjs';

const SECONDS = 10;
// How a peer says that a setting is too large for it: a result, not a failure.
const UNFIT = 'does not fit';

const options = readOptions();
const machines = new Map();

/** What the processor could do with so many threads, measured once. */
function machine(threads) {
  if (!machines.has(threads)) machines.set(threads, measureMachine(threads));
  return machines.get(threads);
}

/** What a row is about: what the command line changes included. */
function aboutOf(comparison) {
  const { name, along } = comparison;
  const setting = { ...comparison.setting, ...options.changes };
  const threads = comparison.threads ?? options.threads;
  return { name, along, setting, threads };
}

/** Those of a row that are asked for. */
function chosenPrograms(contenders) {
  const { programs } = options;
  if (programs === undefined) return contenders;
  const unknown = programs.find((name) => !Object.hasOwn(contenders, name));
  if (unknown !== undefined) {
    const known = Object.keys(contenders).join(', ');
    console.error(`there is no program '${unknown}' (${known})`);
    process.exit(2);
  }
  return Object.fromEntries(programs.map((name) => [name, contenders[name]]));
}

async function measure(part, comparison) {
  const about = aboutOf(comparison);
  const { name, setting, threads } = about;
  const other = comparison.measure;
  if (other !== undefined) {
    try {
      return { ...about, contenders: {}, ...other(setting) };
    } catch (error) {
      return { ...about, contenders: { [name]: { error: error.message } } };
    }
  }
  const { device } = options;
  const whole = { ...comparison, setting, device };
  const contenders = chosenPrograms(part.contenders(whole, threads));
  const how = {
    seconds: options.seconds ?? part.seconds ?? SECONDS,
    smallestSamples: options.smallestSamples,
    slowSamples: options.slowSamples,
    alone: setting.alone,
  };
  return {
    ...about,
    ...(device === undefined && { machine: machine(threads) }),
    contenders: await contest(contenders, how),
  };
}

/** A peer that is not installed is no failure; one that ends early is. */
function hasFailed({ contenders }) {
  return Object.values(contenders).some(
    ({ error }) => error !== undefined && !error.startsWith(UNFIT),
  );
}

/** The same row of an earlier run, when nothing was wrong with it. */
function earlierRow(run, comparison) {
  const wanted = JSON.stringify(aboutOf(comparison));
  return run?.results.find(
    (row) =>
      // As written: in JSON, what is undefined is not there.
      JSON.stringify({
        name: row.name,
        along: row.along,
        setting: row.setting,
        threads: row.threads,
      }) === wanted && problems([row]).length === 0,
  );
}

/** Comparisons of a part that are asked for. */
function chosen(part, where) {
  const { quick, settings } = options;
  const all = part.comparisons({ quick, cores: where.cores });
  if (settings === undefined) return all;
  return all.filter(({ name }) => settings.includes(name));
}

async function runPart(part) {
  const where = environment(options.device);
  const directory = options.out ?? (options.complete ? RESULTS : undefined);
  const file = directory && resultsFile(directory, part.name, where);
  const found = options.resume && file ? readResults(file) : undefined;
  const earlier =
    found?.environment.commit === where.commit ? found : undefined;
  const run = { benchmark: part.name, environment: where, results: [] };
  for (const comparison of chosen(part, where)) {
    console.error(`${part.name}: ${comparison.name} …`);
    const result =
      earlierRow(earlier, comparison) ?? (await measure(part, comparison));
    run.results.push(result);
    if (file !== undefined) writeResults(file, run);
  }
  if (run.results.length === 0) return false;
  console.log(`\n## ${part.name}\n\n${environmentLine(run)}\n`);
  console.log(part.table(run.results));
  const failures = problems(run.results);
  if (failures.length > 0) console.log(`\n${failures.join('\n')}`);
  if (run.results.some(hasFailed)) process.exitCode = 1;
  if (file !== undefined) {
    console.log(`\n${path.relative(process.cwd(), file)} written`);
  }
  return true;
}

let ran = false;
for (const part of options.parts) ran = (await runPart(part)) || ran;
if (!ran) {
  console.error(`no part has a setting '${options.settings.join("', '")}'`);
  process.exit(2);
}
