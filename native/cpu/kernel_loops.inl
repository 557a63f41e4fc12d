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

// `multiply` of the including file, over blocks of the depth; rows of the result `stride` apart.
template <std::size_t kTileRows, std::size_t kTileColumns, class Multiply>
inline void multiply_in_blocks(const Multiply& multiply, std::size_t depth, const float* left,
                               const float* right, float* out, std::size_t stride) {
  constexpr std::size_t kTile = kTileRows * kTileColumns;
  alignas(64) float tile[kTile];
  if (depth <= kDepthBlock) {
    multiply(depth, left, right, tile);
    for (std::size_t i = 0; i < kTileRows; ++i) {
      for (std::size_t j = 0; j < kTileColumns; ++j) {
        out[i * stride + j] = tile[i * kTileColumns + j];
      }
    }
    return;
  }
  alignas(64) double sums[kTile];
  for (double& sum : sums) sum = 0;
  std::size_t begin = 0;
  for (; begin + kDepthBlock < depth; begin += kDepthBlock) {
    multiply(kDepthBlock, left + begin * kTileRows, right + begin * kTileColumns, tile);
    for (std::size_t i = 0; i < kTile; ++i) sums[i] += static_cast<double>(tile[i]);
  }
  multiply(depth - begin, left + begin * kTileRows, right + begin * kTileColumns, tile);
  for (std::size_t i = 0; i < kTileRows; ++i) {
    for (std::size_t j = 0; j < kTileColumns; ++j) {
      const std::size_t place = i * kTileColumns + j;
      out[i * stride + j] = static_cast<float>(sums[place] + static_cast<double>(tile[place]));
    }
  }
}

