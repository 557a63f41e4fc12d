/**
 * Files: safetensors checkpoints and NumPy arrays.
 *
 * @module
 */
export { writeFileAtomically, writeTextAtomically } from './atomic-file.js';
export { embeddingsFromNpy, labelsFromNpy } from './npy-inputs.js';
export { type NpyArray, type NpyDataByType, readNpy } from './npy-reader.js';
export { writeNpy } from './npy-writer.js';
/** What the header of a safetensors file says. */
export type {
  SafetensorsEntry,
  SafetensorsType,
} from './safetensors-header.js';
export {
  openSafetensors,
  SafetensorsFile,
  type SafetensorsRows,
} from './safetensors-reader.js';
export {
  type SafetensorsContent,
  type SafetensorsSource,
  writeSafetensors,
} from './safetensors-writer.js';
