#!/usr/bin/env node
import { createRequire } from 'node:module';
import { AlphaMarginError } from '../errors.js';
import { UsageError } from './usage.js';

/** A subcommand; loaded when it is called, so that `--help` never needs the addon. */
interface Command {
  readonly help: string;
  /** Returns the exit code. */
  run(args: string[]): Promise<number>;
}

const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  info: () => import('./info-command.js'),
  train: () => import('./train-command.js'),
  verify: () => import('./verify-command.js'),
  project: () => import('./project-command.js'),
  demo: () => import('./demo-command.js'),
};

const HELP = `Usage: alphamargin COMMAND [options]

Commands
  info      what is loaded, and on which devices it can run
  train     train a prototype head (and a projection) on embeddings
  verify    measure verification: TAR at FAR, EER, minDCF
  project   write embeddings after the projection of a head
  demo      train and compare the losses on identities it makes

alphamargin COMMAND --help shows the options of a command.
Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C.`;

const FAILED = 1;
const BAD_USAGE = 2;

async function main(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h') {
    console.log(HELP);
    return name === undefined ? BAD_USAGE : 0;
  }
  if (name === '--version') {
    const require = createRequire(import.meta.url);
    console.log(require('../../package.json').version);
    return 0;
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load === undefined) {
    const names = Object.keys(COMMANDS).join(', ');
    throw new UsageError(`there is no command '${name}' (${names})`);
  }
  const command = await load();
  if (rest.includes('--help') || rest.includes('-h')) {
    console.log(command.help);
    return 0;
  }
  return await command.run(rest);
}

/** Where the options of a command are explained. */
function helpOf(name: string | undefined): string {
  const known = name !== undefined && Object.hasOwn(COMMANDS, name);
  return known ? `alphamargin ${name} --help` : 'alphamargin --help';
}

/** One line, whatever the error: scripts read it. */
function report(error: unknown): number {
  const { message, code } = error as Error & { code?: unknown };
  const usage =
    error instanceof UsageError ||
    (typeof code === 'string' && code.startsWith('ERR_PARSE_ARGS'));
  const line = String(message ?? error)
    .replace(/\s*\n\s*/g, ' ')
    .replace(/^alphamargin: /, '');
  const more = usage ? `; see ${helpOf(process.argv[2])}` : '';
  const known = usage || error instanceof AlphaMarginError;
  const unexpected = known ? '' : 'unexpected error: ';
  console.error(`alphamargin: ${unexpected}${line}${more}`);
  return usage ? BAD_USAGE : FAILED;
}

process.exitCode = await main(process.argv.slice(2)).catch(report);
