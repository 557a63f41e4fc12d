#pragma once
// Tensor-core tile m16n8k16, fp16 in, fp32 accumulate, with the fragment layout of the PTX manual:
// lane = 4·group + member;
//   a[0..1] row group, columns 2·member, +1;  a[2..3] row group + 8;  a[4..7] the same, columns + 8
//   b[0..1] rows 2·member, +1, column group;  b[2..3] rows + 8
//   c[0..1] row group, columns 2·member, +1;  c[2..3] row group + 8

#include "cuda/dialect.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

struct MmaA {
  std::uint32_t pairs[4];  // two halves each
};
struct MmaB {
  std::uint32_t pairs[2];
};

#if !defined(__CUDACC__)
struct MmaLane {
  MmaA a;
  MmaB b;
  float c[4];
};

// All 32 lanes at once: gathers the fragments, multiplies, hands every lane its accumulators.
inline void mma_of_warp(unsigned char (*lanes)[kLaneBytes]) {
  const float* halves = half_table();
  float a[16][16];
  float b[16][8];
  float c[16][8];
  MmaLane lane;
  for (unsigned i = 0; i < kWarpSize; ++i) {
    std::memcpy(&lane, lanes[i], sizeof lane);
    const unsigned group = i / 4;
    const unsigned member = i % 4;
    for (unsigned pair = 0; pair < 4; ++pair) {
      const unsigned row = group + 8 * (pair % 2);
      const unsigned column = 2 * member + 8 * (pair / 2);
      a[row][column] = halves[lane.a.pairs[pair] & 0xffffu];
      a[row][column + 1] = halves[lane.a.pairs[pair] >> 16];
    }
    for (unsigned pair = 0; pair < 2; ++pair) {
      const unsigned row = 2 * member + 8 * pair;
      b[row][group] = halves[lane.b.pairs[pair] & 0xffffu];
      b[row + 1][group] = halves[lane.b.pairs[pair] >> 16];
    }
    for (unsigned e = 0; e < 4; ++e) c[group + 8 * (e / 2)][2 * member + e % 2] = lane.c[e];
  }
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
    }
  }
  for (unsigned i = 0; i < kWarpSize; ++i) {
    std::memcpy(&lane, lanes[i], sizeof lane);
    for (unsigned e = 0; e < 4; ++e) lane.c[e] = c[i / 4 + 8 * (e / 2)][2 * (i % 4) + e % 2];
    std::memcpy(lanes[i], &lane, sizeof lane);
  }
}
#endif

// c += a·b for the warp. Requires sm_80; all lanes take part.
__device__ __forceinline__ void mma_m16n8k16(float (&c)[4], const MmaA& a, const MmaB& b) {
#if defined(__CUDACC__)
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
      "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};\n"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.pairs[0]), "r"(a.pairs[1]), "r"(a.pairs[2]), "r"(a.pairs[3]), "r"(b.pairs[0]),
        "r"(b.pairs[1]));
#else
  static_cast<void>(c);
  static_cast<void>(a);
  static_cast<void>(b);
  asm volatile("trap;\n");  // the backend does not choose this tier below sm_80
#endif
#else
  MmaLane own{a, b, {c[0], c[1], c[2], c[3]}};
  Launch& launch = Launch::current();
  auto* lanes = launch.exchange("mma.sync.m16n8k16", kFullMask, &own, sizeof own, Place::current(),
                                &mma_of_warp);
  std::memcpy(&own, lanes[launch.lane()], sizeof own);
  for (int e = 0; e < 4; ++e) c[e] = own.c[e];
#endif
}

// Four 8×8 matrices of halves from shared memory (ldmatrix.x4): lane l gives the address of row
// l % 8 of matrix l / 8; each lane receives elements (2·member, +1) of row `group` of each matrix.
__device__ __forceinline__ void load_matrices(std::uint32_t (&out)[4], const void* row) {
#if defined(__CUDACC__)
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(address));
#else
  Launch& launch = Launch::current();
  auto* lanes = launch.exchange("ldmatrix", kFullMask, &row, sizeof row, Place::current());
  const unsigned lane = launch.lane();
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    const auto* source = lane_value<const unsigned char*>(lanes, 8 * matrix + lane / 4);
    std::memcpy(&out[matrix], source + 4 * (lane % 4), sizeof out[matrix]);
  }
#endif
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
