/*
 * The parts of `@tensorflow/tfjs` that the tests need, under one name: the whole takes 290 MB. The
 * layers register the gradients of all operations, as the whole does.
 */
import '@tensorflow/tfjs-backend-cpu';
import { env } from '@tensorflow/tfjs-core';

// No advertisement for the native backend in the output of the tests.
env().set('IS_TEST', true);

export * from '@tensorflow/tfjs-core';
export * from '@tensorflow/tfjs-layers';
