import { open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { openSafetensors } from '../../lib/io/safetensors-reader.js';
import { writeSafetensors } from '../../lib/io/safetensors-writer.js';
import { useTemporaryDirectory } from './temporary-directory.js';

const file = useTemporaryDirectory();

function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A file from a header object (or text) and data bytes, unchecked. */
async function writeRaw(name: string, header: unknown, dataBytes: number) {
  const text = Buffer.from(
    typeof header === 'string' ? header : JSON.stringify(header),
  );
  const bytes = Buffer.alloc(8 + text.length + dataBytes);
  bytes.writeBigUInt64LE(BigInt(text.length));
  text.copy(bytes, 8);
  await writeFile(file(name), bytes);
  return file(name);
}

const u8 = (begin: number, end: number) => ({
  dtype: 'U8',
  shape: [end - begin],
  data_offsets: [begin, end],
});

test('tensors, metadata and odd names come back as they were written', async () => {
  const prototypes = Float32Array.from({ length: 111 * 19 }, (_, i) =>
    Math.sin(i),
  );
  const flags = new Uint8Array([1, 2, 3]);
  const rowBytes = 19 * 4;
  async function* pieces() {
    // Pieces that do not end where rows or elements do.
    const bytes = bytesOf(prototypes);
    for (let at = 0; at < bytes.length; at += 1001) {
      yield bytes.subarray(at, at + 1001);
    }
  }
  await writeSafetensors(file('a'), {
    metadata: { loss: 'q-margin', 'naïve ✓': '1' },
    tensors: [
      { name: 'flags', dtype: 'U8', shape: [3], chunks: [flags] },
      { name: 'prototypes', dtype: 'F32', shape: [111, 19], chunks: pieces() },
      {
        name: '__proto__',
        dtype: 'I64',
        shape: [],
        chunks: [new Uint8Array(8)],
      },
      { name: 'empty', dtype: 'F32', shape: [0, 19], chunks: [] },
    ],
  });
  const reader = await openSafetensors(file('a'));
  expect(reader.metadata).toEqual({ loss: 'q-margin', 'naïve ✓': '1' });
  expect([...reader.tensors.keys()].sort()).toEqual(
    ['__proto__', 'empty', 'flags', 'prototypes'].sort(),
  );
  const read = new Float32Array(prototypes.length);
  for await (const rows of reader.rows('prototypes', { rowsPerChunk: 7 })) {
    expect(rows.bytes.byteLength).toBe(rows.count * rowBytes);
    read.set(new Float32Array(rows.bytes.buffer), rows.first * 19);
  }
  expect(read).toEqual(prototypes);
  const row = new Float32Array(19);
  await reader.readRows('prototypes', 110, row);
  expect(row).toEqual(prototypes.subarray(110 * 19));
  const scalar = new BigInt64Array(1);
  await reader.readRows('__proto__', 0, scalar);
  for await (const _ of reader.rows('empty')) throw new Error('no rows');
  await reader.close();
  // Every tensor is aligned to its element.
  const header = (await readFile(file('a'))).readBigUInt64LE(0);
  expect(Number(header) % 8).toBe(0);
  expect(reader.tensor('flags').begin).toBe(8 + 111 * 19 * 4);
});

test('rows outside a tensor are refused', async () => {
  const path = await writeRaw(
    'rows',
    { t: { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] } },
    16,
  );
  const reader = await openSafetensors(path);
  const refused = { code: 'ERR_INVALID_ARGUMENT' };
  await expect(
    reader.readRows('t', 1, new Float32Array(4)),
  ).rejects.toMatchObject(refused);
  await expect(
    reader.readRows('t', 0, new Float32Array(3)),
  ).rejects.toMatchObject(refused);
  await expect(
    reader.readRows('t', -1, new Float32Array(2)),
  ).rejects.toMatchObject(refused);
  expect(() => reader.tensor('u')).toThrow(/there is no tensor 'u'/);
  await reader.close();
});

/** Arrays that hold the elements of each type. */
const ARRAYS = {
  F64: [Float64Array],
  F32: [Float32Array],
  F16: [Uint16Array],
  BF16: [Uint16Array],
  I64: [BigInt64Array],
  U64: [BigUint64Array],
  I32: [Int32Array],
  U32: [Uint32Array],
  I16: [Int16Array],
  U16: [Uint16Array],
  I8: [Int8Array],
  U8: [Uint8Array, Uint8ClampedArray],
  BOOL: [Uint8Array],
  F8_E5M2: [Uint8Array],
  F8_E4M3: [Uint8Array],
} as const;
const kinds = [...new Set(Object.values(ARRAYS).flat())];

