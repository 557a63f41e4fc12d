#pragma once
// Tensor-core tiles m16n8k16 (fp16 or bfloat16 in, fp32 accumulate) and m16n8k32 (int8 in, int32
// accumulate), with the fragment layout of the PTX manual. A row of either is 32 bytes of k; lane =
// 4·group + member holds 4 bytes of it in each word:
//   a.words[0] row group, bytes 4·member …;  [1] row group + 8;  [2], [3] the same, bytes + 16
//   b.words[0] column group, bytes 4·member …;  [1] bytes + 16
//   c[0..1] row group, columns 2·member, +1;  c[2..3] row group + 8

#include "cuda/dialect.h"

#if !defined(__CUDACC__)
#include "emulation/tensor_elements.h"
#endif

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct MmaA {
  std::uint32_t words[4];
};
struct MmaB {
  std::uint32_t words[2];
};

#if !defined(__CUDACC__)
template <class Sum>
struct MmaLane {
  MmaA a;
  MmaB b;
  Sum c[4];
};

// All 32 lanes at once: gathers the fragments, multiplies, hands every lane its accumulators.
template <class Elements>
void mma_of_warp(unsigned char (*lanes)[kLaneBytes]) {
  using Sum = typename Elements::Sum;
  constexpr unsigned kInner = 8 * Elements::kOfWord;
  Sum a[16][kInner];
  Sum b[kInner][8];
  typename Elements::Exact c[16][8];
  MmaLane<Sum> lane;
  for (unsigned i = 0; i < kWarpSize; ++i) {
    std::memcpy(&lane, lanes[i], sizeof lane);
    const unsigned group = i / 4;
    const unsigned first = i % 4 * Elements::kOfWord;
    for (unsigned e = 0; e < Elements::kOfWord; ++e) {
      for (unsigned word = 0; word < 4; ++word) {
        a[group + 8 * (word % 2)][first + e + kInner / 2 * (word / 2)] =
            Elements::at(lane.a.words[word], e);
      }
      for (unsigned word = 0; word < 2; ++word) {
        b[first + e + kInner / 2 * word][group] = Elements::at(lane.b.words[word], e);
      }
    }
    for (unsigned e = 0; e < 4; ++e) c[group + 8 * (e / 2)][2 * (i % 4) + e % 2] = lane.c[e];
  }
  add_products(a, b, c);
  for (unsigned i = 0; i < kWarpSize; ++i) {
    std::memcpy(&lane, lanes[i], sizeof lane);
    for (unsigned e = 0; e < 4; ++e) {
      lane.c[e] = Elements::rounded(c[i / 4 + 8 * (e / 2)][2 * (i % 4) + e % 2]);
    }
    std::memcpy(lanes[i], &lane, sizeof lane);
  }
}

template <class Elements>
void emulate_mma(const char* name, typename Elements::Sum (&c)[4], const MmaA& a, const MmaB& b,
                 Place place) {
  MmaLane<typename Elements::Sum> own{a, b, {c[0], c[1], c[2], c[3]}};
  Launch& launch = Launch::current();
  auto* lanes = launch.exchange(name, kFullMask, &own, sizeof own, place, &mma_of_warp<Elements>);
  std::memcpy(&own, lanes[launch.lane()], sizeof own);
  for (int e = 0; e < 4; ++e) c[e] = own.c[e];
}
#endif

// The instruction `name` on c, a and b; `kind` is the constraint of a sum.
#define ALPHAMARGIN_MMA(name, kind)                                                  \
  asm volatile("mma.sync.aligned." name                                              \
               " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"  \
               : kind(c[0]), kind(c[1]), kind(c[2]), kind(c[3])                      \
               : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), \
                 "r"(b.words[0]), "r"(b.words[1]))

// In code for devices that the backend does not choose it for.
template <class Sum, class A, class B>
__device__ __forceinline__ void no_tensor_cores(Sum (&)[4], const A&, const B&) {
#if defined(__CUDACC__)
  asm volatile("trap;\n");
#endif
}

