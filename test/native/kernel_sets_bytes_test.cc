// Tests of the kernel sets: vectors as bytes, and the filter that reads them.

#include <algorithm>
#include <cmath>

#include "kernel_sets_cases.h"

namespace alphamargin::test {
namespace {

void test_largest_size(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    Source source(count);
    std::vector<float> values = source.values(count);
    // The largest in every place, of either sign.
    for (std::size_t k = 0; k < count; ++k) {
      const float before = values[k];
      values[k] = (k % 2 == 0 ? 1.5f : -1.5f) + before * 0x1p-20f;
      expect_bits(sized("count", count) + sized(", place", k),
                  set.largest_size(values.data(), count), std::fabs(values[k]));
      values[k] = before;
    }
  }
}

void check_quantize(const KernelSet& set, std::size_t count, std::size_t stride, bool ties,
                    std::uint8_t zero) {
  const std::string where = sized("count", count) + sized(", stride", stride) +
                            (ties ? ", ties" : "") + sized(", zero", zero);
  Source source(count);
  std::vector<float> values = source.values(count);
  float factor = 1;
  if (ties) {
    for (float& value : values) value = std::floor(value * 126) + 0.5f;
  } else {
    factor = 127 / std::max(set.largest_size(values.data(), count), 0x1p-60f);
  }
  // What lies between the chunks must stay.
  std::vector<std::uint8_t> got((count + kChunk - 1) / kChunk * stride - stride + kChunk, 77);
  std::vector<std::uint8_t> expected = got;
  const Rounding rounding = set.quantize(values.data(), factor, count, stride, zero, got.data());
  double squares = 0;
  std::int32_t sum = 0;
  for (std::size_t k = 0; k < rounded_up(count, kChunk); ++k) {
    const float scaled = k < count ? values[k] * factor : 0;
    const float whole = std::nearbyint(scaled);
    expected[k / kChunk * stride + k % kChunk] =
        static_cast<std::uint8_t>(static_cast<std::int32_t>(whole) + zero);
    squares += std::pow(static_cast<double>(scaled) - whole, 2);
    sum += static_cast<std::int32_t>(whole);
  }
  expect_bits(where, got, expected);
  expect_bits(where + ", sum", rounding.sum, sum);
  if (!(std::fabs(rounding.squares - squares) <= 1e-5 * squares + 1e-30)) {
    differ(where + ", squares", 0, rounding.squares, squares);
  }
  if (!(residual_of(rounding, count) >= std::sqrt(squares))) {
    differ(where + ", residual", 0, residual_of(rounding, count), std::sqrt(squares));
  }
}

void test_quantize(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (const std::size_t stride : {kChunk, kGroup * kChunk, kFilterRows * kChunk}) {
      for (const bool ties : {false, true}) {
        for (const std::uint8_t zero : {std::uint8_t{0}, kStoredZero}) {
          check_quantize(set, count, stride, ties, zero);
        }
      }
    }
  }
}

struct alignas(64) CacheLine {
  std::uint8_t elements[kGroup * kChunk];
};
constexpr std::size_t kChunksPerLine = sizeof(CacheLine) / kChunk;

struct FilterCase {
  std::size_t dim;
  std::size_t rows;
  std::size_t groups;
  bool extreme;      // all elements as large as they may be, of either sign
  bool many{false};  // filter_many
};

// Of all values up to `levels`, or of ±levels: half a chunk of each sign, or all of one.
std::vector<int> byte_vector(Source& source, const FilterCase& shape, int levels) {
  std::vector<int> bytes(shape.dim);
  const std::size_t period = shape.extreme ? std::size_t{1} << source.below(12) : 1;
  for (std::size_t k = 0; k < shape.dim; ++k) {
    const auto any = static_cast<int>(source.below(static_cast<std::size_t>(2 * levels + 1)));
    bytes[k] = shape.extreme ? (k / period % 2 == 0 ? levels : -levels) : any - levels;
  }
  return bytes;
}

// The embeddings of a case as a kernel reads them.
std::vector<CacheLine> embedding_lines(const FilterCase& shape, std::size_t chunks) {
  const std::size_t rows = shape.many ? rounded_up(shape.rows, kManyRows) : shape.rows;
  // What follows the last row is read, and must not be seen.
  const std::size_t beyond = shape.many ? kManyElements / kChunk : 0;
  std::vector<CacheLine> lines((chunks * rows + beyond + kChunksPerLine - 1) / kChunksPerLine);
  if (shape.many) {
    for (CacheLine& line : lines) std::fill(std::begin(line.elements), std::end(line.elements), 99);
  }
  return lines;
}

