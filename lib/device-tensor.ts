import { chooseBackend, type Device } from './device.js';
import { AlphaMarginError } from './errors.js';
import { type CallOptions, invoke, invokeSync } from './invoke.js';
import type { NativeBackend, NativeDeviceArray, RealData } from './native.js';
import { readOptions } from './options.js';
import {
  readTensor,
  snapshot,
  type Tensor,
  type TensorLike,
} from './tensor.js';

/** Element types of a {@link DeviceTensor}. */
export type DeviceTensorType = 'float32' | 'float16';

/** What only this package may make a tensor from. */
const INTERNAL = Symbol('DeviceTensor');

/** Options of {@link DeviceTensor.upload}. */
export interface UploadOptions {
  /** Which GPU. Default `'auto'`, which must mean one. */
  device?: Device | undefined;
}

/**
 * A dense row-major array in the memory of a GPU. Functions and heads take one in place of a
 * tensor and then return their [B, C] or [B, D] results as one, without a copy through the host.
 *
 * It is not copied when a call is made, unlike host tensors, and nothing but this package writes to
 * it. Its memory is freed by {@link dispose}, or when it is garbage.
 *
 * @example
 * if (backendInfo().device !== 'cpu') {
 *   using logits = await DeviceTensor.upload(tensor(new Float32Array([2, 1, -1]), [1, 3]));
 *   using posterior = await entmax(logits, { alpha: 2 });
 *   console.log((await posterior.getData())); // Float32Array [1, 0, 0]
 * }
 */
export class DeviceTensor implements Disposable {
  readonly type: DeviceTensorType;
  /** Sizes, outermost first. */
  readonly dims: readonly number[];
  readonly location = 'cuda';
  /** As 'cuda:0'. */
  readonly device: string;
  #array: NativeDeviceArray | null;

  /** @internal */
  constructor(
    key: symbol,
    backend: NativeBackend,
    type: DeviceTensorType,
    dims: readonly number[],
    array: NativeDeviceArray,
  ) {
    if (key !== INTERNAL) {
      throw new TypeError('DeviceTensor: use DeviceTensor.upload()');
    }
    this.type = type;
    this.dims = Object.freeze([...dims]);
    this.device = backend.name;
    this.#array = array;
  }

  /**
   * Copies a tensor to a GPU.
   *
   * @param tensor float32 or float16, any rank.
   * @throws AlphaMarginError `ERR_INVALID_ARGUMENT`; `ERR_DEVICE` when the device is the CPU or
   * cannot be used; `ERR_OUT_OF_MEMORY`.
   */
  static async upload(
    tensor: TensorLike,
    options: UploadOptions & CallOptions = {},
  ): Promise<DeviceTensor> {
    const name = 'DeviceTensor.upload';
    const upload = readUpload(name, tensor, options);
    const { backend, data, type, dims, signal } = upload;
    const copy = snapshot(data);
    const array = await invoke(name, DeviceTensor.upload, signal, (cancel) =>
      backend.upload(copy, cancel),
    );
    return new DeviceTensor(INTERNAL, backend, type, dims, array);
  }

  /** {@link upload} on the calling thread. */
  static uploadSync(
    tensor: TensorLike,
    options: UploadOptions = {},
  ): DeviceTensor {
    const name = 'DeviceTensor.uploadSync';
    const { backend, data, type, dims } = readUpload(name, tensor, options);
    const array = invokeSync(name, DeviceTensor.uploadSync, () =>
      backend.uploadSync(data),
    );
    return new DeviceTensor(INTERNAL, backend, type, dims, array);
  }

  /** Room for the float32 result of a call. @internal */
  static make(
    backend: NativeBackend,
    dims: readonly number[],
  ): { tensor: DeviceTensor; array: NativeDeviceArray } {
    const count = dims.reduce((product, size) => product * size, 1);
    const array = backend.allocateSync(count);
    const tensor = new DeviceTensor(INTERNAL, backend, 'float32', dims, array);
    return { tensor, array };
  }

  /** Whether a value is one, not an object that only inherits from it. @internal */
  static isOne(value: unknown): value is DeviceTensor {
    return typeof value === 'object' && value !== null && #array in value;
  }

  /** Whether {@link dispose} was called. */
  get disposed(): boolean {
    return this.#array === null;
  }

  /**
   * A copy of the elements: Float32Array, or Uint16Array (float16 bits).
   *
   * @throws AlphaMarginError `ERR_DISPOSED`.
   */
  async getData(options: CallOptions = {}): Promise<RealData> {
    const name = 'DeviceTensor.getData';
    const { signal } = readOptions<CallOptions>(name, options, ['signal']);
    const array = this.arrayFor(name);
    const data = this.#room();
    await invoke(name, this.getData, signal, (cancel) =>
      array.download(data, cancel),
    );
    return data;
  }

  /** {@link getData} on the calling thread. */
  getDataSync(): RealData {
    const name = 'DeviceTensor.getDataSync';
    const array = this.arrayFor(name);
    const data = this.#room();
    invokeSync(name, this.getDataSync, () => array.downloadSync(data));
    return data;
  }

  /** The elements as a host tensor (float32 tensors only keep their type). */
  async toTensor(options: CallOptions = {}): Promise<Tensor<DeviceTensorType>> {
    const data = await this.getData(options);
    return {
      type: this.type,
      data,
      dims: this.dims,
    } as Tensor<DeviceTensorType>;
  }

  /** Frees the device memory once calls that use it have ended. Calls made afterwards fail. */
  dispose(): void {
    this.#array?.dispose();
    this.#array = null;
  }

  /** {@link dispose}, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The array, for a call. @internal */
  arrayFor(functionName: string): NativeDeviceArray {
    if (this.#array !== null) return this.#array;
    throw new AlphaMarginError(
      'ERR_DISPOSED',
      `${functionName}: the DeviceTensor [${this.dims.join(', ')}] was disposed`,
    );
  }

  #room(): RealData {
    const count = this.dims.reduce((product, size) => product * size, 1);
    return this.type === 'float16'
      ? new Uint16Array(count)
      : new Float32Array(count);
  }
}

function readUpload(
  name: string,
  tensor: TensorLike,
  options: UploadOptions & CallOptions,
) {
  const given = readOptions<UploadOptions & CallOptions>(name, options, [
    'device',
    'signal',
  ]);
  const { data, dims } = readTensor(name, 'tensor', tensor);
  const backend = chooseBackend(name, given.device);
  if (backend.name === 'cpu') {
    throw new AlphaMarginError(
      'ERR_DEVICE',
      `${name}: device '${given.device ?? 'auto'}' is the CPU here, which has no device memory; ` +
        'pass the tensor itself, or a CUDA device (see backendInfo())',
    );
  }
  const type: DeviceTensorType =
    data instanceof Uint16Array ? 'float16' : 'float32';
  return { backend, data, type, dims, signal: given.signal };
}