// c += a·b for the warp. All require sm_80 (the backend does not choose their tiers below); all
// lanes take part.
__device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const MmaA& a, const MmaB& b) {
#if !defined(__CUDACC__)
  emulate_mma<HalfElements>("mma.sync.m16n8k16", c, a, b, Place::current());
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  ALPHAMARGIN_MMA("m16n8k16.row.col.f32.f16.f16.f32", "+f");
#else
  no_tensor_cores(c, a, b);
#endif
}

__device__ __forceinline__ void mma_m16n8k16_bfloat16(float (&c)[4], const MmaA& a, const MmaB& b) {
#if !defined(__CUDACC__)
  emulate_mma<Bfloat16Elements>("mma.sync.m16n8k16.bf16", c, a, b, Place::current());
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  ALPHAMARGIN_MMA("m16n8k16.row.col.f32.bf16.bf16.f32", "+f");
#else
  no_tensor_cores(c, a, b);
#endif
}

__device__ __forceinline__ void mma_m16n8k32(std::int32_t (&c)[4], const MmaA& a, const MmaB& b) {
#if !defined(__CUDACC__)
  emulate_mma<Int8Elements>("mma.sync.m16n8k32", c, a, b, Place::current());
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  ALPHAMARGIN_MMA("m16n8k32.row.col.s32.s8.s8.s32", "+r");
#else
  no_tensor_cores(c, a, b);
#endif
}

#if !defined(__CUDACC__)
// The rows of a warp's four matrices; counts the matrices whose rows share a bank
// (bank_conflicts()).
inline unsigned char (*matrix_rows(const char* name, const void* row, Place place)) [kLaneBytes] {
  Launch& launch = Launch::current();
  auto* lanes = launch.exchange(name, kFullMask, &row, sizeof row, place);
  if (launch.lane() == 0) {
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      unsigned banks = 0;
      for (unsigned i = 0; i < 8; ++i) {
        const auto* source = lane_value<const unsigned char*>(lanes, 8 * matrix + i);
        banks |= 1u << (reinterpret_cast<std::uintptr_t>(source) / 16 % 8);
      }
      if (banks != 0xffu) count_bank_conflict();
    }
  }
  return lanes;
}
#endif

#define ALPHAMARGIN_LOAD_MATRICES(name)                                               \
  asm volatile("ldmatrix.sync.aligned.m8n8.x4." name ".b16 {%0, %1, %2, %3}, [%4];\n" \
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])               \
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row))))

// Four matrices of 8 rows of 16 bytes from shared memory (ldmatrix.x4): lane l gives the address of
// row l % 8 of matrix l / 8; each lane receives bytes 4·member … of row `group` of each matrix.
__device__ __forceinline__ void load_matrices(std::uint32_t (&out)[4], const void* row) {
#if defined(__CUDACC__)
  ALPHAMARGIN_LOAD_MATRICES("shared");
#else
  auto* lanes = matrix_rows("ldmatrix", row, Place::current());
  const unsigned lane = Launch::current().lane();
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    const auto* source = lane_value<const unsigned char*>(lanes, 8 * matrix + lane / 4);
    std::memcpy(&out[matrix], source + 4 * (lane % 4), sizeof out[matrix]);
  }
#endif
}

// The same of matrices of 16-bit elements that lie transposed: each lane receives column `group` of
// rows 2·member and 2·member + 1.
__device__ __forceinline__ void load_transposed(std::uint32_t (&out)[4], const void* row) {
#if defined(__CUDACC__)
  ALPHAMARGIN_LOAD_MATRICES("trans.shared");
#else
  auto* lanes = matrix_rows("ldmatrix.trans", row, Place::current());
  const unsigned lane = Launch::current().lane();
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t elements[2];
    for (unsigned e = 0; e < 2; ++e) {
      const unsigned source = 8 * matrix + 2 * (lane % 4) + e;
      std::memcpy(&elements[e], lane_value<const unsigned char*>(lanes, source) + 2 * (lane / 4),
                  sizeof elements[e]);
    }
    out[matrix] = elements[0] | static_cast<std::uint32_t>(elements[1]) << 16;
  }
#endif
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
