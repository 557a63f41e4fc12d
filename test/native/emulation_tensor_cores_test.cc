// Tensor-core operations of the emulated device, and the kernels that are made of them.

#include <algorithm>
#include <cmath>

#include "cuda/head/filter.h"
#include "cuda/head/prototype_row.cuh"
#include "cuda/warp_mma.cuh"
#include "emulation_bench.h"

namespace alphamargin::emulated {
namespace {

template <class Element, void (*multiply)(float (&)[4], const MmaA&, const MmaB&)>
__global__ void mma_kernel(const Element* a, const Element* b, float* c) {
  struct alignas(16) Tile {
    Element values[16 * 24];
  };
  ALPHAMARGIN_SHARED(Tile, tiles, 2);
  // Rows of 16 halves, 8 of padding; b as [8 columns][16 k], twice, so that ldmatrix.x4 fits.
  for (unsigned i = threadIdx.x; i < 256; i += 32) {
    tiles[0].values[i / 16 * 24 + i % 16] = a[i];
    tiles[1].values[i / 16 * 24 + i % 16] = b[i % 128];
  }
  __syncwarp();
  const unsigned lane = threadIdx.x;
  MmaA fragment;
  load_matrices(fragment.words, tiles[0].values + lane % 16 * 24 + lane / 16 * 8);
  std::uint32_t words[4];
  load_matrices(words, tiles[1].values + (lane % 8 + lane / 16 * 8) * 24 + lane / 8 % 2 * 8);
  float sums[4] = {1, 2, 3, 4};
  multiply(sums, fragment, MmaB{{words[0], words[1]}});
  for (unsigned e = 0; e < 4; ++e) {
    c[(lane / 4 + 8 * (e / 2)) * 8 + 2 * (lane % 4) + e % 2] = sums[e];
  }
}

template <class Element, void (*multiply)(float (&)[4], const MmaA&, const MmaB&)>
void check_mma(Element (*rounded)(float)) {
  Bench bench;
  std::vector<float> exact_a(256);
  std::vector<float> exact_b(128);  // [column][k]
  for (std::size_t i = 0; i < 256; ++i) exact_a[i] = static_cast<float>(i % 13) - 6;
  for (std::size_t i = 0; i < 128; ++i) exact_b[i] = static_cast<float>(i % 7) / 8;
  std::vector<Element> a(256);
  std::vector<Element> b(128);
  std::transform(exact_a.begin(), exact_a.end(), a.begin(), rounded);
  std::transform(exact_b.begin(), exact_b.end(), b.begin(), rounded);
  auto device_a = bench.buffer(a);
  auto device_b = bench.buffer(b);
  auto c = bench.buffer<float>(128);
  launch(bench.context, "mma_kernel", &mma_kernel<Element, multiply>, {1, 32}, device_a.data(),
         device_b.data(), c.data());
  const auto found = bench.read(c);
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      float sum = static_cast<float>(1 + column % 2 + 2 * (row / 8));
      for (std::size_t k = 0; k < 16; ++k) {
        sum += exact_a[row * 16 + k] * exact_b[column * 16 + k];
      }
      expect(found[row * 8 + column] == sum, "an element of the product");
    }
  }
}

void test_mma() {
  check_mma<__half, mma_m16n8k16>(&__float2half_rn);
  check_mma<std::uint16_t, mma_m16n8k16_bfloat16>(&upper_half);
}

// Every float16, and every float32 next to where two of them meet.
void test_half_rounding() {
  const auto rounded = [](float value) { return __float2half_rn(value).bits; };
  const auto value_of = [](std::uint32_t bits) {
    const auto digits = static_cast<double>(bits & 0x3ff);
    const auto exponent = static_cast<int>(bits >> 10);
    return static_cast<float>(exponent == 0 ? std::ldexp(digits, -24)
                                            : std::ldexp(1024 + digits, exponent - 25));
  };
  constexpr std::uint32_t kInfinity = 0x7c00;
  for (std::uint32_t bits = 0; bits < kInfinity; ++bits) {
    const float value = value_of(bits);
    expect(__half2float({static_cast<std::uint16_t>(bits)}) == value, "the value of a float16");
    // The one after the largest is what 2^16 would be.
    const float middle = value + (value_of(bits + 1) - value) / 2;
    const std::uint32_t even = bits + (bits & 1);
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const auto check = [&](float size, std::uint32_t expected) {
        expect(rounded(sign == 0 ? size : -size) == (sign | expected), "not the nearest float16");
      };
      check(value, bits);
      check(middle, even);
      check(std::nextafter(middle, 0.0f), bits);
      check(std::nextafter(middle, INFINITY), bits + 1);
    }
  }
  expect(rounded(INFINITY) == kInfinity && rounded(-3e38f) == (0x8000 | kInfinity), "infinity");
  expect(rounded(1e-45f) == 0 && rounded(-1e-40f) == 0x8000, "numbers too small");
  expect(std::isnan(__half2float(__float2half_rn(NAN))), "no number");
}

