// Every kernel set this CPU runs, function by function: the same bits as the portable set where
// cpu/kernel_set.h promises so, what the definition says, or what float32 rounding allows.
//
// Takes no arguments. Prints a line for each set; exit code 1 when one differs, with the function,
// the size and the first difference.

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

constexpr std::size_t kDims[] = {1, 7, 8, 19, 111, 256, 512, 989};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// kDims and every size up to a few vectors.
std::vector<std::size_t> counts() {
  std::vector<std::size_t> all(kDims, kDims + std::size(kDims));
  for (std::size_t count = 1; count <= 40; ++count) all.push_back(count);
  return all;
}

std::string text(double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), "%.17g (%a)", value, value);
  return buffer;
}

std::string sized(const char* name, std::size_t value) {
  return std::string(name) + " " + std::to_string(value);
}

[[noreturn]] void differ(const std::string& where, std::size_t index, double got, double expected) {
  throw std::runtime_error(where + ": [" + std::to_string(index) + "] is " + text(got) +
                           ", expected " + text(expected));
}

template <class T>
void expect_bits(const std::string& where, const T* got, const T* expected, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (std::memcmp(got + i, expected + i, sizeof(T)) != 0) {
      differ(where, i, static_cast<double>(got[i]), static_cast<double>(expected[i]));
    }
  }
}

template <class T>
void expect_bits(const std::string& where, const std::vector<T>& got,
                 const std::vector<T>& expected) {
  expect_bits(where, got.data(), expected.data(), expected.size());
}

template <class T>
void expect_bits(const std::string& where, T got, T expected) {
  expect_bits(where, &got, &expected, 1);
}

