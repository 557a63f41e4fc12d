#pragma once
// The update rule of the touched prototypes, and the arrays it keeps.

namespace alphamargin {

enum class OptimizerKind { kSgd, kAdagrad };

struct Optimizer {
  OptimizerKind kind = OptimizerKind::kSgd;
  double learning_rate = 0;
  double momentum = 0;
  double weight_decay = 0;
  double epsilon = 0;
  double initial_accumulator = 0;  // of Adagrad; not in the stored ones

  bool keeps_momentum() const { return kind == OptimizerKind::kSgd && momentum > 0; }
  bool keeps_accumulators() const { return kind == OptimizerKind::kAdagrad; }
};

// Arrays that can be read and written row by row (checkpoints, setPrototypes).
enum class StateArray { kPrototypes, kMomentum, kAccumulator };

}  // namespace alphamargin
