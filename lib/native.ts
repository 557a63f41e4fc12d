import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { invalidArgument } from './errors.js';
import { checkWhole, findBinary, noBinary } from './find-binary.js';
import type { LossSpecification } from './loss-specification.js';
import type { OptimizerSpecification } from './optimizer.js';

/*
 * The only module that loads the addon, and the one place where its surface is typed.
 * Every computing export exists twice: `name` returns a Promise and runs off the event loop,
 * `nameSync` computes on the calling thread. Outputs are arrays that TypeScript allocates and the
 * worker fills. `cancel` is a one-element array: a non-zero value asks the worker to stop.
 */

/** Elements as the addon reads them: float32, or float16 as bits. */
export type RealData = Float32Array | Uint16Array;

/** A loss as the addon reads it (see `native/math/margin.h`). */
export interface NativeLoss extends Omit<LossSpecification, 'name'> {
  /** Which margin {@link NativeLoss.margins} replaces. */
  readonly marginPlace: 'measure' | 'angular' | 'cosine' | 'none';
  /** Margins of single rows [B], or null. */
  readonly margins: Float32Array | null;
}

/** Update rule of the touched rows. */
export type NativeOptimizer = OptimizerSpecification;

/** Per-row outputs of a loss; `solution` is opaque state for the backward pass. */
export interface NativeLossOutputs {
  readonly loss: Float32Array;
  readonly threshold: Float32Array;
  readonly supportSize: Int32Array;
  readonly targetActive: Uint8Array;
  /** Float64Array [B · {@link NativeAddon.solutionSize}]. */
  readonly solution: Float64Array;
  /** ∂ℓ/∂m of each row, when it is wanted. */
  readonly marginGradient: Float32Array | null;
}

/** Sparse rows as the addon returns them. */
export interface NativeCsr {
  readonly rowOffsets: Int32Array;
  readonly columns: Int32Array;
  readonly values: Float32Array;
}

/** Counters of one head call. */
export interface NativeHeadStats {
  readonly survivors: number;
  readonly support: number;
  readonly overflowRows: number;
  readonly zeroLossRows: number;
  readonly touchedPrototypes: number;
  readonly scratchBytes: number;
  readonly movedBytes: number;
}

/** Per-row outputs of a head call. */
export interface NativeHeadOutputs {
  readonly losses: Float32Array;
  readonly gradEmbeddings: NativeOutput | null;
  readonly supportSize: Int32Array;
  readonly targetActive: Uint8Array;
  /** Gradient of the mean loss with respect to the rows' own margins, when it is wanted. */
  readonly gradMargins: Float32Array | null;
}

/** Arrays of a head's state that can be read and written row by row. */
export type NativeHeadState = 'prototypes' | 'momentum' | 'accumulator';

/** The native half of `PrototypeHead`. Calls on one head must not overlap. */
export interface NativeHead {
  step(
    embeddings: NativeReal,
    labels: Int32Array,
    loss: NativeLoss,
    optimizer: NativeOptimizer,
    outputs: NativeHeadOutputs,
    cancel: Int32Array | null,
  ): Promise<NativeHeadStats>;
  stepSync(
    embeddings: NativeReal,
    labels: Int32Array,
    loss: NativeLoss,
    optimizer: NativeOptimizer,
    outputs: NativeHeadOutputs,
  ): NativeHeadStats;
  evaluate(
    embeddings: NativeReal,
    labels: Int32Array,
    loss: NativeLoss,
    outputs: NativeHeadOutputs,
    cancel: Int32Array | null,
  ): Promise<NativeHeadStats>;
  evaluateSync(
    embeddings: NativeReal,
    labels: Int32Array,
    loss: NativeLoss,
    outputs: NativeHeadOutputs,
  ): NativeHeadStats;
  posterior(
    embeddings: NativeReal,
    labels: Int32Array | null,
    loss: NativeLoss,
    cancel: Int32Array | null,
  ): Promise<NativeCsr>;
  posteriorSync(
    embeddings: NativeReal,
    labels: Int32Array | null,
    loss: NativeLoss,
  ): NativeCsr;
  nearest(
    queries: NativeReal,
    count: number,
    identities: Int32Array,
    cosines: Float32Array,
    cancel: Int32Array | null,
  ): Promise<void>;
  nearestSync(
    queries: NativeReal,
    count: number,
    identities: Int32Array,
    cosines: Float32Array,
  ): void;
  /** Adds the normalised rows to the running class sums of a re-initialisation. */
  accumulateMeans(
    embeddings: NativeReal,
    labels: Int32Array,
    identities: Uint8Array | null,
  ): Promise<void>;
  /** Replaces the prototypes of all classes summed so far; returns how many. */
  applyMeans(): Promise<number>;
  /** Forgets the running class sums. */
  discardMeans(): void;
  /** Copies rows `first … first + rows.length/width` of a state array out. */
  readRows(state: NativeHeadState, first: number, rows: Float32Array): void;
  /** Copies rows in, after checking that every prototype is finite and not zero. */
  writeRows(state: NativeHeadState, first: number, rows: Float32Array): void;
  /** Replaces rows of prototypes (null: all) and zeroes their optimiser state, after checking every row. */
  setPrototypes(identities: Int32Array | null, rows: Float32Array): void;
  /** Whether a state array exists (momentum and accumulators are made on first use). */
  hasState(state: NativeHeadState): boolean;
  memory(): {
    readonly prototypes: number;
    readonly optimizer: number;
    readonly scratch: number;
  };
  dispose(): void;
}