// Numbers of [−1, 1), the same on every machine. Vectors have exactly the size that a function may
// read, for AddressSanitizer.
class Source {
 public:
  explicit Source(std::size_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

  std::size_t below(std::size_t limit) { return engine_() % limit; }
  float number() { return static_cast<float>(static_cast<std::int32_t>(engine_())) * 0x1p-31f; }

  // Of many magnitudes, so that the order of a float64 sum shows, with zeros of both signs,
  // denormals and ±1 among them.
  std::vector<float> values(std::size_t count) {
    constexpr float kSpecial[] = {0.0f, -0.0f, 1e-40f, -1e-45f, FLT_MIN, 1.0f, -1.0f};
    std::vector<float> made(count);
    for (float& value : made) {
      value = number();
      if (below(3) == 0) value = std::ldexp(value, -static_cast<int>(below(30)));
      if (below(6) == 0) value = kSpecial[below(std::size(kSpecial))];
    }
    return made;
  }
  // Of a coarse grid, so that many are equal, and −∞.
  std::vector<float> cosines(std::size_t count) {
    std::vector<float> made(count);
    for (float& value : made) {
      value = below(5) == 0 ? -kInfinity : std::nearbyint(number() * 64) / 64;
    }
    return made;
  }
  std::vector<double> doubles(std::size_t count) {
    std::vector<double> made(count);
    for (double& value : made) value = number() + number() * 0x1p-30;
    return made;
  }

 private:
  std::mt19937 engine_;
};

// ---- register tiles

using Multiply = decltype(KernelSet::multiply);

// A float32 sum of n products, fused or not, is off by at most γ_n Σ|ab|, γ_n = nu/(1 − nu), and by
// half a denormal for each product. Where blocks of kDepthBlock are summed in float64, n is the
// size of a block; then come the float64 sum and one rounding to float32.
double tile_bound(std::size_t depth, bool blocks, double absolute, double exact) {
  constexpr double kUnit = 0x1p-24;
  const auto n = static_cast<double>(blocks ? std::min(depth, kDepthBlock) : depth);
  const auto all = static_cast<double>(depth);
  double bound = n * kUnit / (1 - n * kUnit) * absolute;
  // Our own float64 sum, and that of the blocks.
  bound += 2 * all * 0x1p-53 * absolute + all * 0x1p-149;
  if (blocks && depth > kDepthBlock) bound += kUnit * (std::fabs(exact) + bound);
  return bound;
}

void check_tiles(const KernelSet& set, Multiply multiply, bool blocks) {
  for (const std::size_t depth : kDims) {
    Source source(depth);
    const std::string where = sized("depth", depth);
    const std::vector<float> left = source.values(depth * set.tile_rows);
    const std::vector<float> right = source.values(depth * set.tile_columns);
    std::vector<float> tile(set.tile_rows * set.tile_columns, NAN);
    multiply(depth, left.data(), right.data(), tile.data());
    for (std::size_t i = 0; i < set.tile_rows; ++i) {
      for (std::size_t j = 0; j < set.tile_columns; ++j) {
        double exact = 0;
        double absolute = 0;
        for (std::size_t k = 0; k < depth; ++k) {
          const double product = static_cast<double>(left[k * set.tile_rows + i]) *
                                 static_cast<double>(right[k * set.tile_columns + j]);
          exact += product;
          absolute += std::fabs(product);
        }
        const std::size_t place = i * set.tile_columns + j;
        if (!(std::fabs(tile[place] - exact) <= tile_bound(depth, blocks, absolute, exact))) {
          differ(where, place, tile[place], exact);
        }
      }
    }
    // The same row and column everywhere: no element may depend on its place.
    std::vector<float> rows(left.size());
    std::vector<float> columns(right.size());
    for (std::size_t k = 0; k < depth; ++k) {
      std::fill_n(rows.data() + k * set.tile_rows, set.tile_rows, left[k * set.tile_rows]);
      std::fill_n(columns.data() + k * set.tile_columns, set.tile_columns,
                  right[k * set.tile_columns]);
    }
    multiply(depth, rows.data(), columns.data(), tile.data());
    expect_bits(where + ", one row and one column", tile, std::vector<float>(tile.size(), tile[0]));
  }
}

void test_multiply(const KernelSet& set) { check_tiles(set, set.multiply, false); }

void test_multiply_long(const KernelSet& set) { check_tiles(set, set.multiply_long, true); }

void test_select(const KernelSet& set) {
  for (std::size_t round = 0; round < 50; ++round) {
    Source source(round);
    std::vector<float> tile = source.cosines(set.tile_rows * set.tile_columns);
    tile[source.below(tile.size())] = NAN;
    tile[source.below(tile.size())] = -0.0f;
    std::vector<float> bounds(set.tile_rows);
    for (float& bound : bounds) bound = tile[source.below(tile.size())];
    // In every fifth round no element is above.
    if (round % 5 == 0) std::fill(bounds.begin(), bounds.end(), kInfinity);
    std::vector<std::uint32_t> expected(set.tile_rows);
    bool any = false;
    for (std::size_t i = 0; i < set.tile_rows; ++i) {
      for (std::size_t j = 0; j < set.tile_columns; ++j) {
        const bool above = tile[i * set.tile_columns + j] > bounds[i];
        expected[i] |= static_cast<std::uint32_t>(above) << j;
        any = any || above;
      }
    }
    std::vector<std::uint32_t> masks(set.tile_rows, ~0u);
    const bool returned = set.select(tile.data(), bounds.data(), masks.data());
    expect_bits(sized("round", round) + ", masks", masks, expected);
    expect_bits(sized("round", round) + ", whether any is set", returned, any);
  }
}

// ---- panels

void test_interleave(const KernelSet& set) {
  for (const std::size_t depth : kDims) {
    for (const std::size_t width :
         {set.tile_rows, set.tile_columns, std::size_t{4}, std::size_t{16}, kLargestTileColumns}) {
      for (const std::size_t count : {std::size_t{1}, width / 2, width - 1, width}) {
        Source source(depth + width + count);
        const std::size_t stride = depth + 3;
        const std::vector<float> rows = source.values((count - 1) * stride + depth);
        const std::vector<float> factors = source.values(count);
        std::vector<float> got(width * depth, NAN);
        std::vector<float> expected(width * depth, NAN);
        set.interleave(rows.data(), stride, factors.data(), count, width, depth, got.data());
        portable_kernel_set().interleave(rows.data(), stride, factors.data(), count, width, depth,
                                         expected.data());
        expect_bits(sized("depth", depth) + sized(", width", width) + sized(", count", count), got,
                    expected);
      }
    }
  }
}

void test_copy_columns(const KernelSet& set) {
  for (const std::size_t depth : kDims) {
    for (const std::size_t width : {set.tile_rows, set.tile_columns}) {
      for (const std::size_t count : {std::size_t{1}, width - 1, width}) {
        for (const bool has_factors : {false, true}) {
          Source source(depth + width + count);
          const std::size_t stride = count + 2;
          const std::vector<float> rows = source.values((depth - 1) * stride + count);
          const std::vector<float> factors = source.values(depth);
          const float* given = has_factors ? factors.data() : nullptr;
          std::vector<float> got(width * depth, NAN);
          std::vector<float> expected(width * depth, NAN);
          set.copy_columns(rows.data(), stride, given, count, width, depth, got.data());
          portable_kernel_set().copy_columns(rows.data(), stride, given, count, width, depth,
                                             expected.data());
          expect_bits(sized("depth", depth) + sized(", width", width) + sized(", count", count) +
                          (has_factors ? ", factors" : ""),
                      got, expected);
        }
      }
    }
  }
}

// ---- sums in float64

void test_dot(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    Source source(count);
    const std::vector<float> a = source.values(count);
    const std::vector<float> b = source.values(count);
    expect_bits(sized("count", count), set.dot(a.data(), b.data(), count),
                portable_kernel_set().dot(a.data(), b.data(), count));
  }
}

