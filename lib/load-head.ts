import {
  type OpenCheckpoint,
  openCheckpoint,
  readCheckpointState,
} from './checkpoint.js';
import { AlphaMarginError } from './errors.js';
import type { Caller } from './head-calls.js';
import { invoke } from './invoke.js';
import type { NativeHead } from './native.js';

/** What a checkpoint says of the head that it is of. */
type Settings = OpenCheckpoint['settings'] & Pick<OpenCheckpoint, 'reference'>;

/**
 * Makes the head of a checkpoint (by `make`, from its settings) and reads its state. On failure there
 * is none.
 */
export async function loadHead<Head extends { dispose(): void }>(
  name: string,
  caller: Caller,
  path: string,
  make: (settings: Settings) => { head: Head; native: NativeHead },
): Promise<Head> {
  const checkpoint = await openCheckpoint(path);
  let head: Head | undefined;
  try {
    const { settings, reference } = checkpoint;
    const made = make({ ...settings, reference });
    head = made.head;
    await invoke(name, caller, undefined, () =>
      readCheckpointState(checkpoint, made.native),
    );
    return head;
  } catch (error) {
    head?.dispose();
    if (
      error instanceof AlphaMarginError &&
      error.code === 'ERR_INVALID_ARGUMENT'
    ) {
      throw new AlphaMarginError(
        'ERR_CHECKPOINT',
        `${path}: damaged settings: ${error.message}`,
        { cause: error },
      );
    }
    throw error;
  } finally {
    await checkpoint.file.close();
  }
}