// Every float32 comes back from its halves, and the upper one is the nearest of 8 bits.
void test_halves() {
  std::uint32_t bits = 1;
  for (int i = 0; i < 1 << 20; ++i) {
    bits = bits * 1664525u + 1013904223u;
    const float value = __uint_as_float(bits);
    if (!std::isfinite(value)) continue;
    const std::uint16_t upper = upper_half(value);
    expect(__float_as_uint(joined(upper, lower_half(value))) == bits, "a bit is lost");
    const float nearest = bfloat16_value(upper);
    if (!std::isfinite(nearest)) continue;
    const double spacing = std::ldexp(1.0, std::max(std::ilogb(value), -126) - 7);
    expect(std::fabs(static_cast<double>(value) - nearest) <= spacing / 2, "not the nearest");
  }
  for (const std::uint32_t edge : {0u, 0x80000000u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu, 0x3f7f8000u,
                                   0x3f7fffffu, 0xbf808000u}) {
    const float value = __uint_as_float(edge);
    expect(__float_as_uint(joined(upper_half(value), lower_half(value))) == edge, "an edge");
  }
}

__global__ void mma_int8_kernel(const std::int8_t* a, const std::int8_t* b, std::int32_t* c) {
  // Rows of 32 bytes, 16 of padding; b as [8 columns][32 k], twice, so that ldmatrix.x4 fits.
  ALPHAMARGIN_SHARED(uint4, tiles, 2 * 16 * 3);
  auto* const bytes = reinterpret_cast<std::int8_t*>(&tiles[0]);
  for (unsigned i = threadIdx.x; i < 512; i += 32) {
    bytes[i / 32 * 48 + i % 32] = a[i];
    bytes[768 + i / 32 * 48 + i % 32] = b[i % 256];
  }
  __syncwarp();
  const unsigned lane = threadIdx.x;
  MmaA fragment;
  load_matrices(fragment.words, bytes + lane % 16 * 48 + lane / 16 * 16);
  std::uint32_t words[4];
  load_matrices(words, bytes + 768 + (lane % 8 + lane / 16 * 8) * 48 + lane / 8 % 2 * 16);
  std::int32_t sums[4] = {1, 2, 3, 4};
  mma_m16n8k32(sums, fragment, MmaB{{words[0], words[1]}});
  for (unsigned e = 0; e < 4; ++e) {
    c[(lane / 4 + 8 * (e / 2)) * 8 + 2 * (lane % 4) + e % 2] = sums[e];
  }
}

void test_mma_int8() {
  Bench bench;
  std::vector<std::int8_t> a(512);
  std::vector<std::int8_t> b(256);  // [column][k]
  for (int i = 0; i < 512; ++i) a[i] = static_cast<std::int8_t>(i * 37 % 255 - 127);
  for (int i = 0; i < 256; ++i) b[i] = static_cast<std::int8_t>(i * 101 % 255 - 127);
  auto device_a = bench.buffer(a);
  auto device_b = bench.buffer(b);
  auto c = bench.buffer<std::int32_t>(128);
  launch(bench.context, "mma_int8_kernel", &mma_int8_kernel, {1, 32}, device_a.data(),
         device_b.data(), c.data());
  const auto found = bench.read(c);
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      auto sum = static_cast<std::int32_t>(1 + column % 2 + 2 * (row / 8));
      for (std::size_t k = 0; k < 32; ++k) sum += a[row * 32 + k] * b[column * 32 + k];
      expect(found[row * 8 + column] == sum, "an element of the product");
    }
  }
}