void test_accumulate(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (const double factor : {0.3, -1e-30, 0.0}) {
      Source source(count);
      const std::vector<float> values = source.values(count);
      std::vector<double> got = source.doubles(count);
      std::vector<double> expected = got;
      set.accumulate(factor, values.data(), count, got.data());
      portable_kernel_set().accumulate(factor, values.data(), count, expected.data());
      expect_bits(sized("count", count), got, expected);
    }
  }
}

// ---- fixed point

void test_quantize(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (const std::size_t stride : {kChunk, kGroup * kChunk, kFilterRows * kChunk}) {
      for (const bool ties : {false, true}) {
        Source source(count);
        std::vector<float> values = source.values(count);
        const float factor = ties ? 1.0f : static_cast<float>(kFixedScale);
        if (ties) {
          for (float& value : values) value = std::floor(value * 32000) + 0.5f;
        }
        // What lies between the chunks must stay.
        std::vector<std::int16_t> got((count + kChunk - 1) / kChunk * stride - stride + kChunk, 77);
        std::vector<std::int16_t> expected = got;
        set.quantize(values.data(), factor, count, stride, got.data());
        portable_kernel_set().quantize(values.data(), factor, count, stride, expected.data());
        const std::string where =
            sized("count", count) + sized(", stride", stride) + (ties ? ", ties" : "");
        expect_bits(where, got, expected);
        for (std::size_t k = 0; k < count; ++k) {
          const float whole = std::nearbyint(values[k] * factor);
          const float rounded = got[k / kChunk * stride + k % kChunk];
          if (rounded != whole) differ(where, k, rounded, whole);
        }
      }
    }
  }
}

struct alignas(64) CacheLine {
  std::int16_t elements[kGroup * kChunk];
};

struct FilterCase {
  std::size_t dim;
  std::size_t rows;
  std::size_t groups;
  bool wraps;  // partial sums leave int32, totals do not
};

