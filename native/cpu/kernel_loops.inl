// The loops that need no intrinsics: plain C++ that the compiler vectorises for whatever flags the
// including file is compiled with. Included inside an anonymous namespace.

template <std::size_t kRows, std::size_t kColumns>
bool select_above(const float* tile, const float* bounds, std::uint32_t* masks) {
  bool any = false;
  for (std::size_t i = 0; i < kRows; ++i) {
    const float bound = bounds[i];
    std::uint32_t hits = 0;
    for (std::size_t j = 0; j < kColumns; ++j) {
      hits += static_cast<std::uint32_t>(tile[i * kColumns + j] > bound);
    }
    masks[i] = 0;
    if (hits == 0) continue;
    any = true;
    for (std::size_t j = 0; j < kColumns; ++j) {
      masks[i] |= static_cast<std::uint32_t>(tile[i * kColumns + j] > bound) << j;
    }
  }
  return any;
}

// `multiply` of the including file, over blocks of the depth.
template <std::size_t kTile, class Multiply>
inline void multiply_in_blocks(const Multiply& multiply, std::size_t rows, std::size_t columns,
                               std::size_t depth, const float* left, const float* right,
                               float* tile) {
  alignas(64) double sums[kTile];
  if (depth <= kDepthBlock) {
    multiply(depth, left, right, tile);
    return;
  }
  for (double& sum : sums) sum = 0;
  for (std::size_t begin = 0; begin < depth; begin += kDepthBlock) {
    multiply(depth - begin < kDepthBlock ? depth - begin : kDepthBlock, left + begin * rows,
             right + begin * columns, tile);
    for (std::size_t i = 0; i < kTile; ++i) sums[i] += static_cast<double>(tile[i]);
  }
  for (std::size_t i = 0; i < kTile; ++i) tile[i] = static_cast<float>(sums[i]);
}

void copy_columns(const float* rows, std::size_t stride, const float* factors, std::size_t count,
                  std::size_t width, std::size_t depth, float* panel) {
  for (std::size_t k = 0; k < depth; ++k) {
    const float* source = rows + k * stride;
    const float factor = factors == nullptr ? 1.0f : factors[k];
    for (std::size_t j = 0; j < count; ++j) panel[k * width + j] = source[j] * factor;
    for (std::size_t j = count; j < width; ++j) panel[k * width + j] = 0;
  }
}

[[maybe_unused]] void interleave_rows(const float* rows, std::size_t stride, const float* factors,
                                      std::size_t count, std::size_t width, std::size_t depth,
                                      float* panel) {
  // Blocks of 16 columns keep the written cache lines in L1 while every row passes over them.
  constexpr std::size_t kBlock = 16;
  for (std::size_t begin = 0; begin < depth; begin += kBlock) {
    const std::size_t end = begin + kBlock < depth ? begin + kBlock : depth;
    for (std::size_t i = 0; i < count; ++i) {
      const float* row = rows + i * stride;
      const float factor = factors[i];
      for (std::size_t k = begin; k < end; ++k) panel[k * width + i] = row[k] * factor;
    }
    for (std::size_t i = count; i < width; ++i) {
      for (std::size_t k = begin; k < end; ++k) panel[k * width + i] = 0;
    }
  }
}

void descend(double rate, double decay, const double* gradient, std::size_t count, float* row) {
  for (std::size_t k = 0; k < count; ++k) {
    const double g = gradient[k] + decay * row[k];
    row[k] = static_cast<float>(row[k] - rate * g);
  }
}

// Vectors of a fixed length that the compiler maps to what the instruction set has. They are handed
// on by reference: by value they would not have one calling convention.
typedef float Single8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double Double8 __attribute__((vector_size(64)));

