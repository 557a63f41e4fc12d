// Products of float32 numbers on emulated tensor cores.

#include <algorithm>
#include <bit>
#include <cmath>

#include "cuda/head/dense_chunks.h"
#include "cuda/pair_product.h"
#include "emulation_bench.h"

namespace alphamargin::emulated {
namespace {

// A matrix [outer, K] as pairs on the device, its rows along K or across it, with the zeros that
// kernels leave beyond its edges. Rows are scaled to their largest number, or not at all.
struct PairMatrix {
  DeviceBuffer<__half> large;
  DeviceBuffer<__half> small;
  DeviceBuffer<float> inverses;
  std::size_t stride;

  PairMatrix(Bench& bench, const std::vector<float>& values, std::size_t inner, bool along,
             bool scaled, std::size_t pieces = 1)
      : stride(padded_to_slab(along ? inner : values.size() / inner)) {
    const std::size_t outers = values.size() / inner;
    const std::size_t padded = along ? outers : padded_to_slab(inner);
    std::vector<__half> large_values(padded * stride, __half{0});
    std::vector<__half> small_values(padded * stride, __half{0});
    std::vector<float> inverse_values(pieces * outers);
    const HalfPairs pairs{large_values.data(), small_values.data(), stride};
    for (std::size_t outer = 0; outer < outers; ++outer) {
      float largest = 0;
      for (std::size_t k = 0; k < inner; ++k) {
        largest = std::max(largest, std::fabs(values[outer * inner + k]));
      }
      const PairScale scale = pair_scale(largest);
      for (std::size_t piece = 0; piece < pieces; ++piece) {
        inverse_values[piece * outers + outer] = scale.inverse;
      }
      for (std::size_t k = 0; k < inner; ++k) {
        store_pair(pairs, along ? outer * stride + k : k * stride + outer,
                   values[outer * inner + k], scaled ? scale.power : kUnitPower);
      }
    }
    large = bench.buffer(large_values);
    small = bench.buffer(small_values);
    inverses = bench.buffer(inverse_values);
  }
  HalfPairs pairs(bool rounded = false) const {
    return {large.data(), rounded ? nullptr : small.data(), stride};
  }
};

float some_number(std::size_t i) {
  return static_cast<float>(std::sin(1.0 + static_cast<double>(i * i % 10007)));
}

// The largest error of a product of such operands next to float64, as a share of the sums of
// magnitudes.
struct ProductErrors {
  double exact = 0;
  double rounded = 0;
  double multiply_adds = 0;  // of float32, by the kernel for devices without tensor cores
};

ProductErrors product_errors(PairLayout layout, const ProductShape& shape, std::size_t piece,
                             const std::vector<float>& left, const std::vector<float>& right) {
  Bench bench;
  const auto [rows, inner, columns] = shape;
  const bool unit_left = layout == PairLayout::kAlongAlong;
  const std::size_t pieces = piece == 0 ? 1 : (inner + piece - 1) / piece;
  const PairMatrix a(bench, left, inner, layout != PairLayout::kAcrossAcross, !unit_left, pieces);
  const PairMatrix b(bench, right, inner, unit_left, false);
  const auto run = [&](bool rounded) {
    auto out = bench.buffer<float>(pieces * rows * columns);
    pair_product(bench.context, layout,
                 {a.pairs(rounded), b.pairs(rounded), shape,
                  unit_left ? nullptr : a.inverses.data(), out.data(), piece});
    return bench.read(out);
  };
  const auto exact = run(false);
  const auto rounded = run(true);
  auto device_left = bench.buffer(left);
  auto device_right = bench.buffer(right);
  auto plain_out = bench.buffer<float>(rows * columns);
  matrix_product(bench.context, {device_left.data(), inner}, {device_right.data(), inner, 1}, shape,
                 plain_out.data());
  const auto plain = bench.read(plain_out);
  ProductErrors worst;
  for (std::size_t i = 0; i < rows * columns; ++i) {
    const std::size_t row = i / columns;
    const std::size_t column = i % columns;
    double sum = 0;
    double magnitude = 0;
    for (std::size_t k = 0; k < inner; ++k) {
      const double term = static_cast<double>(left[row * inner + k]) * right[column * inner + k];
      sum += term;
      magnitude += std::fabs(term);
    }
    const auto error = [&](const std::vector<float>& found) {
      double total = 0;
      for (std::size_t p = 0; p < pieces; ++p) total += found[p * rows * columns + i];
      return std::fabs(total - sum) / magnitude;
    };
    worst.exact = std::max(worst.exact, error(exact));
    worst.rounded = std::max(worst.rounded, error(rounded));
    worst.multiply_adds = std::max(worst.multiply_adds, std::fabs(plain[i] - sum) / magnitude);
  }
  return worst;
}

// Products of numbers of all digits next to float64, and next to float32 multiply-adds, which are
// hardly nearer; rows of the left operand between 1e-37 and 1.
void check_product(PairLayout layout, const ProductShape& shape, std::size_t piece = 0) {
  std::vector<float> left(shape.rows * shape.inner);
  std::vector<float> right(shape.inner * shape.columns);
  const bool unit_left = layout == PairLayout::kAlongAlong;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const auto power = static_cast<int>(i / shape.inner % 38);
    left[i] = some_number(i) * (unit_left ? 1.0f : std::pow(10.0f, static_cast<float>(-power)));
  }
  for (std::size_t i = 0; i < right.size(); ++i) right[i] = some_number(i + 5000);
  const ProductErrors worst = product_errors(layout, shape, piece, left, right);
  const std::string name = std::to_string(static_cast<int>(layout)) + ", " +
                           std::to_string(shape.rows) + " × " + std::to_string(shape.inner) +
                           " × " + std::to_string(shape.columns);
  // A single product has the whole error of its pairs; in sums they are lost among the others.
  const double of_pairs = shape.inner == 1 ? 0x1p-22 : 0x1p-24;
  expect(worst.exact <= 1.5 * worst.multiply_adds + of_pairs,
         name + ": products are off by " + std::to_string(worst.exact * 0x1p24) + " / 2^24");
  // Both operands are off by half a unit of 2^-10.
  expect(worst.rounded <= 1.01 * 0x1p-10 && worst.rounded > 4 * worst.exact,
         name + ": products of rounded operands are off by " + std::to_string(worst.rounded));
}

void test_products() {
  const std::uint64_t conflicts = bank_conflicts();
  for (const PairLayout layout :
       {PairLayout::kAlongAlong, PairLayout::kAlongAcross, PairLayout::kAcrossAcross}) {
    // Whole tiles and slabs; edges in all directions, odd and even; one slab and one of everything;
    // pieces; long sums.
    check_product(layout, {128, 64, 128});
    check_product(layout, {130, 131, 141});
    check_product(layout, {19, 33, 150});
    check_product(layout, {1, 1, 1});
    check_product(layout, {20, 1100, 30}, kPairPiece);
    check_product(layout, {3, 9000, 5});
  }
  expect(bank_conflicts() == conflicts, "the reads of a product meet in a bank");
}

// Of operands whose products all have one sign, as of near equal rows: what is cut off adds up
// there.
void test_positive_products() {
  constexpr std::size_t kSize = 64;
  constexpr std::size_t kInner = 512;
  std::vector<float> left(kSize * kInner);
  for (std::size_t i = 0; i < left.size(); ++i) left[i] = (1.25f + some_number(i)) / 4;
  Bench bench;
  const PairMatrix pairs(bench, left, kInner, true, false);
  auto out = bench.buffer<float>(kSize * kSize);
  pair_product(bench.context, PairLayout::kAlongAlong,
               {pairs.pairs(), pairs.pairs(), {kSize, kInner, kSize}, nullptr, out.data()});
  const auto found = bench.read(out);
  double bias = 0;
  for (std::size_t row = 0; row < kSize; ++row) {
    for (std::size_t column = 0; column < kSize; ++column) {
      double sum = 0;
      for (std::size_t k = 0; k < kInner; ++k) {
        sum += static_cast<double>(left[row * kInner + k]) * left[column * kInner + k];
      }
      bias += (found[row * kSize + column] - sum) / sum / (kSize * kSize);
    }
  }
  expect(std::fabs(bias) <= 0x1p-24, "products are small by " + std::to_string(bias * 0x1p24) +
                                         " times the rounding of float32");
}

// Every float32 that is a number: the power of two is one, the scaled number fits float16, and the
// pair is within 2^-22 of it or of a unit of the largest.
void test_pairs() {
  for (std::uint32_t bits = 0; bits < 0x7f800000u; bits += 9973) {
    const auto value = std::bit_cast<float>(bits);
    const PairScale scale = pair_scale(value);
    expect(
        scale.power * scale.inverse == 1 && scale.power >= 0x1p-126f && scale.inverse >= 0x1p-126f,
        "a scale is no power of two");
    for (const float number : {value, -value / 3, value * 0x1p-30f}) {
      __half large{0};
      __half small{0};
      store_pair({&large, &small, 1}, 0, number, scale.power);
      const double scaled = static_cast<double>(number) * scale.power;
      expect(std::fabs(scaled) < 0x1p15, "a scaled number is too large");
      const double pair = static_cast<double>(__half2float(large)) + __half2float(small);
      expect(std::fabs(pair - scaled) <= std::max(0x1p-22 * std::fabs(scaled), 0x1p-25),
             "a pair is not its number");
    }
  }
}

// However many rows stream: chunks are whole sums, sums whole identities, and a chunk of several
// sums has pieces that end with each of them.
void test_chunks() {
  for (std::size_t sub_centres = 1; sub_centres <= 256; ++sub_centres) {
    const std::size_t sum = sum_identities(sub_centres);
    expect(sum % sub_centres == 0 && sum <= kSumIdentities && 2 * sum >= kSumIdentities,
           "a sum of " + std::to_string(sum));
    for (std::size_t rows = 1; rows < std::size_t{1} << 20; rows = 3 * rows + 1) {
      const std::size_t chunk = chunk_identities(rows, 512, sub_centres);
      expect(chunk >= sum && section_identities(sub_centres) % chunk == 0 &&
                 (chunk == sum || sum % kPairPiece == 0),
             "a chunk of " + std::to_string(chunk) + " where a sum has " + std::to_string(sum));
    }
  }
  expect(sum_identities(1) == 4096 && sum_identities(3) == 3072 && sum_identities(9) == 4095,
         "sums of 1, 3 and 9 sub-centres");
}

}  // namespace

const test::Cases kProductCases = {
    {"chunks of rows that stream", &test_chunks},
    {"pairs of float16", &test_pairs},
    {"float32 products of pairs", &test_products},
    {"products of one sign", &test_positive_products},
};

}  // namespace alphamargin::emulated
