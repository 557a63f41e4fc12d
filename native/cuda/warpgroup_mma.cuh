#pragma once
// Products of a warpgroup (four warps), both operands in shared memory (wgmma, sm_90a; and the
// emulated device): m64n256k16, fp16 or bfloat16 in, float32 sums; m64n256k32, int8 in, int32 sums.
//
// Operands are rows of k: slabs of 128 bytes, as tile_copy.cuh brings them; a group of 8 rows is
// 1024 bytes. Lane l of warp w holds the rows 16 w + l/4 and + 8 more:
//   sums[4 n + 2 half + e]  row 16 w + l/4 + 8 half, column 8 n + 2 (l mod 4) + e
//
// A product reads and writes from when it is issued until its group has been waited for; in
// between, sums and operands belong to it.

#include <type_traits>

#include "cuda/tile_copy.cuh"

#if !defined(__CUDACC__)
#include "emulation/tensor_elements.h"
#endif

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

inline constexpr unsigned kWarpgroupRows = 64;
inline constexpr unsigned kWarpgroupColumns = 256;
inline constexpr unsigned kWarpgroupSums = 128;  // of a thread
inline constexpr unsigned kWarpgroupDepthBytes = 32;
#if !defined(__CUDACC__)
static_assert(kWarpgroupColumns == kProductColumns && kWarpgroupSums == kProductSums);
#endif

// Descriptor of an operand that begins at `place`: a multiple of 1024 bytes for its first 32 bytes
// of k, and 32, 64 or 96 more for the next. Fields of the PTX manual: address/16, (16/16), stride
// of 8 rows/16, swizzle of 128 bytes.
__device__ __forceinline__ std::uint64_t warpgroup_operand(const void* place) {
#if defined(__CUDACC__)
  const std::uint32_t address = shared_address(place);
#else
  const std::uint32_t address = Launch::current().shared_address(place);
#endif
  constexpr std::uint64_t kStride = 8 * kTileRow / 16;
  return std::uint64_t{address >> 4 & 0x3fffu} | std::uint64_t{1} << 16 | kStride << 32 |
         std::uint64_t{1} << 62;
}

// Before the first product after sums were written by the threads.
__device__ __forceinline__ void warpgroup_begin() {
#if defined(ALPHAMARGIN_HOPPER)
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
#endif
}

// Ends a group of products.
__device__ __forceinline__ void warpgroup_commit() {
#if !defined(__CUDACC__)
  ++Launch::current().running().product_group;
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory");
#endif
}

// Until at most `kPending` groups are not complete.
template <int kPending>
__device__ __forceinline__ void warpgroup_wait() {
#if !defined(__CUDACC__)
  finish_products(kPending);
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kPending) : "memory");
#endif
}

// Once all groups are complete, before the sums are read: without it the compiler knows of no
// reason not to read them before the wait.
template <class Sum>
__device__ __forceinline__ void warpgroup_settle(Sum (&sums)[kWarpgroupSums]) {
  warpgroup_wait<0>();
#if defined(ALPHAMARGIN_HOPPER)
#pragma unroll
  for (unsigned i = 0; i < kWarpgroupSums; ++i) {
    if constexpr (std::is_same_v<Sum, float>) {
      asm volatile("" : "+f"(sums[i])::"memory");
    } else {
      asm volatile("" : "+r"(sums[i])::"memory");
    }
  }
#else
  static_cast<void>(sums);
#endif
}

// Registers of a thread from here on, a multiple of 8: all warps of a warpgroup ask for the same.
template <unsigned kRegisters>
__device__ __forceinline__ void take_registers() {
#if defined(ALPHAMARGIN_HOPPER)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
#endif
}
template <unsigned kRegisters>
__device__ __forceinline__ void give_registers() {
#if defined(ALPHAMARGIN_HOPPER)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(kRegisters));
#endif
}

#if defined(ALPHAMARGIN_HOPPER)
// Constraints of eight sums.
#define ALPHAMARGIN_SUMS(kind, i)                                                            \
  kind(sums[i]), kind(sums[i + 1]), kind(sums[i + 2]), kind(sums[i + 3]), kind(sums[i + 4]), \
      kind(sums[i + 5]), kind(sums[i + 6]), kind(sums[i + 7])