inline void load_wide(const float* values, Double8& out) {
#ifdef __AVX512F__
  out =
      reinterpret_cast<Double8>(_mm512_cvtps_pd(_mm256_loadu_ps(values)));  // GCC makes it in four
#else
  out = __builtin_convertvector(*reinterpret_cast<const Single8*>(values), Double8);
#endif
}
inline void store_narrow(const Double8& values, float* out) {
  *reinterpret_cast<Single8*>(out) = __builtin_convertvector(values, Single8);
}

// ∂w of elements k … k + 7.
inline void gradient_of_eight(const ClassGradient& gradient, const Double8& row, std::size_t k,
                              Double8& out) {
  Double8 sum = {};
  if (gradient.initial != nullptr) load_wide(gradient.initial + k, sum);
  for (std::size_t i = 0; i < gradient.pairs; ++i) {
    Double8 embedding;
    load_wide(gradient.embeddings[i] + k, embedding);
    sum += gradient.coefficients[i] * embedding;
  }
  out = (sum - gradient.projection * row * gradient.inverse_norm) * gradient.inverse_norm;
}

inline double gradient_of_one(const ClassGradient& gradient, float row, std::size_t k) {
  double sum = gradient.initial != nullptr ? gradient.initial[k] : 0.0;
  for (std::size_t i = 0; i < gradient.pairs; ++i) {
    sum += gradient.coefficients[i] * gradient.embeddings[i][k];
  }
  return (sum - gradient.projection * row * gradient.inverse_norm) * gradient.inverse_norm;
}

void class_gradient(const ClassGradient& gradient, const float* row, std::size_t count,
                    double* out) {
  std::size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    Double8 values;
    Double8 result;
    load_wide(row + k, values);
    gradient_of_eight(gradient, values, k, result);
    __builtin_memcpy(out + k, &result, sizeof result);
  }
  for (; k < count; ++k) out[k] = gradient_of_one(gradient, row[k], k);
}

template <bool kHasVelocity>
double class_step_of(const ClassGradient& gradient, const DescentRule& rule, std::size_t count,
                     float* row, float* velocity) {
  // Σ w² in the order of `dot`: sixteen partial sums.
  Double8 squares[2] = {};
  const auto step = [&](std::size_t k, Double8& square) __attribute__((always_inline)) {
    Double8 values;
    Double8 slope;
    load_wide(row + k, values);
    gradient_of_eight(gradient, values, k, slope);
    slope += rule.decay * values;
    if constexpr (kHasVelocity) {
      Double8 before;
      load_wide(velocity + k, before);
      store_narrow(rule.momentum * before + slope, velocity + k);
      load_wide(velocity + k, slope);
    }
    store_narrow(values - rule.rate * slope, row + k);
    load_wide(row + k, values);
    square += values * values;
  };
  std::size_t k = 0;
  for (; k + 16 <= count; k += 16) {
    step(k, squares[0]);
    step(k + 8, squares[1]);
  }
  double sums[16];
  __builtin_memcpy(sums, squares, sizeof sums);
  for (std::size_t lane = 0; k < count; ++k, ++lane) {
    double slope = gradient_of_one(gradient, row[k], k) + rule.decay * row[k];
    if constexpr (kHasVelocity) {
      velocity[k] = static_cast<float>(rule.momentum * velocity[k] + slope);
      slope = velocity[k];
    }
    row[k] = static_cast<float>(row[k] - rule.rate * slope);
    sums[lane] += static_cast<double>(row[k]) * row[k];
  }
  for (std::size_t width = 8; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

double class_step(const ClassGradient& gradient, const DescentRule& rule, std::size_t count,
                  float* row, float* velocity) {
  return velocity == nullptr ? class_step_of<false>(gradient, rule, count, row, velocity)
                             : class_step_of<true>(gradient, rule, count, row, velocity);
}

// A candidate below the bound is overwritten by the next: no branch to mispredict.
[[maybe_unused]] std::size_t keep_above(float bound, std::size_t count, std::int32_t* identities,
                                        float* cosines) {
  std::size_t kept = 0;
  for (std::size_t j = 0; j < count; ++j) {
    const float cosine = cosines[j];
    identities[kept] = identities[j];
    cosines[kept] = cosine;
    kept += cosine > bound ? 1 : 0;
  }
  return kept;
}

float largest(const float* values, std::size_t count) {
  constexpr std::size_t kLanes = 16;
  float best[kLanes];
  for (float& value : best) value = values[0];
  std::size_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      best[lane] = values[j + lane] > best[lane] ? values[j + lane] : best[lane];
    }
  }
  for (; j < count; ++j) best[0] = values[j] > best[0] ? values[j] : best[0];
  for (const float value : best) best[0] = value > best[0] ? value : best[0];
  return best[0];
}