// Unit vectors, or rows whose halves cancel: 32767² summed up, then down again.
std::vector<std::int16_t> fixed_vector(Source& source, const FilterCase& shape, bool prototype) {
  const std::size_t depth = rounded_up(shape.dim, kChunk);
  std::vector<std::int16_t> fixed(depth);
  if (shape.wraps) {
    for (std::size_t k = 0; k < depth; ++k) {
      const bool down = prototype && k >= depth / 2;
      const auto whole = static_cast<int>(32767 - source.below(3));
      fixed[k] = static_cast<std::int16_t>(down ? -whole : whole);
    }
    return fixed;
  }
  const std::vector<float> values = source.values(shape.dim);
  double square = 0;
  for (const float value : values) square += static_cast<double>(value) * value;
  const double factor = square > 0 ? kFixedScale / std::sqrt(square) : 0;
  for (std::size_t k = 0; k < shape.dim; ++k) {
    fixed[k] = static_cast<std::int16_t>(std::nearbyint(values[k] * factor));
  }
  return fixed;
}

void check_filter(const KernelSet& set, const FilterCase& shape, std::size_t round) {
  Source source(shape.dim + shape.rows + shape.groups + round);
  const std::size_t chunks = rounded_up(shape.dim, kChunk) / kChunk;
  const std::size_t classes = shape.groups * kGroup;
  std::vector<CacheLine> lines(shape.groups * chunks);
  std::vector<CacheLine> panel((chunks * shape.rows + kGroup - 1) / kGroup);
  std::vector<std::vector<std::int16_t>> prototypes;
  for (std::size_t j = 0; j < classes; ++j) {
    prototypes.push_back(fixed_vector(source, shape, true));
    for (std::size_t k = 0; k < prototypes[j].size(); ++k) {
      lines[j / kGroup * chunks + k / kChunk].elements[j % kGroup * kChunk + k % kChunk] =
          prototypes[j][k];
    }
  }
  std::vector<std::int32_t> bounds(shape.rows);
  std::vector<std::vector<FilterHit>> expected(shape.rows);
  for (std::size_t row = 0; row < shape.rows; ++row) {
    const std::vector<std::int16_t> embedding = fixed_vector(source, shape, false);
    std::vector<std::int64_t> totals(classes);
    for (std::size_t k = 0; k < embedding.size(); ++k) {
      const std::size_t place = (k / kChunk * shape.rows + row) * kChunk + k % kChunk;
      panel[place / (kGroup * kChunk)].elements[place % (kGroup * kChunk)] = embedding[k];
      for (std::size_t j = 0; j < classes; ++j) totals[j] += embedding[k] * prototypes[j][k];
    }
    // At, below and above the total of one class; none; all.
    const std::int64_t tie = totals[source.below(classes)];
    constexpr std::int64_t kLargest = 0x7fffffff;
    const std::int64_t choices[] = {tie, tie - 1, tie + 1, kLargest, -kLargest};
    const std::int64_t bound = choices[(row + round) % std::size(choices)];
    bounds[row] = static_cast<std::int32_t>(bound);
    for (std::size_t j = 0; j < classes; ++j) {
      if (std::abs(totals[j]) > kLargest) throw std::logic_error("a total wraps");
      if (totals[j] <= bound) continue;
      expected[row].push_back(
          {static_cast<std::uint32_t>(j * kRowsPerPlace + row),
           static_cast<float>(totals[j]) * static_cast<float>(1 / (kFixedScale * kFixedScale))});
    }
  }
  FilterBlock block{};
  block.chunks = chunks;
  block.rows = shape.rows;
  block.panel = panel[0].elements;
  block.bounds = bounds.data();
  block.groups = lines[0].elements;
  block.group_count = shape.groups;
  std::vector<FilterHit> hits(shape.rows * classes);
  hits.resize(set.filter(block, hits.data()));

  // Only the order within a row is promised.
  std::vector<std::vector<FilterHit>> got(shape.rows);
  for (const FilterHit& hit : hits) got.at(hit.place % kRowsPerPlace).push_back(hit);
  for (std::size_t row = 0; row < shape.rows; ++row) {
    const std::string where = sized("dim", shape.dim) + sized(", rows", shape.rows) +
                              sized(", groups", shape.groups) + (shape.wraps ? ", wrapping" : "") +
                              sized(", row", row);
    const std::size_t both = std::min(got[row].size(), expected[row].size());
    for (std::size_t i = 0; i < both; ++i) {
      expect_bits(where + sized(", place of hit", i), got[row][i].place, expected[row][i].place);
      expect_bits(where + sized(", cosine of hit", i), got[row][i].cosine, expected[row][i].cosine);
    }
    expect_bits(where + ", number of hits", got[row].size(), expected[row].size());
  }
}

