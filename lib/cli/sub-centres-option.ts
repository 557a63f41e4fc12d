import { LARGEST_SUB_CENTRES } from '../head-options.js';
import type { OptionReader } from './usage.js';

/** `--sub-centres`: prototypes of each identity. */
export function readSubCentres(read: OptionReader): number {
  return read.integer('sub-centres', 1, LARGEST_SUB_CENTRES) ?? 1;
}