// Rows of eight in one bank, as ldmatrix reads them.
__global__ void conflict_kernel(std::uint32_t* out, std::size_t pitch) {
  ALPHAMARGIN_SHARED(uint4, rows, 32 * 9);
  for (unsigned i = threadIdx.x; i < 32 * 9; i += 32) rows[i] = {i, i, i, i};
  __syncwarp();
  std::uint32_t words[4];
  load_matrices(words, rows + threadIdx.x * pitch);
  out[threadIdx.x] = words[0];
}

void test_bank_conflicts() {
  Bench bench;
  auto out = bench.buffer<std::uint32_t>(32);
  const auto conflicts_at = [&](std::size_t pitch) {
    const std::uint64_t before = bank_conflicts();
    launch(bench.context, "conflict_kernel", &conflict_kernel, {1, 32}, out.data(), pitch);
    bench.context.synchronize();
    return bank_conflicts() - before;
  };
  expect(conflicts_at(9) == 0, "conflicts where there are none");
  expect(conflicts_at(8) == 4, "conflicts that were not counted");
}

// Small whole numbers, whose products are exact in any order.
float element(std::size_t row, std::size_t k) {
  return static_cast<float>((row * 31 + k * 7 + row * k) % 9) - 4;
}

// One launch of a filter against sums on the host: every survivor once, in its own row. The
// first of the bounds lets everything through, which is more than a block can gather.
void check_filter(FilterTier tier, std::size_t rows, std::size_t identities, std::size_t dim) {
  Bench bench;
  std::vector<__half> batch(rows * dim);
  std::vector<__half> shadow(identities * dim);
  std::vector<std::uint16_t> upper_batch(rows * dim);
  std::vector<std::uint16_t> upper(identities * dim);
  std::vector<std::int8_t> int8_batch(rows * dim);
  std::vector<std::int8_t> int8_shadow(identities * dim);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const float value = element(i / dim, i % dim);
    batch[i] = __float2half_rn(value);
    upper_batch[i] = upper_half(value);
    int8_batch[i] = static_cast<std::int8_t>(value);
  }
  for (std::size_t i = 0; i < shadow.size(); ++i) {
    const float value = element(i / dim + 1000, i % dim);
    shadow[i] = __float2half_rn(value);
    upper[i] = upper_half(value);
    int8_shadow[i] = static_cast<std::int8_t>(value);
  }
  const std::size_t begin = identities / 3;
  const auto label_of_row = [&](std::size_t row) { return begin + 5 * row; };
  std::vector<float> bounds(rows);
  std::vector<RowState> states(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    bounds[row] = row % 5 == 0 ? -INFINITY : row % 5 == 1 ? INFINITY : static_cast<float>(row);
    states[row].label = static_cast<std::int64_t>(label_of_row(row));
  }
  auto device_batch = bench.buffer(batch);
  auto device_shadow = bench.buffer(shadow);
  auto device_upper_batch = bench.buffer(upper_batch);
  auto device_upper = bench.buffer(upper);
  auto device_int8_batch = bench.buffer(int8_batch);
  auto device_int8_shadow = bench.buffer(int8_shadow);
  // Where rounding is measured: u = scales·c̃ + factor·residual, powers of two.
  const bool is_measured = shadow_format(tier) != ShadowFormat::kHalf;
  const auto row_scale = [&](std::size_t row) { return is_measured && row % 2 == 0 ? 0.5f : 1.0f; };
  // The last class of a tile has a scale and a residual that are larger than all others'.
  const auto is_last = [&](std::size_t j) { return (j - begin) % 256 == 255; };
  const auto scale_of = [&](std::size_t j) {
    return is_measured ? is_last(j) ? 4.0f : j % 3 == 0 ? 0.5f : 2.0f : 1.0f;
  };
  const auto spread_of = [&](std::size_t j) {
    return is_measured ? is_last(j) ? 16.0f : static_cast<float>(j % 5) : 0.0f;
  };
  std::vector<float> row_scales(rows);
  for (std::size_t row = 0; row < rows; ++row) row_scales[row] = row_scale(row);
  std::vector<float> scales(identities);
  std::vector<float> residuals(identities);
  for (std::size_t j = 0; j < identities; ++j) {
    scales[j] = scale_of(j);
    residuals[j] = spread_of(j) / 2;
  }
  auto device_scales = bench.buffer(scales);
  auto device_residuals = bench.buffer(residuals);
  auto device_row_scales = bench.buffer(row_scales);
  auto row_factors = bench.buffer(std::vector<float>(rows, 2));
  auto device_bounds = bench.buffer(bounds);
  auto device_states = bench.buffer(states);
  auto lists = bench.buffer<Candidate>(rows * identities);
  auto counts = bench.buffer(std::vector<std::uint32_t>(rows, 0));
  PrototypeArrays prototypes;
  prototypes.shadow = device_shadow.data();
  prototypes.upper = device_upper.data();
  prototypes.int8_shadow = device_int8_shadow.data();
  prototypes.scales = device_scales.data();
  prototypes.residuals = device_residuals.data();
  prototypes.identities = identities;
  prototypes.dim = prototypes.shadow_dim = dim;
  prototypes.filter = tier;
  BatchArrays embeddings;
  embeddings.half_unit = device_batch.data();
  embeddings.upper_unit = device_upper_batch.data();
  embeddings.int8_unit = device_int8_batch.data();
  embeddings.scales = device_row_scales.data();
  embeddings.factors = row_factors.data();
  embeddings.rows = rows;
  embeddings.dim = embeddings.shadow_dim = dim;
  filter_prototypes(
      bench.context, prototypes, embeddings,
      {lists.data(), counts.data(), device_bounds.data(), device_states.data(), identities}, begin,
      identities);
  const auto found = bench.read(lists);
  const auto found_counts = bench.read(counts);
  for (std::size_t row = 0; row < rows; ++row) {
    std::vector<Candidate> expected;
    for (std::size_t j = begin; j < identities; ++j) {
      float sum = 0;
      for (std::size_t k = 0; k < dim; ++k) sum += element(row, k) * element(j + 1000, k);
      sum = sum * row_scale(row) * scale_of(j) + spread_of(j);
      if (sum > bounds[row] && j != label_of_row(row)) {
        expected.push_back({static_cast<std::int32_t>(j), sum});
      }
    }
    const auto first = found.begin() + static_cast<std::ptrdiff_t>(row * identities);
    std::vector<Candidate> own(first, first + found_counts[row]);
    std::sort(own.begin(), own.end(),
              [](const Candidate& a, const Candidate& b) { return a.identity < b.identity; });
    const bool equal = std::equal(own.begin(), own.end(), expected.begin(), expected.end(),
                                  [](const Candidate& a, const Candidate& b) {
                                    return a.identity == b.identity && a.cosine == b.cosine;
                                  });
    expect(equal, "row " + std::to_string(row) + " of " + std::to_string(rows));
  }
}