// The instruction `name` on 128 sums whose constraint is `kind`; `modifiers` are those of its
// operands.
#define ALPHAMARGIN_WGMMA(name, kind, modifiers)                                              \
  asm volatile(                                                                               \
      "{\n"                                                                                   \
      ".reg .pred accumulates;\n"                                                             \
      "setp.ne.b32 accumulates, %130, 0;\n"                                                   \
      "wgmma.mma_async.sync.aligned." name                                                    \
      " {"                                                                                    \
      "%0, %1, %2, %3, %4, %5, %6, %7, "                                                      \
      "%8, %9, %10, %11, %12, %13, %14, %15, "                                                \
      "%16, %17, %18, %19, %20, %21, %22, %23, "                                              \
      "%24, %25, %26, %27, %28, %29, %30, %31, "                                              \
      "%32, %33, %34, %35, %36, %37, %38, %39, "                                              \
      "%40, %41, %42, %43, %44, %45, %46, %47, "                                              \
      "%48, %49, %50, %51, %52, %53, %54, %55, "                                              \
      "%56, %57, %58, %59, %60, %61, %62, %63, "                                              \
      "%64, %65, %66, %67, %68, %69, %70, %71, "                                              \
      "%72, %73, %74, %75, %76, %77, %78, %79, "                                              \
      "%80, %81, %82, %83, %84, %85, %86, %87, "                                              \
      "%88, %89, %90, %91, %92, %93, %94, %95, "                                              \
      "%96, %97, %98, %99, %100, %101, %102, %103, "                                          \
      "%104, %105, %106, %107, %108, %109, %110, %111, "                                      \
      "%112, %113, %114, %115, %116, %117, %118, %119, "                                      \
      "%120, %121, %122, %123, %124, %125, %126, %127 "                                       \
      "}, %128, %129, accumulates" modifiers                                                  \
      ";\n"                                                                                   \
      "}\n"                                                                                   \
      : ALPHAMARGIN_SUMS(kind, 0), ALPHAMARGIN_SUMS(kind, 8), ALPHAMARGIN_SUMS(kind, 16),     \
        ALPHAMARGIN_SUMS(kind, 24), ALPHAMARGIN_SUMS(kind, 32), ALPHAMARGIN_SUMS(kind, 40),   \
        ALPHAMARGIN_SUMS(kind, 48), ALPHAMARGIN_SUMS(kind, 56), ALPHAMARGIN_SUMS(kind, 64),   \
        ALPHAMARGIN_SUMS(kind, 72), ALPHAMARGIN_SUMS(kind, 80), ALPHAMARGIN_SUMS(kind, 88),   \
        ALPHAMARGIN_SUMS(kind, 96), ALPHAMARGIN_SUMS(kind, 104), ALPHAMARGIN_SUMS(kind, 112), \
        ALPHAMARGIN_SUMS(kind, 120)                                                           \
      : "l"(rows), "l"(columns), "r"(static_cast<std::int32_t>(accumulates)))
#endif

#if !defined(__CUDACC__)
template <class Elements>
void issue_product(typename Elements::Sum (&sums)[kWarpgroupSums], std::uint64_t rows,
                   std::uint64_t columns, bool accumulates) {
  Thread& thread = Launch::current().running();
  thread.products.push_back(
      {rows, columns, sums, accumulates, thread.product_group, &multiply_by<Elements>});
}
#endif

// sums = rows · columnsᵀ, or += where `accumulates`.
__device__ __forceinline__ void warpgroup_multiply_half(float (&sums)[kWarpgroupSums],
                                                        std::uint64_t rows, std::uint64_t columns,
                                                        bool accumulates) {
#if !defined(__CUDACC__)
  issue_product<HalfElements>(sums, rows, columns, accumulates);
#elif defined(ALPHAMARGIN_HOPPER)
  ALPHAMARGIN_WGMMA("m64n256k16.f32.f16.f16", "+f", ", 1, 1, 0, 0");
#else
  static_cast<void>(sums), static_cast<void>(rows), static_cast<void>(columns);
  static_cast<void>(accumulates);
#endif
}
__device__ __forceinline__ void warpgroup_multiply_bfloat16(float (&sums)[kWarpgroupSums],
                                                            std::uint64_t rows,
                                                            std::uint64_t columns,
                                                            bool accumulates) {
#if !defined(__CUDACC__)
  issue_product<Bfloat16Elements>(sums, rows, columns, accumulates);
#elif defined(ALPHAMARGIN_HOPPER)
  ALPHAMARGIN_WGMMA("m64n256k16.f32.bf16.bf16", "+f", ", 1, 1, 0, 0");
#else
  static_cast<void>(sums), static_cast<void>(rows), static_cast<void>(columns);
  static_cast<void>(accumulates);
#endif
}
__device__ __forceinline__ void warpgroup_multiply_int8(std::int32_t (&sums)[kWarpgroupSums],
                                                        std::uint64_t rows, std::uint64_t columns,
                                                        bool accumulates) {
#if !defined(__CUDACC__)
  issue_product<Int8Elements>(sums, rows, columns, accumulates);
#elif defined(ALPHAMARGIN_HOPPER)
  ALPHAMARGIN_WGMMA("m64n256k32.s32.s8.s8", "+r", "");
#else
  static_cast<void>(sums), static_cast<void>(rows), static_cast<void>(columns);
  static_cast<void>(accumulates);
#endif
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
