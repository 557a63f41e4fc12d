// Gradients and updates of prototypes, in plain C++ like kernel_loops.inl. Included inside an
// anonymous namespace after eight_doubles.inl.

void descend(double rate, double decay, const double* gradient, std::size_t count, float* row) {
  for (std::size_t k = 0; k < count; ++k) {
    const double g = gradient[k] + decay * row[k];
    row[k] = static_cast<float>(row[k] - rate * g);
  }
}

// ∂w of sixteen elements at a time. It holds copies: what the caller stores could otherwise change
// the original as far as the compiler knows, which then loads everything again for each element.
struct GradientOfSixteen {
  explicit GradientOfSixteen(const ClassGradient& gradient)
      : source(gradient),
        along(gradient.projection * gradient.inverse_norm),
        inverse_norm(gradient.inverse_norm) {}

  ALPHAMARGIN_INLINE void operator()(std::size_t k, const Double8* row, Double8* out) const {
    Double8 low;
    Double8 high;
    if (source.initial != nullptr) {
      low = Double8::load(source.initial + k);
      high = Double8::load(source.initial + k + 8);
    }
    for (std::size_t i = 0; i < source.pairs; ++i) {
      const Double8 coefficient = source.coefficients[i];
      const float* embedding = source.embeddings[i] + k;
      low = low + coefficient * Double8::load(embedding);
      high = high + coefficient * Double8::load(embedding + 8);
    }
    out[0] = (low - along * row[0]) * inverse_norm;
    out[1] = (high - along * row[1]) * inverse_norm;
  }

  const ClassGradient source;
  const Double8 along;
  const Double8 inverse_norm;
};

inline double gradient_of_one(const ClassGradient& gradient, float row, std::size_t k) {
  double sum = gradient.initial != nullptr ? gradient.initial[k] : 0.0;
  for (std::size_t i = 0; i < gradient.pairs; ++i) {
    sum += gradient.coefficients[i] * gradient.embeddings[i][k];
  }
  const double along = gradient.projection * gradient.inverse_norm;
  return (sum - along * row) * gradient.inverse_norm;
}

void class_gradient(const ClassGradient& gradient, const float* row, std::size_t count,
                    double* out) {
  const GradientOfSixteen gradient_of(gradient);
  std::size_t k = 0;
  for (; k + 16 <= count; k += 16) {
    const Double8 values[2] = {Double8::load(row + k), Double8::load(row + k + 8)};
    Double8 result[2];
    gradient_of(k, values, result);
    result[0].store(out + k);
    result[1].store(out + k + 8);
  }
  for (; k < count; ++k) out[k] = gradient_of_one(gradient, row[k], k);
}

// ∂w + decay·w by way of float64: of sixteen elements, and of one.
struct SlopeInDouble {
  SlopeInDouble(const ClassGradient& gradient, double weight_decay)
      : gradient_of(gradient), decay(weight_decay), decay_of_one(weight_decay) {}

  ALPHAMARGIN_INLINE Single16 operator()(std::size_t k, const float* row) const {
    const Double8 wide[2] = {Double8::load(row + k), Double8::load(row + k + 8)};
    Double8 slopes[2];
    gradient_of(k, wide, slopes);
    float rounded[16];
    (slopes[0] + decay * wide[0]).store(rounded);
    (slopes[1] + decay * wide[1]).store(rounded + 8);
    return Single16::load(rounded);
  }
  float of_one(std::size_t k, float value) const {
    return static_cast<float>(gradient_of_one(gradient_of.source, value, k) + decay_of_one * value);
  }

  const GradientOfSixteen gradient_of;
  const Double8 decay;
  const double decay_of_one;
};

// The same in float32, which has a third of the instructions, where that loses little
// (math/slope_in_single.h).
struct SlopeInSingle {
  SlopeInSingle(const ClassGradient& gradient, double decay) : pairs(gradient.pairs) {
    const double inverse = gradient.inverse_norm;
    const double own = decay - gradient.projection * inverse * inverse;
    serves = gradient.initial == nullptr && pairs <= kMostSinglePairs && fits(own);
    if (!serves) return;
    of_row = static_cast<float>(own);
    double sizes = 0;
    for (std::size_t i = 0; i < pairs; ++i) {
      const double factor = gradient.coefficients[i] * inverse;
      serves = serves && fits(factor);
      sizes += size_of(gradient.coefficients[i]);
      terms[i] = {gradient.embeddings[i], static_cast<float>(factor)};
    }
    serves = serves && size_of(gradient.projection) <= kMostAligned * sizes;
  }
  static double size_of(double value) { return value < 0 ? -value : value; }
  static bool fits(double factor) {
    return factor == 0 ||
           (size_of(factor) > kLeastSingleFactor && size_of(factor) < kMostSingleFactor);
  }

