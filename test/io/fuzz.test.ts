import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { openEmbeddings, readTemplates } from '../../lib/data/index.js';
import { AlphaMarginError } from '../../lib/errors.js';
import { readArk } from '../../lib/io/kaldi-ark.js';
import { readScp } from '../../lib/io/kaldi-scp.js';
import { readSpk2utt, readUtt2spk } from '../../lib/io/kaldi-speakers.js';
import { embeddingsFromNpy } from '../../lib/io/npy-inputs.js';
import { readNpy } from '../../lib/io/npy-reader.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import { openSafetensors } from '../../lib/io/safetensors-reader.js';
import { readTemplatePairs, readTrials } from '../../lib/verification/index.js';
import { wholeNumbers, writeEveryFormat } from '../data/dataset-files.js';
import { uniform } from '../helpers/random.js';
import { kaldiObject } from './kaldi-files.js';
import { useTemporaryDirectory } from './temporary-directory.js';

/*
 * Every reader meets damaged files: cut, with flipped bits, with sizes that are huge. It may read
 * them, or fail with an AlphaMarginError; it may not ask for memory that the file cannot fill.
 */

/** The reliability suite asks for more rounds, and other ones. */
const ROUNDS = Number(process.env.ALPHAMARGIN_FUZZ_ROUNDS ?? 300);
const SEED = Number(process.env.ALPHAMARGIN_FUZZ_SEED ?? 1);
vi.setConfig({ testTimeout: 60_000 + 200 * ROUNDS });

/** More than chunk or span take; far less than a damaged size asks for. */
const MOST_BYTES = 2 ** 21;

const file = useTemporaryDirectory();

/** Sizes asked for: of buffers, and of typed arrays made by a number. */
let largest = 0;
beforeEach(() => {
  largest = 0;
  for (const method of ['alloc', 'allocUnsafe'] as const) {
    const original = Buffer[method].bind(Buffer);
    vi.spyOn(Buffer, method).mockImplementation((size: number, ...fill: []) => {
      largest = Math.max(largest, size);
      return original(size, ...fill);
    });
  }
  const arrays = {
    Float32Array,
    Float64Array,
    Uint16Array,
    Int32Array,
    Uint8Array,
    BigInt64Array,
  };
  for (const [name, original] of Object.entries(arrays)) {
    const watched = new Proxy(original, {
      construct(target, [first, ...rest], newTarget) {
        if (typeof first === 'number') {
          largest = Math.max(largest, first * target.BYTES_PER_ELEMENT);
        }
        return Reflect.construct(target, [first, ...rest], newTarget);
      },
    });
    vi.stubGlobal(name, watched);
  }
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
});

/** Values that sizes, counts and offsets are damaged to. */
const HUGE = [0x7fffffff, 0x80000000, 0xffffffff, 0x00100000, 0x10000000, 0];

/** One damage or several, at random. */
function damage(whole: Buffer, next: () => number): Buffer {
  const below = (limit: number) => Math.floor(next() * limit);
  let bytes = Buffer.from(whole);
  for (let times = 1 + below(3); times > 0 && bytes.length > 8; times -= 1) {
    // Headers are what matters most.
    const reach = next() < 0.7 ? Math.min(bytes.length, 160) : bytes.length;
    const at = below(reach - 8);
    const kind = below(5);
    if (kind === 0) bytes = bytes.subarray(0, below(bytes.length));
    else if (kind === 1) bytes[at]! ^= 1 << below(8);
    else if (kind === 2) bytes.writeUInt32LE(HUGE[below(HUGE.length)]!, at);
    else if (kind === 3) bytes[at] = below(256);
    else {
      // A number in a text grows, or a piece comes twice.
      const digit = bytes.findIndex(
        (b, i) => i >= at && b >= 0x30 && b <= 0x39,
      );
      const middle =
        next() < 0.5 || digit < 0
          ? bytes.subarray(at, at + below(64))
          : Buffer.from('9'.repeat(1 + below(24)));
      const place = digit < 0 ? at : digit;
      bytes = Buffer.concat([
        bytes.subarray(0, place),
        middle,
        bytes.subarray(place),
      ]);
    }
  }
  return bytes;
}

async function drain(rows: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of rows);
}

/** Reads every row of a data set. */
async function readAll(path: string): Promise<void> {
  await using dataset = await openEmbeddings(path);
  const target = new Float32Array(dataset.dim);
  for (let row = 0; row < Math.min(dataset.count, 50); row += 1) {
    await dataset.readRows(row, target);
  }
}

/** Reads every tensor. */
async function readTensors(path: string): Promise<void> {
  await using opened = await openSafetensors(path);
  for (const name of opened.tensors.keys()) await drain(opened.rows(name));
}

