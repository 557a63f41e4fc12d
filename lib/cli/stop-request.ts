/** Exit codes of runs ended by a signal: 128 + its number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

type StopSignal = keyof typeof EXIT_CODES;

/**
 * Turns Ctrl-C (or SIGTERM, which batch systems send) into a wish to stop in order. The second
 * signal ends the process at once: nobody should have to wait for a step that never ends.
 */
export class StopRequest {
  #received: StopSignal | null = null;
  readonly #onSignal: (signal: NodeJS.Signals) => void;

  /** @param announce Called once, with what happens next. */
  constructor(announce: (message: string) => void) {
    this.#onSignal = (signal) => {
      const name = signal as StopSignal;
      if (this.#received !== null) process.exit(EXIT_CODES[name]);
      this.#received = name;
      announce(
        'stopping after this step and writing a checkpoint ' +
          '(once more to stop without one)',
      );
    };
    for (const name of Object.keys(EXIT_CODES)) {
      process.on(name as StopSignal, this.#onSignal);
    }
  }

  /** Whether a signal came. */
  get requested(): boolean {
    return this.#received !== null;
  }

  /** Exit code of a run that the signal ended. */
  get exitCode(): number {
    return this.#received === null ? 0 : EXIT_CODES[this.#received];
  }

  /** Gives the signals back to their default. */
  [Symbol.dispose](): void {
    for (const name of Object.keys(EXIT_CODES)) {
      process.off(name, this.#onSignal);
    }
  }
}
