import cliProgress from 'cli-progress';
import type { StepReport } from './training.js';
import type { EpochRecord } from './training-state.js';

/** Weight of the newest step in the displayed averages. */
const SMOOTHING = 0.1;

/** Shows how a training run goes, on stderr. */
export interface TrainingProgress {
  onStep(report: StepReport): void;
  onEpoch(record: EpochRecord): void;
  /** Shows a line without tearing the bar. */
  note(message: string): void;
  close(): void;
}

/** A bar on a terminal; a line per epoch where nobody watches (a file, a pipe). */
export function trainingProgress(
  epochs: number,
  stream: NodeJS.WriteStream = process.stderr,
): TrainingProgress {
  const rate = new SampleRate();
  return stream.isTTY
    ? barProgress(epochs, rate, stream)
    : lineProgress(epochs, rate, stream);
}

/** Rows per second since the last restart. */
class SampleRate {
  #rows = 0;
  #since = performance.now();

  add(rows: number): void {
    this.#rows += rows;
  }

  restart(): void {
    this.#rows = 0;
    this.#since = performance.now();
  }

  /** As text. */
  toString(): string {
    const seconds = (performance.now() - this.#since) / 1000;
    return (this.#rows / Math.max(seconds, 1e-9)).toFixed(0);
  }
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function lineProgress(
  epochs: number,
  rate: SampleRate,
  stream: NodeJS.WriteStream,
): TrainingProgress {
  return {
    onStep: ({ rows }) => rate.add(rows),
    onEpoch({ epoch, loss, supportSize, inactiveShare, learningRate }) {
      stream.write(
        `epoch ${epoch}/${epochs}  loss ${loss.toFixed(4)}  ` +
          `support ${supportSize.toFixed(1)}  ` +
          `inactive targets ${percent(inactiveShare)}  ` +
          `lr ${learningRate.toPrecision(3)}  ${rate} samples/s\n`,
      );
      rate.restart();
    },
    note: (message) => void stream.write(`${message}\n`),
    close() {},
  };
}

function barProgress(
  epochs: number,
  rate: SampleRate,
  stream: NodeJS.WriteStream,
): TrainingProgress {
  const bar = new cliProgress.SingleBar({
    stream,
    // The signals belong to the command: it has a checkpoint to write.
    gracefulExit: false,
    hideCursor: true,
    format:
      `epoch {epoch}/${epochs} {bar} {percentage} % | loss {loss} | ` +
      'support {support} | inactive targets {inactive} | {rate} samples/s',
  });
  let started = false;
  const means = { loss: 0, support: 0, inactive: 0 };
  const blend = (old: number, value: number) =>
    started ? old + SMOOTHING * (value - old) : value;
  return {
    onStep(report) {
      rate.add(report.rows);
      means.loss = blend(means.loss, report.loss);
      means.support = blend(means.support, report.supportSize);
      means.inactive = blend(means.inactive, report.inactiveShare);
      const shown = {
        epoch: report.epoch,
        loss: means.loss.toFixed(4),
        support: means.support.toFixed(1),
        inactive: percent(means.inactive),
        rate: String(rate),
      };
      if (started) bar.update(report.step, shown);
      else bar.start(report.steps, report.step, shown);
      started = true;
    },
    onEpoch: () => rate.restart(),
    note(message) {
      stream.write(`${started ? '\n' : ''}${message}\n`);
    },
    close: () => bar.stop(),
  };
}