std::size_t embedding_place(const FilterCase& shape, std::size_t chunks, std::size_t row,
                            std::size_t k) {
  if (shape.many) return row * chunks * kChunk + k;
  return (k / kChunk * shape.rows + row) * kChunk + k % kChunk;
}

// Numbers that float32 multiplies without rounding, so that every set must decide alike.
void check_filter(const KernelSet& set, const FilterCase& shape, std::size_t round) {
  Source source(shape.dim + shape.rows + shape.groups + round);
  const std::size_t chunks = rounded_up(shape.dim, kChunk) / kChunk;
  const std::size_t classes = shape.groups * kGroup;
  std::vector<CacheLine> lines(shape.groups * chunks);
  for (CacheLine& line : lines) std::fill(std::begin(line.elements), std::end(line.elements), 128);
  std::vector<float> scales(2 * classes);
  std::vector<std::vector<int>> prototypes;
  for (std::size_t j = 0; j < classes; ++j) {
    // Some are what fills up a shadow.
    const bool is_filler = source.below(20) == 0 && j > 0;
    prototypes.push_back(is_filler ? std::vector<int>(shape.dim)
                                   : byte_vector(source, shape, kPrototypeLevels));
    for (std::size_t k = 0; k < shape.dim; ++k) {
      lines[j / kGroup * chunks + k / kChunk].elements[j % kGroup * kChunk + k % kChunk] =
          static_cast<std::uint8_t>(prototypes[j][k] + kStoredZero);
    }
    float* const own = scales.data() + j / kGroup * 2 * kGroup + j % kGroup;
    own[0] = is_filler ? 0 : static_cast<float>(std::size_t{1} << source.below(3));
    own[kGroup] = is_filler ? 0 : static_cast<float>(source.below(16));
  }
  const auto scale_of = [&](std::size_t j) { return scales[j / kGroup * 2 * kGroup + j % kGroup]; };
  const auto rest_of = [&](std::size_t j) {
    return scales[j / kGroup * 2 * kGroup + kGroup + j % kGroup];
  };
  std::vector<CacheLine> panel = embedding_lines(shape, chunks);
  std::vector<std::int32_t> offsets(shape.rows);
  std::vector<float> lowers(shape.rows);
  std::vector<float> spreads(shape.rows);
  // Masks of panels do not follow each other.
  const std::size_t stride = shape.groups + 3;
  std::vector<GroupMask> expected((shape.rows + kFilterRows - 1) / kFilterRows * stride);
  for (std::size_t row = 0; row < shape.rows; ++row) {
    const std::vector<int> embedding = byte_vector(source, shape, set.embedding_levels);
    std::vector<std::int64_t> totals(classes);
    for (std::size_t k = 0; k < rounded_up(shape.dim, kChunk); ++k) {
      const int value = k < shape.dim ? embedding[k] : 0;
      const std::size_t place = embedding_place(shape, chunks, row, k);
      panel[place / sizeof(CacheLine)].elements[place % sizeof(CacheLine)] =
          static_cast<std::uint8_t>(value);
      offsets[row] += kStoredZero * value;
      if (k >= shape.dim) continue;
      for (std::size_t j = 0; j < classes; ++j) totals[j] += value * prototypes[j][k];
    }
    // At, below and above what one class has; none; all.
    spreads[row] = static_cast<float>(source.below(8));
    std::size_t chosen = source.below(classes);
    while (scale_of(chosen) == 0) chosen = (chosen + 1) % classes;
    const float unit = 1 / scale_of(chosen);
    const float tie =
        (static_cast<float>(totals[chosen]) + spreads[row] * rest_of(chosen)) / scale_of(chosen);
    const float choices[] = {tie, tie - unit, tie + unit, kInfinity, -kInfinity};
    lowers[row] = choices[(row + round) % std::size(choices)];
    for (std::size_t j = 0; j < classes; ++j) {
      const double least = static_cast<double>(lowers[row]) * scale_of(j) -
                           static_cast<double>(spreads[row]) * rest_of(j);
      if (scale_of(j) == 0 || !(static_cast<double>(totals[j]) > least)) continue;
      expected[row / kFilterRows * stride + j / kGroup] |=
          GroupMask{1} << (row % kFilterRows / 4 * 16 + j % kGroup * 4 + row % 4);
    }
  }
  FilterBlock block{};
  block.chunks = chunks;
  block.rows = shape.rows;
  block.panel = reinterpret_cast<const std::int8_t*>(panel[0].elements);
  block.offsets = offsets.data();
  block.lowers = lowers.data();
  block.spreads = spreads.data();
  block.groups = lines[0].elements;
  block.scales = scales.data();
  block.group_count = shape.groups;
  // What is asked for changes nothing.
  const std::vector<const float*> ahead(shape.groups / kGroupsPerStep * kRowsPerStep,
                                        scales.data());
  block.ahead = ahead.data();
  block.rows_ahead = ahead.size();
  block.mask_stride = stride;
  std::vector<CacheLine> packed(packed_bytes(chunks) / sizeof(CacheLine));
  block.packed = packed[0].elements;
  std::vector<GroupMask> got(expected.size());
  (shape.many ? set.filter_many : set.filter)(block, got.data());
  expect_bits(sized("dim", shape.dim) + sized(", rows", shape.rows) +
                  sized(", groups", shape.groups) + (shape.extreme ? ", extreme" : "") +
                  (shape.many ? ", many" : "") + ", masks",
              got, expected);
}