/** A CUDA device of this machine. */
export interface CudaDevice {
  readonly name: string;
  /** Bytes of device memory. */
  readonly memory: number;
  /** As '9.0'. */
  readonly computeCapability: string;
  /** Why it cannot be used; '' when it can. */
  readonly reason: string;
}

/** What the addon was built with and finds on this machine. */
export interface NativeBackendInfo {
  readonly version: string;
  readonly compiler: string;
  /**
   * Kernels in use: 'amx', 'avx512-vnni', 'avx512', 'avx2-vnni', 'avx2', on arm64 'neon-i8mm',
   * 'neon-dotprod', 'neon'; or 'portable'.
   */
  readonly instructionSet: string;
  readonly cpuFeatures: readonly string[];
  readonly threads: number;
  /** Whether the emulated device of test builds is there. */
  readonly emulation: boolean;
  readonly cuda: {
    /** Whether this build has CUDA kernels. */
    readonly built: boolean;
    /** CUDA version of the build, '' without one. */
    readonly runtime: string;
    /** Highest CUDA version the driver supports, '' without a driver. */
    readonly driver: string;
    readonly devices: readonly CudaDevice[];
    /** Why no device can be used; '' when one can. */
    readonly reason: string;
  };
}

/** Settings of the emulated device of test builds. */
export interface EmulationSettings {
  /** Order of blocks, warps and lanes, and the pattern of memory that nothing has written. */
  readonly seed: number;
  readonly memoryBytes: number;
  /** 10·major + minor: which tiers of kernels are chosen. */
  readonly computeCapability: number;
  /** 1: half of the filter's bounds are seen as they were before any was raised; 0: none. */
  readonly staleBounds: number;
  /** Mean accesses to memory between interruptions of interpreted threads; 0: none. */
  readonly interval: number;
}

/** Elements in device memory. */
export interface NativeDeviceArray {
  download(data: RealData, cancel: Int32Array | null): Promise<void>;
  downloadSync(data: RealData): void;
  dispose(): void;
}

/** Elements as a backend reads them: in host memory or on its device. */
export type NativeReal = RealData | NativeDeviceArray;

/** Room for float32 results. */
export type NativeOutput = Float32Array | NativeDeviceArray;

/** What one device can do. */
export interface NativeBackend {
  /** 'cpu', 'cuda:N' or 'cuda-emulated'. */
  readonly name: string;
  /** Doubles of solution state per row. */
  readonly solutionSize: number;
  /** Copies elements to the device. */
  upload(data: RealData, cancel: Int32Array | null): Promise<NativeDeviceArray>;
  uploadSync(data: RealData): NativeDeviceArray;
  /** Device memory for float32 elements. */
  allocateSync(count: number): NativeDeviceArray;

  posterior(
    logits: NativeReal,
    classes: number,
    alpha: number,
    reference: Float32Array | null,
    posterior: NativeOutput,
    cancel: Int32Array | null,
  ): Promise<void>;
  posteriorSync(
    logits: NativeReal,
    classes: number,
    alpha: number,
    reference: Float32Array | null,
    posterior: NativeOutput,
  ): void;
  sparsePosterior(
    logits: NativeReal,
    classes: number,
    alpha: number,
    reference: Float32Array | null,
    cancel: Int32Array | null,
  ): Promise<NativeCsr>;
  sparsePosteriorSync(
    logits: NativeReal,
    classes: number,
    alpha: number,
    reference: Float32Array | null,
  ): NativeCsr;
  posteriorBackward(
    gradPosterior: NativeReal,
    posterior: NativeReal,
    classes: number,
    alpha: number,
    reference: Float32Array | null,
    gradLogits: NativeOutput,
    cancel: Int32Array | null,
  ): Promise<void>;
  posteriorBackwardSync(
    gradPosterior: NativeReal,
    posterior: NativeReal,
    classes: number,
    alpha: number,
    reference: Float32Array | null,
    gradLogits: NativeOutput,
  ): void;

