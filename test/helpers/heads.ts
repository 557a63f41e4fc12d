import {
  type LossSpecification,
  PrototypeHead,
  type PrototypeHeadOptions,
  sgd,
  type Tensor,
} from '../../lib/index.js';

const optimizer = sgd({ learningRate: 0.5, momentum: 0.9, weightDecay: 1e-3 });

/** A head with the given prototypes; SGD with momentum and decay. */
export function headOf(
  loss: LossSpecification,
  prototypes: Tensor,
  options: Partial<PrototypeHeadOptions> = {},
): PrototypeHead {
  const [identities, dim] = prototypes.dims as [number, number];
  return new PrototypeHead({
    identities,
    dim,
    loss,
    optimizer,
    prototypes,
    ...options,
  });
}
