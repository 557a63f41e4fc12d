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

void interleave_rows(const float* rows, std::size_t stride, const float* factors, std::size_t count,
                     std::size_t width, std::size_t depth, float* panel) {
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

void make_tangent(double projection, double inverse, const float* row, std::size_t count,
                  double* gradient) {
  for (std::size_t k = 0; k < count; ++k) {
    gradient[k] = (gradient[k] - projection * row[k] * inverse) * inverse;
  }
}

void descend(double rate, double decay, const double* gradient, std::size_t count, float* row) {
  for (std::size_t k = 0; k < count; ++k) {
    const double g = gradient[k] + decay * row[k];
    row[k] = static_cast<float>(row[k] - rate * g);
  }
}

void descend_with_momentum(double rate, double momentum, double decay, const double* gradient,
                           std::size_t count, float* row, float* velocity) {
  for (std::size_t k = 0; k < count; ++k) {
    const double g = gradient[k] + decay * row[k];
    const auto next = static_cast<float>(momentum * velocity[k] + g);
    velocity[k] = next;
    row[k] = static_cast<float>(row[k] - rate * next);
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
  for (std::size_t k = 0; k < count; ++k) sums[k] += factor * static_cast<double>(values[k]);
}
