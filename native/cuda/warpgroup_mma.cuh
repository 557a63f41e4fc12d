#pragma once
// Products of a warpgroup (four warps): m64n256k16, fp16 in, float32 sums, both operands in shared
// memory (wgmma, sm_90a; and the emulated device).
//
// Operands are rows of k: slabs of 64 elements (128 bytes), as tile_copy.cuh brings them; a group
// of 8 rows is 1024 bytes. Lane l of warp w holds the rows 16 w + l/4 and + 8 more:
//   sums[4 n + 2 half + e]  row 16 w + l/4 + 8 half, column 8 n + 2 (l mod 4) + e
//
// A product reads and writes from when it is issued until its group has been waited for; in
// between, sums and operands belong to it.

#include "cuda/tile_copy.cuh"

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

// sums = rows · columnsᵀ, or += where `accumulates`.
__device__ __forceinline__ void warpgroup_multiply(float (&sums)[kWarpgroupSums],
                                                   std::uint64_t rows, std::uint64_t columns,
                                                   bool accumulates) {
#if !defined(__CUDACC__)
  Thread& thread = Launch::current().running();
  thread.products.push_back({rows, columns, sums, accumulates, thread.product_group});
#elif defined(ALPHAMARGIN_HOPPER)
  asm volatile(
      "{\n"
      ".reg .pred accumulates;\n"
      "setp.ne.b32 accumulates, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, "
      "%127 "
      "}, %128, %129, accumulates, 1, 1, 0, 0;\n"
      "}\n"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]), "+f"(sums[4]), "+f"(sums[5]),
        "+f"(sums[6]), "+f"(sums[7]), "+f"(sums[8]), "+f"(sums[9]), "+f"(sums[10]), "+f"(sums[11]),
        "+f"(sums[12]), "+f"(sums[13]), "+f"(sums[14]), "+f"(sums[15]), "+f"(sums[16]),
        "+f"(sums[17]), "+f"(sums[18]), "+f"(sums[19]), "+f"(sums[20]), "+f"(sums[21]),
        "+f"(sums[22]), "+f"(sums[23]), "+f"(sums[24]), "+f"(sums[25]), "+f"(sums[26]),
        "+f"(sums[27]), "+f"(sums[28]), "+f"(sums[29]), "+f"(sums[30]), "+f"(sums[31]),
        "+f"(sums[32]), "+f"(sums[33]), "+f"(sums[34]), "+f"(sums[35]), "+f"(sums[36]),
        "+f"(sums[37]), "+f"(sums[38]), "+f"(sums[39]), "+f"(sums[40]), "+f"(sums[41]),
        "+f"(sums[42]), "+f"(sums[43]), "+f"(sums[44]), "+f"(sums[45]), "+f"(sums[46]),
        "+f"(sums[47]), "+f"(sums[48]), "+f"(sums[49]), "+f"(sums[50]), "+f"(sums[51]),
        "+f"(sums[52]), "+f"(sums[53]), "+f"(sums[54]), "+f"(sums[55]), "+f"(sums[56]),
        "+f"(sums[57]), "+f"(sums[58]), "+f"(sums[59]), "+f"(sums[60]), "+f"(sums[61]),
        "+f"(sums[62]), "+f"(sums[63]), "+f"(sums[64]), "+f"(sums[65]), "+f"(sums[66]),
        "+f"(sums[67]), "+f"(sums[68]), "+f"(sums[69]), "+f"(sums[70]), "+f"(sums[71]),
        "+f"(sums[72]), "+f"(sums[73]), "+f"(sums[74]), "+f"(sums[75]), "+f"(sums[76]),
        "+f"(sums[77]), "+f"(sums[78]), "+f"(sums[79]), "+f"(sums[80]), "+f"(sums[81]),
        "+f"(sums[82]), "+f"(sums[83]), "+f"(sums[84]), "+f"(sums[85]), "+f"(sums[86]),
        "+f"(sums[87]), "+f"(sums[88]), "+f"(sums[89]), "+f"(sums[90]), "+f"(sums[91]),
        "+f"(sums[92]), "+f"(sums[93]), "+f"(sums[94]), "+f"(sums[95]), "+f"(sums[96]),
        "+f"(sums[97]), "+f"(sums[98]), "+f"(sums[99]), "+f"(sums[100]), "+f"(sums[101]),
        "+f"(sums[102]), "+f"(sums[103]), "+f"(sums[104]), "+f"(sums[105]), "+f"(sums[106]),
        "+f"(sums[107]), "+f"(sums[108]), "+f"(sums[109]), "+f"(sums[110]), "+f"(sums[111]),
        "+f"(sums[112]), "+f"(sums[113]), "+f"(sums[114]), "+f"(sums[115]), "+f"(sums[116]),
        "+f"(sums[117]), "+f"(sums[118]), "+f"(sums[119]), "+f"(sums[120]), "+f"(sums[121]),
        "+f"(sums[122]), "+f"(sums[123]), "+f"(sums[124]), "+f"(sums[125]), "+f"(sums[126]),
        "+f"(sums[127])
      : "l"(rows), "l"(columns), "r"(static_cast<std::int32_t>(accumulates)));
#else
  static_cast<void>(sums), static_cast<void>(rows), static_cast<void>(columns);
  static_cast<void>(accumulates);
#endif
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
