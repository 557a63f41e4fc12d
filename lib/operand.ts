import type { CopyRoom } from './copy-room.js';
import { DeviceTensor } from './device-tensor.js';
import { invokeSync } from './invoke.js';
import type { NativeBackend, NativeOutput, NativeReal } from './native.js';
import {
  checkRank,
  type Matrix,
  readRealTensor,
  snapshot,
  type Tensor,
  type TensorLike,
} from './tensor.js';

/** A real-valued argument: a tensor in host memory, or one on a GPU. */
export type RealLike = TensorLike | DeviceTensor;

/** What a call returns for an argument: a result stays where the argument was. */
export type ResultOf<Input> = Input extends DeviceTensor
  ? DeviceTensor
  : Matrix;

/** A checked real-valued argument, wherever it lies. */
export interface RealOperand {
  readonly functionName: string;
  readonly argument: string;
  readonly data: NativeReal;
  readonly dims: readonly number[];
  /** Device of a DeviceTensor; null for host memory. */
  readonly device: string | null;
}

/** Reads a real-valued argument of a given rank. */
export function readOperand(
  functionName: string,
  argument: string,
  value: unknown,
  rank: number,
): RealOperand {
  if (DeviceTensor.isOne(value)) {
    checkRank(functionName, argument, value.dims, rank);
    const data = value.arrayFor(functionName);
    const { dims, device } = value;
    return { functionName, argument, data, dims, device };
  }
  const { data, dims } = readRealTensor(functionName, argument, value, rank);
  return { functionName, argument, data, dims, device: null };
}

function isHostMemory(data: NativeReal): data is Float32Array | Uint16Array {
  return data instanceof Float32Array || data instanceof Uint16Array;
}

/** What a worker reads of an operand: a copy of host memory (in `room`), device memory itself. */
export function held({ data }: RealOperand, room?: CopyRoom): NativeReal {
  if (!isHostMemory(data)) return data;
  return room === undefined ? snapshot(data) : room.copy(data);
}

/** Once nobody reads what `held` returned: its memory goes back to the room. */
export function giveBack(data: NativeReal, room: CopyRoom): void {
  if (isHostMemory(data)) room.giveBack(data);
}

/** A float32 result of a call, and where the addon writes it. */
export interface Result {
  readonly tensor: Tensor | DeviceTensor;
  readonly data: NativeOutput;
}

/** Room for a result beside an operand: on its device, or in host memory. */
export function makeRoom(
  backend: NativeBackend,
  beside: RealOperand,
  dims: readonly number[],
): Result {
  if (beside.device !== null) {
    const { tensor, array } = invokeSync(beside.functionName, makeRoom, () =>
      DeviceTensor.make(backend, dims),
    );
    return { tensor, data: array };
  }
  const count = dims.reduce((product, size) => product * size, 1);
  const data = new Float32Array(count);
  return { tensor: { type: 'float32', data, dims }, data };
}