  ALPHAMARGIN_INLINE Single16 operator()(std::size_t k, const float* row) const {
    Single16 sum = of_row * Single16::load(row + k);
    for (std::size_t i = 0; i < pairs; ++i) {
      sum = sum + terms[i].factor * Single16::load(terms[i].embedding + k);
    }
    return sum;
  }
  float of_one(std::size_t k, float value) const {
    float sum = of_row * value;
    for (std::size_t i = 0; i < pairs; ++i) sum += terms[i].factor * terms[i].embedding[k];
    return sum;
  }

  // Side by side: GCC copies an array of its own with `rep movs`, which costs more than the rest
  // of a step of two pairs.
  struct Term {
    const float* embedding;
    float factor;
  };
  const std::size_t pairs;
  bool serves;
  float of_row = 0;
  Term terms[kMostSinglePairs];
};

// Inlined, so that the slope is a local of which the compiler knows that no store changes it. A
// copy would do as well, but waits for every store of the last class: it reads what was just
// written in other pieces.
template <bool kHasVelocity, class Slope>
ALPHAMARGIN_INLINE double class_step_of(const Slope& slope, const DescentRule& rule,
                                        std::size_t count, float* row, float* velocity,
                                        const RowsAhead& ahead) {
  // Asked for to be written: lines that other cores have read as well are given up there meanwhile,
  // not when a store waits for it.
  const float* const soon_row = ahead.row;
  const float* const soon_velocity = ahead.velocity;
  const std::uint8_t* const soon_shadow = ahead.shadow;
  const Single16 rate = rule.rate;
  const Single16 momentum = rule.momentum;
  // Σ w² in the order of `dot`: sixteen partial sums.
  Double8 squares[2];
  std::size_t k = 0;
  for (; k + 16 <= count; k += 16) {
    if (soon_row != nullptr) __builtin_prefetch(soon_row + k, 1);
    if (kHasVelocity && soon_velocity != nullptr) __builtin_prefetch(soon_velocity + k, 1);
    static_assert(kChunk == 16);
    if (soon_shadow != nullptr) __builtin_prefetch(soon_shadow + kGroup * k, 1);
    Single16 change = slope(k, row);
    if constexpr (kHasVelocity) {
      change = momentum * Single16::load(velocity + k) + change;
      change.store(velocity + k);
    }
    (Single16::load(row + k) - rate * change).store(row + k);
    for (std::size_t half = 0; half < 2; ++half) {
      const Double8 after = Double8::load(row + k + 8 * half);
      squares[half] = plus_exact_product(squares[half], after, after);
    }
  }
  double sums[16];
  squares[0].store(sums);
  squares[1].store(sums + 8);
  for (std::size_t lane = 0; k < count; ++k, ++lane) {
    float change = slope.of_one(k, row[k]);
    if constexpr (kHasVelocity) {
      change = rule.momentum * velocity[k] + change;
      velocity[k] = change;
    }
    row[k] -= rule.rate * change;
    sums[lane] += static_cast<double>(row[k]) * row[k];
  }
  return sum_of_sixteen(sums);
}

template <class Slope>
ALPHAMARGIN_INLINE double class_step_with(const Slope& slope, const DescentRule& rule,
                                          std::size_t count, float* row, float* velocity,
                                          const RowsAhead& ahead) {
  return velocity == nullptr ? class_step_of<false>(slope, rule, count, row, velocity, ahead)
                             : class_step_of<true>(slope, rule, count, row, velocity, ahead);
}

double class_step(const ClassGradient& gradient, const DescentRule& rule, std::size_t count,
                  float* row, float* velocity, const RowsAhead& ahead) {
  const SlopeInSingle slope(gradient, rule.decay);
  if (slope.serves) return class_step_with(slope, rule, count, row, velocity, ahead);
  return class_step_with(SlopeInDouble(gradient, rule.decay), rule, count, row, velocity, ahead);
}