void test_filter(const KernelSet& set) {
  for (const std::size_t dim : kDims) {
    for (const std::size_t rows : {kFilterRowsShort, kFilterRows}) {
      for (const std::size_t steps : {1, 3}) {
        for (const bool wraps : {false, true}) {
          for (std::size_t round = 0; round < 5; ++round) {
            check_filter(set, {dim, rows, steps * kGroupsPerStep, wraps}, round);
          }
        }
      }
    }
  }
}

// ---- candidates

constexpr SoftmaxTerm kTerms[] = {{32, 0.9, 0.1}, {1, 0, 0}, {64, -1, 130}, {700, 1, 0.5}};

void test_exp_sum(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (const SoftmaxTerm& term : kTerms) {
      const std::vector<float> cosines = Source(count).cosines(count);
      expect_bits(sized("count", count) + sized(", beta", static_cast<std::size_t>(term.beta)),
                  set.exp_sum(term, cosines.data(), count),
                  portable_kernel_set().exp_sum(term, cosines.data(), count));
    }
  }
}

// One element with the cosine 0: the exponent is −shift.
double exponential(const KernelSet& set, double exponent) {
  const float zero = 0;
  return set.exp_sum({1, 0, -exponent}, &zero, 1);
}

void check_exponential(const KernelSet& set, double exponent) {
  const double got = exponential(set, exponent);
  const long double exact = std::exp(static_cast<long double>(exponent));
  const int last_digit = std::ilogb(static_cast<double>(exact)) - 52;
  const long double error = std::fabs(static_cast<long double>(got) - exact);
  if (!(error <= std::ldexp(1.5L, last_digit))) {
    differ("exponent " + text(exponent) + ", 1.5 units of the last digit", 0, got,
           static_cast<double>(exact));
  }
}

void test_exponentials(const KernelSet& set) {
  Source source(0);
  for (int step = 0; step < 708 * 16; ++step) {
    check_exponential(set, -step / 16.0);
    check_exponential(set, -(step + 0.5 + 0.5 * source.number()) / 16.0);
  }
  // Around the odd multiples of ln 2/2, where the reduced argument is largest.
  for (int n = 0; n < 1021; ++n) {
    const double middle = -(n + 0.5) * 0.6931471805599453;
    if (middle <= -708) break;
    for (const double exponent : {middle, std::nextafter(middle, 0), std::nextafter(middle, -1e9)})
      check_exponential(set, exponent);
  }
  for (double tiny = 0x1p-1; tiny > 0; tiny /= 2) {
    check_exponential(set, tiny);
    check_exponential(set, -tiny);
  }
  check_exponential(set, std::nextafter(-708.0, 0.0));
  for (const double exponent : {-708.0, -709.0, -1e4, -1e300, -HUGE_VAL}) {
    expect_bits("exponent " + text(exponent), exponential(set, exponent), 0.0);
  }
}

