import { type ByteReader, takeLine } from './byte-reader.js';
import { damagedFile } from './file-errors.js';
import { LARGEST_DIM } from './kaldi-header.js';

/** As C++ prints them, too. */
const SPECIAL: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  '-nan': Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
};

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * The rows of a vector or matrix in Kaldi's text form, `[ 1 2 3 ]`; a row ends where its line
 * does. Memory is one line.
 *
 * @param where Path and name, for messages.
 * @param reader At the blank or bracket behind the name; afterwards behind the last line.
 */
export async function* readTextRows(
  where: string,
  reader: ByteReader,
): AsyncGenerator<Float32Array> {
  let opened = false;
  let closed = false;
  while (!closed) {
    if (reader.position >= reader.size) {
      throw damagedFile(where, "truncated: the file ends before ']'");
    }
    let text = (await takeLine(reader)).toString('latin1').trim();
    if (!opened) {
      if (!text.startsWith('[')) {
        throw damagedFile(
          where,
          `expected '[' or a binary object but found ${JSON.stringify(text.slice(0, 20))}`,
        );
      }
      text = text.slice(1);
      opened = true;
    }
    closed = text.endsWith(']');
    const row = parseRow(where, closed ? text.slice(0, -1) : text);
    if (row.length > 0) yield row;
  }
}

function parseRow(where: string, text: string): Float32Array {
  const fields = text.split(/\s+/).filter((field) => field !== '');
  if (fields.length > LARGEST_DIM) {
    throw damagedFile(
      where,
      `a row of ${fields.length} numbers; at most ${LARGEST_DIM} can be read`,
    );
  }
  return Float32Array.from(fields, (field) => {
    if (NUMBER.test(field)) return Number(field);
    const special = SPECIAL[field.toLowerCase()];
    if (special !== undefined) return special;
    throw damagedFile(
      where,
      `expected a number but found ${JSON.stringify(field.slice(0, 20))}`,
    );
  });
}
