import { damagedFile } from '../io/file-errors.js';
import { readArk } from '../io/kaldi-ark.js';
import { readScp, type ScpEntries } from '../io/kaldi-scp.js';
import { FilePool } from './file-pool.js';
import {
  copyVectors,
  notAVector,
  readForm,
  type VectorPlace,
} from './kaldi-vectors.js';
import type { RowSource } from './row-source.js';

/** Finds the vectors of an archive; they are read once to do so. */
export async function arkRows(path: string): Promise<RowSource> {
  const names: string[] = [];
  const offsets: number[] = [];
  for await (const { name, row, offset } of readArk(path)) {
    if (row > 0) throw notAVector(`${path}: '${name}'`, 'a matrix');
    names.push(name);
    offsets.push(offset);
  }
  if (names.length === 0) throw damagedFile(path, 'there is no vector in it');
  return locatedRows({
    names,
    paths: [path],
    file: new Int32Array(names.length),
    offset: Float64Array.from(offsets),
  });
}

/** The vectors that a script file names. */
export async function scpRows(path: string): Promise<RowSource> {
  return locatedRows(await readScp(path));
}

/** Vectors of one size at known places; the first one says what they are. */
async function locatedRows(entries: ScpEntries): Promise<RowSource> {
  const { names, paths, file, offset } = entries;
  const pool = new FilePool(paths);
  const whereOf = (row: number) => `${pool.path(file[row]!)}: '${names[row]}'`;
  try {
    const first = await pool.use(file[0]!, (open) =>
      readForm(whereOf(0), pool.path(file[0]!), open, offset[0]!),
    );
    const { dim } = first;
    return {
      count: names.length,
      dim,
      names,
      async copyRows(rows, slots, target) {
        const byFile = new Map<number, VectorPlace[]>();
        for (const [index, row] of rows.entries()) {
          const place = { position: offset[row]!, slot: slots[index]!, row };
          const same = byFile.get(file[row]!);
          if (same === undefined) byFile.set(file[row]!, [place]);
          else same.push(place);
        }
        for (const [index, places] of byFile) {
          const path = pool.path(index);
          await pool.use(index, (open) =>
            copyVectors({
              path,
              file: open,
              form: first,
              places,
              whereOf,
              target,
            }),
          );
        }
      },
      close: () => pool.close(),
    };
  } catch (cause) {
    await pool.close();
    throw cause;
  }
}