void test_exp_coefficients(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (const SoftmaxTerm& term : kTerms) {
      const std::string where =
          sized("count", count) + sized(", beta", static_cast<std::size_t>(term.beta));
      std::vector<float> got = Source(count).cosines(count);
      std::vector<float> expected = got;
      std::vector<float> got_products(count, NAN);
      std::vector<float> expected_products(count, NAN);
      const double got_sum =
          set.exp_coefficients(term, 0.7, got.data(), got_products.data(), count);
      const double expected_sum = portable_kernel_set().exp_coefficients(
          term, 0.7, expected.data(), expected_products.data(), count);
      expect_bits(where + ", coefficients", got, expected);
      expect_bits(where + ", products", got_products, expected_products);
      expect_bits(where + ", sum", got_sum, expected_sum);
    }
  }
}

void test_keep_above(const KernelSet& set) {
  std::vector<std::size_t> sizes = counts();
  sizes.push_back(0);
  for (const std::size_t count : sizes) {
    for (const float bound : {0.0f, -0.0f, 0.25f, -kInfinity, kInfinity, -2.0f}) {
      std::vector<float> cosines = Source(count).cosines(count);
      std::vector<std::int32_t> identities(count);
      std::vector<float> expected;
      std::vector<std::int32_t> expected_identities;
      for (std::size_t j = 0; j < count; ++j) {
        identities[j] = static_cast<std::int32_t>(3 * j + 1);
        if (!(cosines[j] > bound)) continue;
        expected.push_back(cosines[j]);
        expected_identities.push_back(identities[j]);
      }
      const std::string where = sized("count", count) + ", bound " + text(bound);
      const std::size_t kept = set.keep_above(bound, count, identities.data(), cosines.data());
      expect_bits(where + ", number", kept, expected.size());
      expect_bits(where + ", cosines", cosines, expected);
      expect_bits(where + ", identities", identities, expected_identities);
    }
  }
}

void test_largest(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    Source source(count);
    // The maximum at every place in turn, then zeros of both signs and nothing but −∞.
    const std::vector<float> cosines = source.cosines(count);
    for (std::size_t place = 0; place < count; place += 1 + count / 64) {
      std::vector<float> values = cosines;
      values[place] = 1.5f;
      expect_bits(sized("count", count) + sized(", place", place),
                  set.largest(values.data(), count), 1.5f);
    }
    std::vector<float> zeros(count);
    for (float& zero : zeros) zero = source.below(2) == 0 ? 0.0f : -0.0f;
    for (const auto& values : {cosines, zeros, std::vector<float>(count, -kInfinity)}) {
      expect_bits(sized("count", count), set.largest(values.data(), count),
                  portable_kernel_set().largest(values.data(), count));
    }
  }
}

void test_threshold_sums(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (int exponent = 1; exponent <= 4; ++exponent) {
      for (const double threshold : {-1.5, 0.0, 0.25, 0.3, 2.0}) {
        const std::vector<float> cosines = Source(count).cosines(count);
        const ThresholdSums got =
            set.threshold_sums(exponent, 8.1, threshold, cosines.data(), count);
        const ThresholdSums expected =
            portable_kernel_set().threshold_sums(exponent, 8.1, threshold, cosines.data(), count);
        const std::string where =
            sized("count", count) + sized(", k", static_cast<std::size_t>(exponent));
        expect_bits(where + ", total", got.total, expected.total);
        expect_bits(where + ", slope", got.slope, expected.slope);
      }
    }
  }
}

// ---- prototypes

// Calls body(where, gradient, row, velocity) for gradients with and without `initial`, of 0, 1 and
// 5 pairs.
template <class Body>
void for_gradients(const Body& body) {
  for (const std::size_t count : counts()) {
    for (const std::size_t pairs : {0, 1, 5}) {
      for (const bool has_initial : {false, true}) {
        Source source(count + pairs);
        std::vector<std::vector<float>> embeddings;
        std::vector<const float*> pointers;
        for (std::size_t i = 0; i < pairs; ++i) embeddings.push_back(source.values(count));
        for (const std::vector<float>& embedding : embeddings) pointers.push_back(embedding.data());
        const std::vector<double> coefficients = source.doubles(pairs);
        const std::vector<float> initial = source.values(count);
        ClassGradient gradient;
        gradient.initial = has_initial ? initial.data() : nullptr;
        gradient.pairs = pairs;
        gradient.coefficients = coefficients.data();
        gradient.embeddings = pointers.data();
        gradient.projection = 0.37;
        gradient.inverse_norm = 1.7;
        body(sized("count", count) + sized(", pairs", pairs) + (has_initial ? ", initial" : ""),
             gradient, source.values(count), source.values(count));
      }
    }
  }
}