const TEXT: Record<string, string> = {
  utt2spk: 'u1 zoë\nu2 ann\nu3 zoë\n',
  spk2utt: 'zoë u1 u3\nann u2\n',
  trials: '1 a.wav b.wav\n0 a.wav c.wav\n',
  'kaldi trials': 'a.wav b.wav target\na.wav c.wav nontarget\n',
  templates: '1.jpg 1 69544 ann\n2.jpg 1 69544 ann\n3.jpg 7 12 bob\n',
  pairs: '1 11065 1\n1 14032 0\n',
};

type Reader = (path: string) => Promise<unknown>;

const readers: [format: string, reader: Reader, end: string][] = [
  ['npy float32', readNpy, '.npy'],
  ['npy labels', readNpy, '.npy'],
  ['npy float32', readAll, '.npy'],
  ['npy float16', readAll, '.npy'],
  ['npy float64', readNpy, '.npy'],
  ['npy float64', embeddingsFromNpy, '.npy'],
  ['npy float64', readAll, '.npy'],
  ['safetensors F32', readTensors, '.safetensors'],
  ['safetensors BF16', readAll, '.safetensors'],
  ['ark FV', (path) => drain(readArk(path)), '.ark'],
  ['ark DV', readAll, '.ark'],
  ['ark FM', (path) => drain(readArk(path)), '.ark'],
  ['ark text', (path) => drain(readArk(path)), '.ark'],
  ['scp FV', readScp, '.scp'],
  ['scp FV', readAll, '.scp'],
  ['scp text', readAll, '.scp'],
  ['utt2spk', readUtt2spk, ''],
  ['spk2utt', readSpk2utt, ''],
  ['trials', readTrials, ''],
  ['kaldi trials', readTrials, ''],
  ['templates', readTemplates, ''],
  ['pairs', readTemplatePairs, ''],
];

async function writeWhole(): Promise<Record<string, string>> {
  const files = await writeEveryFormat(file, wholeNumbers(23, 5), 5);
  for (const [name, text] of Object.entries(TEXT)) {
    await writeFile(file(name), text);
    files[name] = file(name);
  }
  const labels = Int32Array.from({ length: 23 }, (_, row) => row);
  files['npy labels'] = file('labels.npy');
  await writeNpy(file('labels.npy'), {
    type: 'int32',
    data: labels,
    dims: [23],
  });
  const matrix = kaldiObject('FM', [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  files['ark FM'] = file('m.ark');
  await writeFile(file('m.ark'), Buffer.concat([Buffer.from('m '), matrix]));
  return files;
}

/** What a reader made of damaged bytes. */
async function outcome(
  read: Reader,
  path: string,
): Promise<'read' | 'refused'> {
  try {
    await read(path);
    return 'read';
  } catch (error) {
    if (!(error instanceof AlphaMarginError)) throw error;
    expect(error.message).not.toContain('\n');
    return 'refused';
  }
}

describe('a damaged file is read or refused, in bounded memory', () => {
  test.each(readers)('%s by %o', async (format, read, end) => {
    const whole = await readFile((await writeWhole())[format]!);
    const next = uniform(
      1000 * (SEED - 1) + readers.findIndex(([, one]) => one === read) + 1,
    );
    const damagedFile = file(`damaged${end}`);
    const counts = { read: 0, refused: 0 };
    await writeFile(damagedFile, whole);
    expect(await outcome(read, damagedFile)).toBe('read');
    for (let round = 0; round < ROUNDS; round += 1) {
      const bytes = damage(whole, next);
      await writeFile(damagedFile, bytes);
      counts[await outcome(read, damagedFile)] += 1;
      if (largest > MOST_BYTES) {
        throw new Error(
          `${largest} bytes asked for: ${bytes.toString('base64')}`,
        );
      }
    }
    expect(counts.refused).toBeGreaterThan(ROUNDS / 20);
  });

  // The archive behind a script file is damaged, not the script file.
  test.each(['FV', 'DV', 'text'])(
    'an archive (%s) behind a script file',
    async (kind) => {
      const files = await writeWhole();
      const archive = files[`ark ${kind}`]!;
      const whole = await readFile(archive);
      const next = uniform(1000 * (SEED - 1) + 99);
      const counts = { read: 0, refused: 0 };
      for (let round = 0; round < ROUNDS; round += 1) {
        await writeFile(archive, damage(whole, next));
        counts[await outcome(readAll, files[`scp ${kind}`]!)] += 1;
        expect(largest).toBeLessThan(MOST_BYTES);
      }
      expect(counts.refused).toBeGreaterThan(ROUNDS / 20);
    },
  );
});
