import { open, writeFile } from 'node:fs/promises';
import { encodeNpyHeader } from '../../lib/io/npy-header.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import type { SafetensorsType } from '../../lib/io/safetensors-header.js';
import { writeSafetensors } from '../../lib/io/safetensors-writer.js';
import { kaldiArchive } from '../io/kaldi-files.js';

/** Rows of small whole numbers, exact in every element type that can be read. */
export function wholeNumbers(count: number, dim: number): Float32Array {
  return Float32Array.from(
    { length: count * dim },
    (_, index) => ((index * 37) % 129) - 64,
  );
}

/** binary16 bits of a whole number with |value| < 2048. */
function float16Bits(value: number): number {
  if (value === 0) return 0;
  const exponent = Math.floor(Math.log2(Math.abs(value)));
  const fraction = (Math.abs(value) / 2 ** exponent - 1) * 1024;
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction;
}

const bfloat16Bits = (value: number) =>
  new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16;

/** Writes rows in every format, with rows of [count, dim] in each. */
export async function writeEveryFormat(
  file: (name: string) => string,
  data: Float32Array,
  dim: number,
): Promise<Record<string, string>> {
  const dims = [data.length / dim, dim];
  const half = Uint16Array.from(data, float16Bits);
  await writeNpy(file('x32.npy'), { type: 'float32', data, dims });
  await writeNpy(file('x16.npy'), { type: 'float16', data: half, dims });
  const double = Float64Array.from(data);
  await writeNpy(file('x64.npy'), { type: 'float64', data: double, dims });
  const forms: [SafetensorsType, ArrayBufferView][] = [
    ['F32', data],
    ['F16', half],
    ['BF16', Uint16Array.from(data, bfloat16Bits)],
    ['F64', double],
  ];
  const written: Record<string, string> = {
    'npy float32': file('x32.npy'),
    'npy float16': file('x16.npy'),
    'npy float64': file('x64.npy'),
  };
  for (const [dtype, values] of forms) {
    const bytes = new Uint8Array(values.buffer, 0, values.byteLength);
    const path = file(`x-${dtype}.safetensors`);
    // A tensor in front, so that the rows do not begin where the data does.
    const front = new Uint8Array(64);
    await writeSafetensors(path, {
      tensors: [
        { name: 'front', dtype: 'F64', shape: [8], chunks: [front] },
        { name: 'x', dtype, shape: dims, chunks: [bytes] },
      ],
    });
    written[`safetensors ${dtype}`] = path;
  }
  return { ...written, ...(await writeKaldi(file, data, dim)) };
}

async function writeKaldi(
  file: (name: string) => string,
  data: Float32Array,
  dim: number,
): Promise<Record<string, string>> {
  const entries = Array.from(
    { length: data.length / dim },
    (_, row) =>
      // Names of different lengths, so that no vector is aligned.
      [`u${row ** 3}`, [...data.subarray(row * dim, (row + 1) * dim)]] as const,
  );
  const written: Record<string, string> = {};
  for (const kind of ['FV', 'DV'] as const) {
    const { bytes, offsets } = kaldiArchive(entries, kind);
    await writeFile(file(`${kind}.ark`), bytes);
    const lines = entries.map(
      ([name], row) => `${name} ${file(`${kind}.ark`)}:${offsets[row]}\n`,
    );
    await writeFile(file(`${kind}.scp`), lines.join(''));
    written[`ark ${kind}`] = file(`${kind}.ark`);
    written[`scp ${kind}`] = file(`${kind}.scp`);
  }
  const text = entries.map(([name, row]) => `${name}  [ ${row.join(' ')} ]\n`);
  await writeFile(file('text.ark'), text.join(''));
  let at = 0;
  const lines = entries.map(([name], row) => {
    const line = `${name} ${file('text.ark')}:${at + name.length + 1}\n`;
    at += text[row]!.length;
    return line;
  });
  await writeFile(file('text.scp'), lines.join(''));
  return {
    ...written,
    'ark text': file('text.ark'),
    'scp text': file('text.scp'),
  };
}

/** An npy file of float32 [count, dim] that is a hole: it takes no room on the disk, and reads 0.
 * Returns where the first row begins. */
export async function writeHollowNpy(
  path: string,
  count: number,
  dim: number,
): Promise<number> {
  const header = encodeNpyHeader('<f4', [count, dim]);
  const handle = await open(path, 'w');
  await handle.write(header);
  await handle.truncate(header.length + count * dim * 4);
  await handle.close();
  return header.length;
}