// exp in float64 for exponents up to 700, within 1.5 units of the last digit, the same bits in
// every kernel set; 0 below −708. x = n ln 2 + r, |r| ≤ ln 2/2; e^r by its Taylor polynomial of
// degree 13.
inline void exp_of_eight(Double8& x) {
  typedef std::int64_t Long8 __attribute__((vector_size(64)));
  const Long8 vanishes = !(x > -708.0);
  x = vanishes ? Double8{} : x;
  // Adding 1.5·2^52 rounds to a whole number and leaves it in the low bits.
  const double kRound = 0x1.8p52;
  const Double8 shifted = x * 1.4426950408889634 + kRound;
  const Double8 whole = shifted - kRound;
  const Double8 r = (x - whole * 0x1.62e42fefa3800p-1) - whole * 0x1.ef35793c76730p-45;
  Double8 sum = r * (1.0 / 6227020800) + 1.0 / 479001600;
  sum = sum * r + 1.0 / 39916800;
  sum = sum * r + 1.0 / 3628800;
  sum = sum * r + 1.0 / 362880;
  sum = sum * r + 1.0 / 40320;
  sum = sum * r + 1.0 / 5040;
  sum = sum * r + 1.0 / 720;
  sum = sum * r + 1.0 / 120;
  sum = sum * r + 1.0 / 24;
  sum = sum * r + 1.0 / 6;
  sum = sum * r + 0.5;
  sum = (sum * r) * r + r + 1.0;
  const Long8 power = (reinterpret_cast<Long8>(shifted) + 1023) << 52;
  sum *= reinterpret_cast<Double8>(power);
  x = vanishes ? Double8{} : sum;
}

// Eight cosines from `values`, of which `count` exist; the others are −∞.
inline void load_cosines(const float* values, std::size_t count, Double8& out) {
  if (count >= 8) {
    load_wide(values, out);
    return;
  }
  float padded[8];
  for (std::size_t i = 0; i < 8; ++i) padded[i] = i < count ? values[i] : -__builtin_inff();
  load_wide(padded, out);
}

inline double sum_of_eight(const Double8& values) {
  double sum = 0;
  for (int lane = 0; lane < 8; ++lane) sum += values[lane];
  return sum;
}

double exp_sum(const SoftmaxTerm& term, const float* cosines, std::size_t count) {
  Double8 total = {};
  for (std::size_t j = 0; j < count; j += 8) {
    Double8 values;
    load_cosines(cosines + j, count - j, values);
    values = term.beta * (values - term.reference) - term.shift;
    exp_of_eight(values);
    total += values;
  }
  return sum_of_eight(total);
}

double exp_coefficients(const SoftmaxTerm& term, double factor, float* cosines, float* products,
                        std::size_t count) {
  Double8 total = {};
  for (std::size_t j = 0; j < count; j += 8) {
    Double8 values;
    load_cosines(cosines + j, count - j, values);
    Double8 coefficients = term.beta * (values - term.reference) - term.shift;
    exp_of_eight(coefficients);
    coefficients *= factor;
    // −∞ marks what takes no part.
    values = values > -2.0 ? values : Double8{};
    values *= coefficients;
    total += values;
    float narrow[16];
    store_narrow(coefficients, narrow);
    store_narrow(values, narrow + 8);
    const std::size_t present = count - j < 8 ? count - j : 8;
    __builtin_memcpy(cosines + j, narrow, present * sizeof(float));
    __builtin_memcpy(products + j, narrow + 8, present * sizeof(float));
  }
  return sum_of_eight(total);
}