void test_class_gradient(const KernelSet& set) {
  for_gradients([&set](const std::string& where, const ClassGradient& gradient,
                       const std::vector<float>& row, const std::vector<float>&) {
    std::vector<double> got(row.size(), NAN);
    std::vector<double> expected(row.size(), NAN);
    set.class_gradient(gradient, row.data(), row.size(), got.data());
    portable_kernel_set().class_gradient(gradient, row.data(), row.size(), expected.data());
    expect_bits(where, got, expected);
  });
}

void test_class_step(const KernelSet& set) {
  const DescentRule rule{0.1, 0.9, 5e-4};
  for_gradients([&](const std::string& where, const ClassGradient& gradient,
                    const std::vector<float>& row, const std::vector<float>& velocity) {
    for (const bool moves : {false, true}) {
      std::vector<float> got = row;
      std::vector<float> expected = row;
      std::vector<float> got_velocity = velocity;
      std::vector<float> expected_velocity = velocity;
      const double got_square = set.class_step(gradient, rule, row.size(), got.data(),
                                               moves ? got_velocity.data() : nullptr);
      const double expected_square = portable_kernel_set().class_step(
          gradient, rule, row.size(), expected.data(), moves ? expected_velocity.data() : nullptr);
      expect_bits(where + ", row", got, expected);
      expect_bits(where + ", velocity", got_velocity, expected_velocity);
      expect_bits(where + ", square", got_square, expected_square);
      expect_bits(where + ", square as dot gives it", got_square,
                  set.dot(got.data(), got.data(), got.size()));
    }
  });
}

void test_descend(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    Source source(count);
    const std::vector<double> gradient = source.doubles(count);
    std::vector<float> got = source.values(count);
    std::vector<float> expected = got;
    set.descend(0.1, 5e-4, gradient.data(), count, got.data());
    portable_kernel_set().descend(0.1, 5e-4, gradient.data(), count, expected.data());
    expect_bits(sized("count", count), got, expected);
  }
}

struct Test {
  const char* name;
  void (*run)(const KernelSet& set);
};

constexpr Test kTests[] = {
    {"multiply", test_multiply},
    {"multiply_long", test_multiply_long},
    {"select", test_select},
    {"interleave", test_interleave},
    {"copy_columns", test_copy_columns},
    {"dot", test_dot},
    {"accumulate", test_accumulate},
    {"quantize", test_quantize},
    {"filter", test_filter},
    {"exp_sum", test_exp_sum},
    {"exp_sum of one element", test_exponentials},
    {"exp_coefficients", test_exp_coefficients},
    {"keep_above", test_keep_above},
    {"largest", test_largest},
    {"threshold_sums", test_threshold_sums},
    {"class_gradient", test_class_gradient},
    {"class_step", test_class_step},
    {"descend", test_descend},
};

int run() {
  int failures = 0;
  for (const KernelSet* set : usable_kernel_sets()) {
    std::size_t passed = 0;
    for (const Test& test : kTests) {
      try {
        test.run(*set);
        ++passed;
      } catch (const std::exception& failure) {
        std::fprintf(stderr, "%s: %s: %s\n", set->name, test.name, failure.what());
        ++failures;
      }
    }
    std::printf("%s: %zu of %zu tests passed\n", set->name, passed, std::size(kTests));
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace alphamargin

int main() { return alphamargin::run(); }
