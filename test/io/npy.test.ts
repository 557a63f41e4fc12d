import { open, readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { embeddingsFromNpy, labelsFromNpy } from '../../lib/io/npy-inputs.js';
import { type NpyArray, readNpy } from '../../lib/io/npy-reader.js';
import { writeNpy } from '../../lib/io/npy-writer.js';
import { useTemporaryDirectory } from './temporary-directory.js';

const file = useTemporaryDirectory();

/** An npy file made by hand: header text (version 1 unless told) and data bytes. */
async function writeRaw(
  text: string,
  data: ArrayBufferView | number = 0,
  version = 1,
): Promise<string> {
  const header = Buffer.from(text);
  const prefix = Buffer.alloc(version === 1 ? 10 : 12);
  prefix.write('\x93NUMPY', 'latin1');
  prefix[6] = version;
  if (version === 1) prefix.writeUInt16LE(header.length, 8);
  else prefix.writeUInt32LE(header.length, 8);
  const bytes =
    typeof data === 'number'
      ? Buffer.alloc(data)
      : Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  await writeFile(file('raw.npy'), Buffer.concat([prefix, header, bytes]));
  return file('raw.npy');
}

const dictionary = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }`;

const arrays: NpyArray[] = [
  {
    type: 'float32',
    data: Float32Array.of(1, -0, Number.NaN, 4, 5, 6),
    dims: [2, 3],
  },
  { type: 'float16', data: Uint16Array.of(0x3c00, 0xfbff), dims: [1, 2] },
  {
    type: 'float64',
    data: Float64Array.of(0.1, -0, Number.NaN, 1e300, 5e-324, 6),
    dims: [3, 2],
  },
  { type: 'int32', data: Int32Array.of(-(2 ** 31), 2 ** 31 - 1, 0), dims: [3] },
  { type: 'uint8', data: Uint8Array.of(0, 255), dims: [2, 1, 1] },
  { type: 'bool', data: Uint8Array.of(1, 0, 1), dims: [3] },
  { type: 'float32', data: Float32Array.of(7), dims: [] },
  { type: 'float32', data: new Float32Array(0), dims: [0, 512] },
];

test.each(arrays)('$type $dims comes back as it was written', async (array) => {
  await writeNpy(file('a.npy'), array);
  expect(await readNpy(file('a.npy'))).toEqual(array);
  const bytes = await readFile(file('a.npy'));
  expect((10 + bytes.readUInt16LE(8)) % 64).toBe(0);
});

test('a view into a larger buffer writes its own part', async () => {
  const data = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
  await writeNpy(file('view.npy'), { type: 'float32', data, dims: [2] });
  expect((await readNpy(file('view.npy'))).data).toEqual(Float32Array.of(1, 2));
});

test('versions 2 and 3, key order and spacing do not matter', async () => {
  const text = `{"shape":(2L,),'fortran_order' :False , "descr":"<i4"}  \n`;
  for (const version of [1, 2, 3]) {
    const path = await writeRaw(text, Int32Array.of(5, 6), version);
    expect((await readNpy(path)).data).toEqual(Int32Array.of(5, 6));
  }
});

test('Fortran order is accepted only where it changes nothing', async () => {
  const data = Float32Array.of(1, 2, 3, 4);
  const row = await writeRaw(dictionary('<f4', '(1, 4)', 'True'), data);
  expect((await readNpy(row)).dims).toEqual([1, 4]);
  const square = await writeRaw(dictionary('<f4', '(2, 2)', 'True'), data);
  await expect(readNpy(square)).rejects.toMatchObject({
    code: 'ERR_INVALID_ARGUMENT',
    message: expect.stringContaining('numpy.ascontiguousarray'),
  });
});

test('int64 becomes int32, or names the element that does not fit', async () => {
  const fits = BigInt64Array.of(-(2n ** 31n), 2n ** 31n - 1n);
  const path = await writeRaw(dictionary('<i8', '(2,)'), fits);
  expect(await labelsFromNpy(path)).toEqual(
    Int32Array.of(-(2 ** 31), 2 ** 31 - 1),
  );
  for (const value of [2n ** 31n, -(2n ** 31n) - 1n, 2n ** 62n]) {
    await writeRaw(dictionary('<i8', '(2,)'), BigInt64Array.of(0n, value));
    await expect(readNpy(path)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: expect.stringContaining(`element 1 of ${path}`),
    });
  }
});

const both = "embeddings .astype('float32'), labels .astype('int64')";
const integers = ".astype('int64')";

test.each([
  ...[['>f8', both] as const, ['>f4', both] as const],
  ...(['>i8', '<i2', '<u4'] as const).map((d) => [d, integers] as const),
  ...(['|O', '<U3', '<c8', ''] as const).map((d) => [d, null] as const),
])(
  'dtype %s is refused with what can be read and how',
  async (descr, remedy) => {
    const hint = remedy === null ? '' : `; save it again from NumPy: ${remedy}`;
    const path = await writeRaw(dictionary(descr, '(1,)'), 8);
    await expect(readNpy(path)).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
      message: `readNpy: expected the dtype of ${path} to be one of float32 (<f4), float16 (<f2), float64 (<f8), int32 (<i4), int64 (<i8), uint8 (|u1), bool (|b1) but received '${descr}'${hint}`,
    });
  },
);

const damaged: [string, number, RegExp][] = [
  [
    dictionary('<f4', '(2, 3)'),
    23,
    /truncated: sizes \(2, 3\) of float32 take 24/,
  ],
  [dictionary('<f4', '(2, 3)'), 25, /too long/],
  [
    dictionary('<f4', '(99999999, 99999)'),
    0,
    /truncated: .* of float32 take \d{14}/,
  ],
  [dictionary('<f4', '(9007199254740993,)'), 0, /impossible sizes/],
  [dictionary('<f4', '(99999999, 999999999999)'), 0, /impossible sizes/],
  [dictionary('<f4', '(-1,)'), 0, /unexpected text/],
  [dictionary('<f4', '(1.5,)'), 0, /unexpected text/],
  [dictionary('<f4', '(1 2)'), 0, /not a dictionary/],
  [dictionary('<f4', '1'), 0, /not a dictionary/],
  ["{'descr': '<f4', 'shape': (1,)}", 4, /lacks/],
  ["{'descr': '<f4', 'fortran_order': 'no', 'shape': (1,)}", 4, /lacks/],
  [
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}",
    4,
    /unexpected/,
  ],
  [`${dictionary('<f4', '(1,)').slice(0, -1)}`, 4, /found its end/],
  [`${dictionary('<f4', '(1,)')}{}`, 4, /text follows/],
  ['', 0, /truncated: 10 bytes/],
];

test.each(damaged)(
  'header %s with %i bytes is refused',
  async (text, bytes, message) => {
    const path = await writeRaw(text, bytes);
    await expect(readNpy(path)).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message),
    });
  },
);

test('a file cut anywhere, foreign or absent is refused', async () => {
  await writeNpy(file('whole.npy'), arrays[0]!);
  const whole = await readFile(file('whole.npy'));
  const checkpointError = { code: 'ERR_CHECKPOINT' };
  for (let length = 0; length < whole.length; length += 1) {
    await writeFile(file('cut.npy'), whole.subarray(0, length));
    await expect(readNpy(file('cut.npy'))).rejects.toMatchObject(
      checkpointError,
    );
  }
  await writeFile(file('cut.npy'), 'PK\x03\x04 and more than twelve bytes');
  await expect(readNpy(file('cut.npy'))).rejects.toThrow(
    /not an npy file but an archive of them/,
  );
  await expect(readNpy(await writeRaw('{}', 0, 4))).rejects.toThrow(
    /version 4/,
  );
  await expect(readNpy(file('absent.npy'))).rejects.toMatchObject(
    checkpointError,
  );
});

test('a header of gigabytes is refused unread', async () => {
  const path = await writeRaw('', 0, 2);
  const handle = await open(path, 'r+');
  await handle.write(Uint8Array.of(0, 0, 0, 0x80), 0, 4, 8);
  // A hole: it takes no room on the disk.
  await handle.truncate(3 * 2 ** 30);
  await handle.close();
  await expect(readNpy(path)).rejects.toMatchObject({
    code: 'ERR_CHECKPOINT',
    message: expect.stringMatching(/header is too large: 2147483648 bytes/),
  });
});

test('embeddings are [N, D] of floats, labels [N] of integers', async () => {
  const [float32, float16, float64, int32, uint8] = arrays;
  const wrong = { code: 'ERR_INVALID_ARGUMENT' };
  for (const array of [float32!, float16!, float64!]) {
    await writeNpy(file('e.npy'), array);
    expect(await embeddingsFromNpy(file('e.npy'))).toEqual(
      array.type === 'float64'
        ? { ...array, type: 'float32', data: Float32Array.from(array.data) }
        : array,
    );
    await expect(labelsFromNpy(file('e.npy'))).rejects.toMatchObject({
      ...wrong,
      message: expect.stringContaining(".astype('int64')"),
    });
  }
  const remedy = expect.stringContaining(".astype('float32')");
  await writeNpy(file('l.npy'), int32!);
  expect(await labelsFromNpy(file('l.npy'))).toEqual(int32!.data);
  await expect(embeddingsFromNpy(file('l.npy'))).rejects.toMatchObject({
    ...wrong,
    message: remedy,
  });
  await writeNpy(file('l.npy'), uint8!);
  await expect(labelsFromNpy(file('l.npy'))).rejects.toMatchObject(wrong);
  await writeNpy(file('l.npy'), { ...uint8!, dims: [2] } as NpyArray);
  expect(await labelsFromNpy(file('l.npy'))).toEqual(Int32Array.of(0, 255));
  await writeNpy(file('e.npy'), { ...float32!, dims: [6] } as NpyArray);
  await expect(embeddingsFromNpy(file('e.npy'))).rejects.toMatchObject(wrong);
});

test('arrays that do not fit their sizes are not written', async () => {
  const array = { ...arrays[0]!, dims: [2, 2] } as NpyArray;
  const wrong = { code: 'ERR_INVALID_ARGUMENT' };
  await expect(writeNpy(file('w.npy'), array)).rejects.toMatchObject(wrong);
  for (const type of ['float64', 'float128']) {
    const odd = { ...arrays[0]!, type } as unknown as NpyArray;
    await expect(writeNpy(file('w.npy'), odd)).rejects.toMatchObject(wrong);
  }
});

test('float64 embeddings are rounded to float32 in pieces', async () => {
  // More than one piece of 2^20.
  const rows = 2 ** 19 + 3;
  const data = Float64Array.from({ length: 3 * rows }, (_, i) => Math.sin(i));
  await writeNpy(file('wide.npy'), { type: 'float64', data, dims: [rows, 3] });
  const { type, data: read, dims } = await embeddingsFromNpy(file('wide.npy'));
  expect([type, dims]).toEqual(['float32', [rows, 3]]);
  expect(read).toEqual(Float32Array.from(data));
});