test.each(Object.entries(ARRAYS))(
  'rows of %s come in an array of that type or as bytes',
  async (dtype, own: readonly (typeof kinds)[number][]) => {
    // 16 bytes are whole elements of every type, so that only the type can be wrong.
    const size = 16 / own[0]!.BYTES_PER_ELEMENT;
    const path = await writeRaw(
      `kind-${dtype}`,
      { t: { dtype, shape: [size], data_offsets: [0, 16] } },
      16,
    );
    await using reader = await openSafetensors(path);
    for (const Kind of kinds) {
      const target = new Kind(16 / Kind.BYTES_PER_ELEMENT);
      const reading = reader.readRows('t', 0, target);
      if (own.includes(Kind) || Kind === Uint8Array) {
        await reading;
        continue;
      }
      const expected = [...new Set([own[0]!.name, 'Uint8Array'])];
      await expect(reading, Kind.name).rejects.toMatchObject({
        code: 'ERR_INVALID_ARGUMENT',
        message: expect.stringMatching(
          `^readRows: expected target of 't', which is ${dtype}, to be ${expected[0]}.* ` +
            `but received ${Kind.name} of length ${target.length}$`,
        ),
      });
    }
    await reader.readRows('t', 0, Buffer.alloc(16));
    await reader.readRows('t', 0, new DataView(new ArrayBuffer(16)));
  },
);

test('what an array says of itself does not decide its type', async () => {
  const entry = { dtype: 'F64', shape: [2], data_offsets: [0, 16] };
  const path = await writeRaw('liar', { t: entry }, 16);
  await using reader = await openSafetensors(path);
  class Float64 extends Float32Array {
    override get [Symbol.toStringTag]() {
      return 'Float64Array' as never;
    }
  }
  await expect(reader.readRows('t', 0, new Float64(4))).rejects.toThrow(
    /which is F64, to be Float64Array or Uint8Array but received Float64 of/,
  );
});

test('a closed file says that it is', async () => {
  const entry = { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] };
  const path = await writeRaw('closed', { t: entry }, 16);
  const reader = await openSafetensors(path);
  const rows = reader.rows('t', { rowsPerChunk: 1 });
  expect((await rows.next()).value).toMatchObject({ first: 0, count: 1 });
  const reading = reader.readRows('t', 0, new Float32Array(4));
  await reader.close();
  // A call that came before is done, or says so; it does not blame the file.
  await reading.catch(({ code }) => expect(code).toBe('ERR_DISPOSED'));
  const closed = (name: string) => ({
    code: 'ERR_DISPOSED',
    message: `${name}: ${path} is closed`,
  });
  for (const target of [new Float32Array(4), new Float32Array(0)]) {
    await expect(reader.readRows('t', 0, target)).rejects.toMatchObject(
      closed('readRows'),
    );
  }
  await expect(rows.next()).rejects.toMatchObject(closed('rows'));
  await expect(reader.rows('t').next()).rejects.toMatchObject(closed('rows'));
  expect(reader.tensor('t').shape).toEqual([2, 2]);
  await reader.close();
});

const malformed: [string, unknown, number, RegExp][] = [
  ['not JSON', '{"a": ', 0, /not valid JSON/],
  ['not UTF-8', '{"\ud800": 1}', 0, /its description is not an object/],
  ['array', '[]', 0, /not an object/],
  ['null', 'null', 0, /not an object/],
  ['metadata number', { __metadata__: { a: 1 } }, 0, /__metadata__/],
  ['metadata array', { __metadata__: [] }, 0, /__metadata__/],
  ['entry null', { a: null }, 0, /'a': its description/],
  ['dtype', { a: { ...u8(0, 1), dtype: 'F31' } }, 1, /unknown dtype "F31"/],
  ['inherited dtype', { a: { ...u8(0, 1), dtype: 'toString' } }, 1, /dtype/],
  ['no dtype', { a: { shape: [1], data_offsets: [0, 1] } }, 1, /dtype/],
  ['shape', { a: { ...u8(0, 1), shape: 1 } }, 1, /shape 1 /],
  ['negative size', { a: { ...u8(0, 1), shape: [-1] } }, 1, /shape/],
  ['fraction', { a: { ...u8(0, 1), shape: [0.5, 2] } }, 1, /shape/],
  [
    'overflow',
    { a: { ...u8(0, 0), shape: [2 ** 40, 2 ** 40, 0] } },
    0,
    /shape/,
  ],
  [
    'offset text',
    { a: { ...u8(0, 1), data_offsets: ['0', '1'] } },
    1,
    /data_offsets/,
  ],
  [
    'three offsets',
    { a: { ...u8(0, 1), data_offsets: [0, 1, 2] } },
    1,
    /data_offsets/,
  ],
  [
    'negative offset',
    { a: { ...u8(0, 1), data_offsets: [-1, 0] } },
    1,
    /data_offsets/,
  ],
  ['reversed', { a: { ...u8(0, 1), data_offsets: [1, 0] } }, 1, /span -1/],
  ['size mismatch', { a: { ...u8(0, 4), shape: [3] } }, 4, /takes 3 bytes/],
  ['gap', { a: u8(0, 2), b: u8(3, 4) }, 4, /a gap before tensor 'b'/],
  ['late start', { a: u8(1, 2) }, 2, /a gap before tensor 'a'/],
  ['overlap', { a: u8(0, 3), b: u8(2, 4) }, 4, /an overlap at tensor 'b'/],
  ['same place', { a: u8(0, 3), b: u8(0, 3) }, 3, /an overlap at/],
  ['truncated', { a: u8(0, 8) }, 7, /truncated: the tensors take 8 bytes/],
  ['trailing', { a: u8(0, 8) }, 9, /1 bytes follow the last tensor/],
];

