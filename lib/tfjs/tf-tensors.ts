import { customGrad, Tensor } from '@tensorflow/tfjs-core';
import { AlphaMarginError, invalidArgument } from '../errors.js';

/** Checks that something is a living tfjs tensor of an element type. */
export function checkTensor(
  functionName: string,
  argument: string,
  value: unknown,
  dtype: 'float32' | 'int32',
): Tensor {
  if (!(value instanceof Tensor)) {
    throw invalidArgument(functionName, argument, 'a tfjs tensor', value);
  }
  if (value.isDisposed) {
    throw new AlphaMarginError(
      'ERR_DISPOSED',
      `${functionName}: ${argument} is disposed`,
    );
  }
  if (value.dtype !== dtype) {
    throw invalidArgument(
      functionName,
      `${argument}.dtype`,
      `'${dtype}'`,
      value.dtype,
    );
  }
  return value;
}

/** The elements of a checked tensor, in the array of its dtype, read on the calling thread. */
export function elements<Data extends Float32Array | Int32Array>(
  functionName: string,
  argument: string,
  value: Tensor,
): Data {
  try {
    return value.dataSync() as Data;
  } catch (cause) {
    // WebGPU, for one, can only be read asynchronously; custom gradients are synchronous.
    throw new AlphaMarginError(
      'ERR_DEVICE',
      `${functionName}: the backend of tfjs cannot read ${argument} synchronously`,
      { cause },
    );
  }
}

/**
 * Runs a function of this package inside of one for tfjs: its errors begin with the name of that one,
 * which is what the caller called.
 */
export function inCallersName<Result>(
  functionName: string,
  call: () => Result,
): Result {
  try {
    return call();
  } catch (cause) {
    if (cause instanceof AlphaMarginError) {
      cause.message = cause.message.replace(/^[\w.]+(?=: )/, functionName);
      // The stack has a copy of the message, and frames enough without those in between.
      Error.captureStackTrace(cause, inCallersName);
    }
    throw cause;
  }
}

/**
 * A gradient as tfjs may use it once. It is computed outside of tfjs, so to tfjs it would be a
 * constant and a second derivative would silently be 0: asking for one is an error instead.
 *
 * @param input What the gradient belongs to.
 * @param dy Gradient of the result.
 * @param compute Gradient of the input, of its shape.
 */
export function firstDerivative(
  functionName: string,
  input: Tensor,
  dy: Tensor,
  compute: () => Tensor,
): Tensor {
  return customGrad(() => ({
    value: compute(),
    gradFunc: () => {
      throw new AlphaMarginError(
        'ERR_INVALID_ARGUMENT',
        `${functionName}: expected a first derivative, second ones are not computed`,
      );
    },
  }))(input, dy);
}