template <int kExponent>
ThresholdSums power_sums(double beta, double threshold, const float* cosines, std::size_t count) {
  Double8 totals = {};
  Double8 slopes = {};
  const auto add = [&](const float* eight) __attribute__((always_inline)) {
    Double8 d;
    load_wide(eight, d);
    d = beta * (d - threshold);
    // d^{k−1} of what is positive, 0 of the rest (for k = 1 too).
    Double8 reduced = d > 0 ? Double8{1, 1, 1, 1, 1, 1, 1, 1} : Double8{};
    for (int i = 1; i < kExponent; ++i) reduced *= d;
    slopes += reduced;
    totals += reduced * d;
  };
  std::size_t j = 0;
  for (; j + 8 <= count; j += 8) add(cosines + j);
  if (j < count) {
    // Filled up with what contributes nothing.
    float rest[8];
    for (float& value : rest) value = static_cast<float>(threshold) - 1;
    for (std::size_t i = 0; j + i < count; ++i) rest[i] = cosines[j + i];
    add(rest);
  }
  return {sum_of_eight(totals), sum_of_eight(slopes)};
}

ThresholdSums sums_above(int exponent, double beta, double threshold, const float* cosines,
                         std::size_t count) {
  switch (exponent) {
    case 1:
      return power_sums<1>(beta, threshold, cosines, count);
    case 2:
      return power_sums<2>(beta, threshold, cosines, count);
    case 3:
      return power_sums<3>(beta, threshold, cosines, count);
    default:
      return power_sums<4>(beta, threshold, cosines, count);
  }
}

// One chunk of at most 8 elements, rounded and filled up.
inline void quantize_chunk(const float* values, float factor, std::size_t count,
                           std::int16_t* out) {
  for (std::size_t k = 0; k < kChunk; ++k) {
    out[k] = k < count ? static_cast<std::int16_t>(__builtin_lrintf(values[k] * factor))
                       : std::int16_t{0};
  }
}

// Appends the lanes of a group's sums that are set in `mask`: bit class · rows + row.
inline std::size_t append_hits(std::uint32_t mask, std::uint32_t rows, std::uint32_t first_class,
                               std::uint32_t first_row, const std::int32_t* sums, FilterHit* hits) {
  std::size_t count = 0;
  for (; mask != 0; mask &= mask - 1) {
    const auto lane = static_cast<std::uint32_t>(__builtin_ctz(mask));
    hits[count++] = {
        (first_class + lane / rows) * kRowsPerPlace + first_row + lane % rows,
        static_cast<float>(sums[lane]) * static_cast<float>(1 / (kFixedScale * kFixedScale))};
  }
  return count;
}

[[maybe_unused]] double dot_in_double(const float* a, const float* b, std::size_t count) {
  constexpr std::size_t kLanes = 16;
  double sums[kLanes] = {};
  std::size_t k = 0;
  for (; k + kLanes <= count; k += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += static_cast<double>(a[k + lane]) * static_cast<double>(b[k + lane]);
    }
  }
  for (std::size_t lane = 0; k < count; ++k, ++lane) {
    sums[lane] += static_cast<double>(a[k]) * static_cast<double>(b[k]);
  }
  for (std::size_t width = kLanes / 2; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}

void accumulate_in_double(double factor, const float* values, std::size_t count, double* sums) {
  std::size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    Double8 sum;
    Double8 more;
    __builtin_memcpy(&sum, sums + k, sizeof sum);
    load_wide(values + k, more);
    sum += factor * more;
    __builtin_memcpy(sums + k, &sum, sizeof sum);
  }
  for (; k < count; ++k) sums[k] += factor * static_cast<double>(values[k]);
}
