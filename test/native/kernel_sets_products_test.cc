// Tests of the kernel sets: register tiles, panels, sums.

#include <algorithm>
#include <cmath>

#include "kernel_sets_cases.h"

namespace alphamargin::test {
namespace {

// ---- register tiles

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

// multiply(depth, left, right, tile) as KernelSet's.
template <class Multiply>
void check_tiles(const KernelSet& set, const Multiply& multiply, bool blocks) {
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

// Into a wider matrix, whose other columns stay as they are.
void test_multiply_long(const KernelSet& set) {
  constexpr float kUntouched = 7;
  const std::size_t stride = set.tile_columns + 3;
  std::vector<float> out(set.tile_rows * stride);
  const auto multiply = [&](std::size_t depth, const float* left, const float* right, float* tile) {
    std::fill(out.begin(), out.end(), kUntouched);
    set.multiply_long(depth, left, right, out.data(), stride);
    for (std::size_t i = 0; i < set.tile_rows; ++i) {
      const float* const row = out.data() + i * stride;
      std::copy_n(row, set.tile_columns, tile + i * set.tile_columns);
      expect_bits(sized("beside a tile, depth", depth),
                  std::vector<float>(row + set.tile_columns, row + stride),
                  std::vector<float>(stride - set.tile_columns, kUntouched));
    }
  };
  check_tiles(set, multiply, true);
}

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
    const std::vector<double> wide(a.begin(), a.end());
    expect_bits(sized("count", count) + ", a converted before",
                set.dot_wide(wide.data(), b.data(), count, a.data()),
                portable_kernel_set().dot(a.data(), b.data(), count));
  }
}

// 32 sums of fused products, then pairwise: at most count/32 + 6 roundings of each product.
void test_dot_single(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    Source source(count);
    const std::vector<float> a = source.values(count);
    const std::vector<float> b = source.values(count);
    const float got = set.dot_single(a.data(), b.data(), count);
    expect_bits(sized("count", count), got,
                portable_kernel_set().dot_single(a.data(), b.data(), count));
    double exact = 0;
    double absolute = 0;
    for (std::size_t k = 0; k < count; ++k) {
      const double product = static_cast<double>(a[k]) * static_cast<double>(b[k]);
      exact += product;
      absolute += std::fabs(product);
    }
    const double roundings = static_cast<double>(count) / 32 + 6;
    const double bound = roundings * (0x1p-24 * 1.001 * absolute + 0x1p-149);
    if (!(std::fabs(got - exact) <= bound)) differ(sized("count", count), 0, got, exact);
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

}  // namespace

const std::vector<KernelTest> kProductTests = {
    {"multiply", test_multiply},     {"multiply_long", test_multiply_long}, {"select", test_select},
    {"interleave", test_interleave}, {"copy_columns", test_copy_columns},   {"dot", test_dot},
    {"dot_single", test_dot_single}, {"accumulate", test_accumulate},
};

}  // namespace alphamargin::test