void test_filter(const KernelSet& set) {
  for (const std::size_t dim : kDims) {
    for (const std::size_t rows : {kFilterRowsShort, kFilterRows}) {
      for (const std::size_t steps : {1, 3}) {
        for (const bool extreme : {false, true}) {
          for (std::size_t round = 0; round < 5; ++round) {
            check_filter(set, {dim, rows, steps * kGroupsPerStep, extreme}, round);
          }
        }
      }
    }
  }
}

// One tile of rows and two, with and without a half; groups that fill tiles and not.
void test_filter_many(const KernelSet& set) {
  if (set.filter_many == nullptr) return;
  for (const std::size_t dim : kDims) {
    for (const std::size_t rows : {8, 16, 24, 32, 40, 72}) {
      for (const std::size_t steps : {1, 3, 4}) {
        check_filter(set, {dim, rows, steps * kGroupsPerStep, rows % 16 == 0, true}, steps);
      }
    }
  }
}

void test_places(const KernelSet& set) {
  for (const std::size_t groups :
       {std::size_t{0}, std::size_t{1}, kGroupsPerStep, std::size_t{48}}) {
    for (std::size_t round = 0; round < 20; ++round) {
      Source source(groups + round);
      std::vector<GroupMask> masks(groups);
      std::vector<std::uint32_t> expected;
      for (std::size_t group = 0; group < groups; ++group) {
        // None, all, the highest and the lowest, or any of a few.
        const GroupMask choices[] = {0, ~GroupMask{0}, GroupMask{1} << 31 | 1,
                                     GroupMask{1} << source.below(32),
                                     static_cast<GroupMask>(source.below(1u << 31))};
        masks[group] = choices[source.below(std::size(choices))];
        for (std::size_t four = 0; four < 2; ++four) {
          for (std::size_t j = 0; j < kGroup; ++j) {
            for (std::size_t i = 0; i < 4; ++i) {
              if ((masks[group] >> (16 * four + 4 * j + i) & 1) == 0) continue;
              expected.push_back(
                  static_cast<std::uint32_t>((group * kGroup + j) * kRowsPerPlace + 4 * four + i));
            }
          }
        }
      }
      std::vector<std::uint32_t> got(32 * groups + kRoomForPlaces);
      const std::size_t count = set.places(masks.data(), groups, got.data());
      const std::string where = sized("groups", groups) + sized(", round", round);
      expect_bits(where + ", number", count, expected.size());
      expect_bits(where + ", places", got, expected);
    }
  }
}

}  // namespace

const std::vector<KernelTest> kByteTests = {
    {"largest_size", test_largest_size}, {"quantize", test_quantize}, {"filter", test_filter},
    {"filter_many", test_filter_many},   {"places", test_places},
};

}  // namespace alphamargin::test