void test_filter() {
  const std::uint64_t conflicts = bank_conflicts();
  for (const std::uint64_t seed : {0, 5}) {
    DeviceSettings settings;
    settings.seed = seed;
    configure_device(settings);
    for (const FilterTier tier :
         {FilterTier::kMma, FilterTier::kMmaInt8, FilterTier::kMmaSplit, FilterTier::kSimt,
          FilterTier::kWgmma, FilterTier::kWgmmaInt8, FilterTier::kWgmmaSplit}) {
      // A tile of each height, one slab of 64 bytes and several, edges in both directions.
      const std::size_t slab = 64 / element_bytes(shadow_format(tier));
      check_filter(tier, 17, 1500, slab);
      check_filter(tier, 64, 700, 3 * slab);
      check_filter(tier, 131, 1100, 2 * slab);
    }
  }
  configure_device({});
  expect(bank_conflicts() == conflicts, "the filter's reads meet in a bank");
}

}  // namespace

const test::Cases kTensorCoreCases = {
    {"mma and ldmatrix", &test_mma},
    {"mma of int8", &test_mma_int8},
    {"the halves of a float32", &test_halves},
    {"rounding to float16", &test_half_rounding},
    {"bank conflicts of ldmatrix", &test_bank_conflicts},
    {"the filter's survivors, without bank conflicts", &test_filter},
};

}  // namespace alphamargin::emulated