void copy_columns(const float* rows, std::size_t stride, const float* factors, std::size_t count,
                  std::size_t width, std::size_t depth, float* panel) {
  constexpr std::size_t kAhead = 16;
  constexpr std::size_t kWidth = kLargestTileColumns;
  const bool is_whole = count == kWidth && width == kWidth;
  for (std::size_t k = 0; k < depth; ++k) {
    const float* source = rows + k * stride;
    const float factor = factors == nullptr ? 1.0f : factors[k];
    if (is_whole) {
      // Two lines of a row that lie far from those of the next: nothing else asks for them early.
      if (k + kAhead < depth) {
        __builtin_prefetch(source + kAhead * stride);
        __builtin_prefetch(source + kAhead * stride + 16);
      }
      for (std::size_t j = 0; j < kWidth; ++j) panel[k * kWidth + j] = source[j] * factor;
      continue;
    }
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

[[maybe_unused]] std::size_t places_of(const GroupMask* masks, std::size_t groups,
                                       std::uint32_t* places) {
  std::size_t count = 0;
  for (std::size_t group = 0; group < groups; ++group) {
    for (GroupMask mask = masks[group]; mask != 0; mask &= mask - 1) {
      const auto bit = static_cast<std::uint32_t>(__builtin_ctz(mask));
      const std::uint32_t identity = static_cast<std::uint32_t>(group * kGroup) + bit / 4 % 4;
      places[count++] = identity * kRowsPerPlace + bit / 16 * 4 + bit % 4;
    }
  }
  return count;
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

[[maybe_unused]] float largest(const float* values, std::size_t count) {
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
// every kernel set; 0 from −708 down. x = n ln 2 + r, |r| ≤ ln 2/2; e^r by its Taylor polynomial of
// degree 13.
ALPHAMARGIN_INLINE Double8 exp_of_eight(const Double8& exponent) {
  constexpr double kSmallest = -708;
  const Double8 x = where_above(exponent, kSmallest, exponent, 0.0);
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
  return where_above(exponent, kSmallest, sum * power_of_two(shifted), 0.0);
}

// Eight cosines from `values`, of which `count` exist; the others are −∞.
inline Double8 load_cosines(const float* values, std::size_t count) {
  if (count >= 8) return Double8::load(values);
  float padded[8];
  for (std::size_t i = 0; i < 8; ++i) padded[i] = i < count ? values[i] : -__builtin_inff();
  return Double8::load(padded);
}

double exp_sum(const SoftmaxTerm& term, const float* cosines, std::size_t count) {
  Double8 total;
  for (std::size_t j = 0; j < count; j += 8) {
    const Double8 values = load_cosines(cosines + j, count - j);
    total = total + exp_of_eight(term.beta * (values - term.reference) - term.shift);
  }
  return total.sum();
}

double exp_coefficients(const SoftmaxTerm& term, double factor, float* cosines, float* products,
                        std::size_t count) {
  const Double8 beta = term.beta;
  const Double8 reference = term.reference;
  const Double8 shift = term.shift;
  const Double8 scale = factor;
  Double8 total;
  for (std::size_t j = 0; j < count; j += 8) {
    const Double8 values = load_cosines(cosines + j, count - j);
    const Double8 coefficients = scale * exp_of_eight(beta * (values - reference) - shift);
    // −∞ marks what takes no part.
    const Double8 parts = coefficients * where_above(values, -2, values, 0.0);
    total = total + parts;
    if (count - j >= 8) {
      coefficients.store(cosines + j);
      parts.store(products + j);
    } else {
      float narrow[16];
      coefficients.store(narrow);
      parts.store(narrow + 8);
      __builtin_memcpy(cosines + j, narrow, (count - j) * sizeof(float));
      __builtin_memcpy(products + j, narrow + 8, (count - j) * sizeof(float));
    }
  }
  return total.sum();
}

template <int kExponent>
ThresholdSums power_sums(double beta, double threshold, const float* cosines, std::size_t count) {
  Double8 totals;
  Double8 slopes;
  for (std::size_t j = 0; j < count; j += 8) {
    const Double8 d = beta * (load_cosines(cosines + j, count - j) - threshold);
    // d^{k−1} and d^k of what is positive, 0 of the rest (which may be −∞).
    const Double8 positive = where_above(d, 0, d, 0.0);
    Double8 reduced = where_above(d, 0, 1.0, 0.0);
    for (int i = 1; i < kExponent; ++i) reduced = reduced * positive;
    slopes = slopes + reduced;
    totals = totals + reduced * positive;
  }
  return {totals.sum(), slopes.sum()};
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

float largest_size(const float* values, std::size_t count) {
  // Without their sign, numbers are in the order of their bits.
  typedef std::int32_t BitsVector __attribute__((vector_size(sizeof(WholeVector))));
  BitsVector best[kVectorParts] = {};
  std::size_t k = 0;
  for (; k + 16 <= count; k += 16) {
    const Single16 next = Single16::load(values + k);
    for_parts([&](int i) __attribute__((always_inline)) {
      const BitsVector bits = reinterpret_cast<BitsVector>(next.part[i]) & 0x7fffffff;
      best[i] = bits > best[i] ? bits : best[i];
    });
  }
  float sizes[16];
  __builtin_memcpy(sizes, best, sizeof sizes);
  for (; k < count; ++k) {
    const float size = __builtin_fabsf(values[k]);
    sizes[0] = size > sizes[0] ? size : sizes[0];
  }
  for (const float size : sizes) sizes[0] = size > sizes[0] ? size : sizes[0];
  return sizes[0];
}

float dot_single(const float* a, const float* b, std::size_t count) {
  Single16 low = 0.0f;
  Single16 high = 0.0f;
  std::size_t k = 0;
  for (; k + 32 <= count; k += 32) {
    low = fused(low, Single16::load(a + k), Single16::load(b + k));
    high = fused(high, Single16::load(a + k + 16), Single16::load(b + k + 16));
  }
  if (k + 16 <= count) {
    low = fused(low, Single16::load(a + k), Single16::load(b + k));
    k += 16;
  }
  if (k < count) {
    float rest[2][16] = {};
    __builtin_memcpy(rest[0], a + k, (count - k) * sizeof(float));
    __builtin_memcpy(rest[1], b + k, (count - k) * sizeof(float));
    low = fused(low, Single16::load(rest[0]), Single16::load(rest[1]));
  }
  return sum_of_lanes(low + high);
}

// One chunk of at most 16 elements, rounded and filled up.
inline void quantize_chunk(const float* values, float factor, std::size_t count, std::uint8_t zero,
                           std::uint8_t* out, Rounding& rounding) {
  for (std::size_t k = 0; k < kChunk; ++k) {
    const float scaled = k < count ? values[k] * factor : 0.0f;
    const auto whole = static_cast<std::int32_t>(__builtin_lrintf(scaled));
    const float rest = scaled - static_cast<float>(whole);
    rounding.squares += rest * rest;
    rounding.sum += whole;
    out[k] = static_cast<std::uint8_t>(whole + zero);
  }
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
  return sum_of_sixteen(sums);
}

double dot_wide(const double* a, const float* b, std::size_t count, const float* next) {
  Double8 low;
  Double8 high;
  std::size_t k = 0;
  for (; k + 16 <= count; k += 16) {
    __builtin_prefetch(next + k);
    low = plus_exact_product(low, Double8::load(a + k), Double8::load(b + k));
    high = plus_exact_product(high, Double8::load(a + k + 8), Double8::load(b + k + 8));
  }
  double sums[16];
  low.store(sums);
  high.store(sums + 8);
  for (std::size_t lane = 0; k < count; ++k, ++lane) {
    sums[lane] += a[k] * static_cast<double>(b[k]);
  }
  return sum_of_sixteen(sums);
}

// Eight times kSums neighbouring elements of the sums of accumulate_rows.
template <std::size_t kSums>
ALPHAMARGIN_INLINE void accumulate_columns(std::size_t rows_count, const double* factors,
                                           const float* const* rows, std::size_t column,
                                           double* sums) {
  Double8 parts[kSums];
  for (std::size_t j = 0; j < kSums; ++j) parts[j] = Double8::load(sums + column + 8 * j);
  for (std::size_t i = 0; i < rows_count; ++i) {
    const Double8 factor = factors[i];
    const float* row = rows[i] + column;
    for (std::size_t j = 0; j < kSums; ++j) {
      parts[j] = parts[j] + factor * Double8::load(row + 8 * j);
    }
  }
  for (std::size_t j = 0; j < kSums; ++j) parts[j].store(sums + column + 8 * j);
}

void accumulate_rows(std::size_t rows_count, const double* factors, const float* const* rows,
                     std::size_t count, double* sums) {
  std::size_t k = 0;
  // As many sums as hide the latency of an addition.
  for (; k + 32 <= count; k += 32) accumulate_columns<4>(rows_count, factors, rows, k, sums);
  for (; k + 8 <= count; k += 8) accumulate_columns<1>(rows_count, factors, rows, k, sums);
  for (std::size_t i = 0; i < rows_count; ++i) {
    for (std::size_t j = k; j < count; ++j) {
      sums[j] += factors[i] * static_cast<double>(rows[i][j]);
    }
  }
}

void accumulate_in_double(double factor, const float* values, std::size_t count, double* sums) {
  std::size_t k = 0;
  for (; k + 8 <= count; k += 8) {
    (Double8::load(sums + k) + factor * Double8::load(values + k)).store(sums + k);
  }
  for (; k < count; ++k) sums[k] += factor * static_cast<double>(values[k]);
}
