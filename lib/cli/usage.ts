import { AlphaMarginError } from '../errors.js';

/** Most threads the backend starts. */
const LARGEST_THREAD_COUNT = 1024;

/** A command line that cannot be understood: exit code 2. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Values of options as `parseArgs` returns them. */
export type OptionValues = Readonly<
  Record<string, string | boolean | undefined | (string | boolean)[]>
>;

/** Runs a constructor of the library on option values; its complaints become usage errors. */
export function asUsage<Result>(build: () => Result): Result {
  try {
    return build();
  } catch (cause) {
    if (
      cause instanceof AlphaMarginError &&
      cause.code === 'ERR_INVALID_ARGUMENT'
    ) {
      throw new UsageError(cause.message, { cause });
    }
    throw cause;
  }
}

/** Reads option values by name, with the checks every command needs. */
export class OptionReader {
  readonly #values: OptionValues;

  constructor(values: OptionValues) {
    this.#values = values;
  }

  /** Text of an option, or undefined when it was not given. */
  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === 'string' ? value : undefined;
  }

  /** Text of an option that must be given. */
  required(name: string): string {
    const value = this.text(name);
    if (value === undefined || value === '') {
      throw new UsageError(`--${name} is required`);
    }
    return value;
  }

  /** Texts of an option that must be given and may be repeated. */
  list(name: string): string[] {
    const values = this.#values[name];
    const texts = Array.isArray(values) ? values.map(String) : [];
    if (texts.length === 0 || texts.includes('')) {
      throw new UsageError(`--${name} is required`);
    }
    return texts;
  }

  /** Whether a flag was given. */
  flag(name: string): boolean {
    return this.#values[name] === true;
  }

  /** A finite number in a range, or undefined when the option was not given. */
  number(
    name: string,
    expected: string,
    accept: (value: number) => boolean,
  ): number | undefined {
    const text = this.text(name);
    if (text === undefined) return undefined;
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (!Number.isFinite(value) || !accept(value)) {
      throw new UsageError(`--${name} must be ${expected}, not '${text}'`);
    }
    return value;
  }

  /** A whole number in [least, most], or undefined when the option was not given. */
  integer(
    name: string,
    least: number,
    most = Number.MAX_SAFE_INTEGER,
  ): number | undefined {
    const hasMost = most < Number.MAX_SAFE_INTEGER;
    return this.number(
      name,
      `a whole number ${hasMost ? `from ${least} to ${most}` : `>= ${least}`}`,
      (value) => Number.isInteger(value) && value >= least && value <= most,
    );
  }

  /** One of a list of words. */
  choice<Word extends string>(
    name: string,
    words: readonly Word[],
    fallback: Word,
  ): Word {
    const text = this.text(name) ?? fallback;
    const word = words.find((candidate) => candidate === text);
    if (word === undefined) {
      throw new UsageError(
        `--${name} must be one of ${words.join(', ')}, not '${text}'`,
      );
    }
    return word;
  }
}

/** Number of threads for the kernels, or undefined when the option was not given. */
export function readThreads(read: OptionReader): number | undefined {
  return read.integer('threads', 1, LARGEST_THREAD_COUNT);
}
