/**
 * Architectures the published binary has machine code for. Cards of the same generation run the code
 * of an older member; a suffix `a` is for that card alone.
 */
export const CUDA_ARCHITECTURES = ['75', '80', '86', '89', '90a', '100', '120'];

/** The same as CMake reads them; the newest also as PTX, which drivers compile for cards to come. */
export const CMAKE_CUDA_ARCHITECTURES = CUDA_ARCHITECTURES.map(
  (architecture, i) =>
    i === CUDA_ARCHITECTURES.length - 1 ? architecture : `${architecture}-real`,
).join(';');