test.each(malformed)(
  'a header with %s is refused',
  async (name, header, dataBytes, message) => {
    const path = await writeRaw(name, header, dataBytes);
    await expect(openSafetensors(path)).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message),
    });
    await expect(openSafetensors(path)).rejects.toThrow(path);
  },
);

test('damaged lengths, foreign files and directories are refused', async () => {
  const cases: [Buffer, RegExp][] = [
    [Buffer.alloc(0), /truncated: 0 bytes/],
    [Buffer.alloc(7), /truncated: 7 bytes/],
    [Buffer.alloc(8), /not valid JSON/],
    [Buffer.from('\x93NUMPY\x01\x00v\x00 {}'), /header is too large/],
    [Buffer.alloc(12, 0xff), /header is too large/],
    [Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 123, 125]), /truncated: the header/],
    [Buffer.from([3, 0, 0, 0, 0, 0, 0, 0, 34, 255, 34]), /not valid JSON/],
  ];
  for (const [bytes, message] of cases) {
    await writeFile(file('damaged'), bytes);
    await expect(openSafetensors(file('damaged'))).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringMatching(message),
    });
  }
  await expect(openSafetensors(file('.'))).rejects.toThrow(
    /not a regular file/,
  );
  await expect(openSafetensors(file('absent'))).rejects.toThrow(/no such file/);
});

test('a file cut anywhere is refused', async () => {
  const values = new Float32Array(8);
  await writeSafetensors(file('whole'), {
    tensors: [
      { name: 'v', dtype: 'F32', shape: [8], chunks: [bytesOf(values)] },
    ],
  });
  const whole = await readFile(file('whole'));
  for (let length = 0; length < whole.length; length += 1) {
    await writeFile(file('cut'), whole.subarray(0, length));
    await expect(openSafetensors(file('cut'))).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
    });
  }
});

test('impossible content is refused before anything is written', async () => {
  const source = { name: 'a', dtype: 'U8', shape: [1], chunks: [] } as const;
  const wrong = [
    [source, source],
    [{ ...source, name: '__metadata__' }],
    [{ ...source, dtype: 'F31' as 'F32' }],
    [{ ...source, shape: [-1] }],
    [{ ...source, shape: [2 ** 53, 2] }],
  ];
  for (const tensors of wrong) {
    await expect(
      writeSafetensors(file('never'), { tensors }),
    ).rejects.toMatchObject({
      code: 'ERR_INVALID_ARGUMENT',
    });
  }
  await expect(stat(file('never'))).rejects.toThrow(/ENOENT/);
});

test('chunks that do not add up leave the old file and no temporary one', async () => {
  const path_ = file('kept');
  await writeFile(path_, 'old');
  for (const bytes of [3, 5]) {
    const chunks = [new Uint8Array(bytes)];
    const tensors = [{ name: 'a', dtype: 'F32', shape: [1], chunks } as const];
    await expect(writeSafetensors(path_, { tensors })).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT',
      message: expect.stringContaining(
        `takes 4 bytes, its chunks gave ${bytes}`,
      ),
    });
  }
  expect(await readFile(path_, 'utf8')).toBe('old');
  const left = await readdir(path.dirname(path_));
  expect(left.filter((name) => name.endsWith('.tmp'))).toEqual([]);
});

test('tensors beyond 4 GiB are addressed exactly', async () => {
  const rows = 2 ** 23 + 1;
  const rowBytes = 1024;
  const bytes = rows * rowBytes;
  const header = {
    big: { dtype: 'F32', shape: [rows, 256], data_offsets: [0, bytes] },
    after: { dtype: 'U8', shape: [3], data_offsets: [bytes, bytes + 3] },
  };
  const path_ = await writeRaw('sparse', header, 0);
  const start = (await stat(path_)).size;
  // A hole in the file: 8 GiB that take no room on the disk.
  const handle = await open(path_, 'r+');
  await handle.write(Buffer.from([1, 2, 3]), 0, 3, start + bytes);
  const last = Float32Array.of(1.5);
  await handle.write(bytesOf(last), 0, 4, start + bytes - 4);
  await handle.close();
  const reader = await openSafetensors(path_);
  const row = new Float32Array(256);
  await reader.readRows('big', rows - 1, row);
  expect([...row.subarray(253)]).toEqual([0, 0, 1.5]);
  const after = new Uint8Array(3);
  await reader.readRows('after', 0, after);
  expect([...after]).toEqual([1, 2, 3]);
  await reader.close();
  await rm(path_);
});