  lossForward(
    cosines: NativeReal,
    classes: number,
    labels: Int32Array,
    loss: NativeLoss,
    reference: Float32Array | null,
    outputs: NativeLossOutputs,
    cancel: Int32Array | null,
  ): Promise<void>;
  lossForwardSync(
    cosines: NativeReal,
    classes: number,
    labels: Int32Array,
    loss: NativeLoss,
    reference: Float32Array | null,
    outputs: NativeLossOutputs,
  ): void;
  lossBackward(
    cosines: NativeReal,
    classes: number,
    labels: Int32Array,
    loss: NativeLoss,
    reference: Float32Array | null,
    solution: Float64Array,
    gradLoss: Float32Array | null,
    gradCosines: NativeOutput,
    cancel: Int32Array | null,
  ): Promise<void>;
  lossBackwardSync(
    cosines: NativeReal,
    classes: number,
    labels: Int32Array,
    loss: NativeLoss,
    reference: Float32Array | null,
    solution: Float64Array,
    gradLoss: Float32Array | null,
    gradCosines: NativeOutput,
  ): void;

  makeHead(
    identities: number,
    dim: number,
    seed: number,
    reference: Float32Array | null,
    /** Bytes the sparse rows of a call may keep before they take the streaming path. */
    scratchBudget: number,
    /** And for each row, where that is more. */
    scratchOfRow: number,
    /** Whether the filter of the CPU has a copy of the prototypes in bytes. */
    hasShadow: boolean,
    /** Prototypes of each identity. */
    subCentres: number,
    filter: string,
    fast: boolean,
  ): NativeHead;
}

/** Everything the addon exports. */
export interface NativeAddon {
  backendInfo(): NativeBackendInfo;
  memory(): { readonly host: number; readonly device: number };
  setThreadCount(count: number): void;
  /** Names of the kernels of this build, best first. */
  readonly instructionSets: readonly string[];

  /** out [M, N] = left [M, K] · right [K, N], either one transposed in memory on request. */
  matrixProductSync(
    left: Float32Array,
    leftTransposed: boolean,
    right: Float32Array,
    rightTransposed: boolean,
    rows: number,
    inner: number,
    columns: number,
    out: Float32Array,
  ): void;
  /**
   * Cosines of every unordered pair of rows i < j, as two histograms over [−1, 1] (same label,
   * different label) with `bins` equal bins each; no pair is stored.
   */
  pairHistograms(
    embeddings: RealData,
    dim: number,
    labels: Int32Array,
    genuine: Float64Array,
    impostor: Float64Array,
    cancel: Int32Array | null,
  ): Promise<void>;
  /** Cosine of rows `enrolment[i]` and `test[i]`. */
  pairCosines(
    embeddings: RealData,
    dim: number,
    enrolment: Int32Array,
    test: Int32Array,
    cosines: Float32Array,
    cancel: Int32Array | null,
  ): Promise<void>;

  /** What one device can do; the device is a concrete one, see `resolveDevice`. */
  backend(device: string): NativeBackend;
  /** Class of device arrays, for `instanceof`. */
  DeviceArray: new (
    ...parameters: never[]
  ) => NativeDeviceArray;
  /** Test builds: settings of the emulated device; returns those before. */
  configureEmulation?(settings: Partial<EmulationSettings>): EmulationSettings;
}

const packageRoot = path.resolve(
  path.dirname(fileURLToPath(import.meta.url)),
  '..',
);

/** Loads the prebuilt or locally built addon; the error lists what was tried and the remedy. */
function load(): NativeAddon {
  let file: string | undefined;
  try {
    file = findBinary(packageRoot);
    checkWhole(file);
    return createRequire(import.meta.url)(file) as NativeAddon;
  } catch (cause) {
    throw noBinary(packageRoot, file, cause as Error);
  }
}

/** What the environment says of a variable; nothing where it is empty. */
function wishOf(variable: string): string | undefined {
  const wish = process.env[variable];
  return wish === '' ? undefined : wish;
}

/** Threads to begin with: the environment's wish, else the cores this process may use. */
function initialThreadCount(): number {
  const variable = 'ALPHAMARGIN_THREADS';
  const wish = wishOf(variable);
  if (wish === undefined) return availableParallelism();
  if (!/^\d{1,4}$/.test(wish) || Number(wish) < 1 || Number(wish) > 1024) {
    const expected = 'a whole number from 1 to 1024';
    throw invalidArgument('alphamargin', variable, expected, wish);
  }
  return Number(wish);
}

/** The kernels themselves read what the environment says of them. */
function checkInstructionSet({ instructionSets }: NativeAddon): void {
  const variable = 'ALPHAMARGIN_INSTRUCTION_SET';
  const wish = wishOf(variable);
  if (wish === undefined || instructionSets.includes(wish)) return;
  const expected = `one of ${instructionSets.join(', ')}`;
  throw invalidArgument('alphamargin', variable, expected, wish);
}

let loaded: NativeAddon | undefined;

/** The addon, loaded on first use so that importing the package never fails. */
export function native(): NativeAddon {
  if (loaded === undefined) {
    const addon = load();
    checkInstructionSet(addon);
    addon.setThreadCount(initialThreadCount());
    loaded = addon;
  }
  return loaded;
}

const backends = new Map<string, NativeBackend>();

/** What a device can do; made once per device. */
export function backendOf(device: string): NativeBackend {
  let backend = backends.get(device);
  if (backend === undefined) {
    backend = native().backend(device);
    backends.set(device, backend);
  }
  return backend;
}
