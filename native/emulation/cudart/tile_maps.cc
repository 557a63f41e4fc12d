// The one function that the addon asks the driver for: a map of tiles, which only the driver's
// instructions read. Here it is what the emulated device's copies read.

#include <cuda.h>

#include <cstring>
#include <string_view>

#include "emulation/async_engine.h"
#include "emulation/cudart/cudart.h"

namespace alphamargin::emulated::cudart {
namespace {

constexpr std::uint64_t kAddressAlignment = 16;
constexpr cuuint32_t kMostTileRows = 256;

// As cuda.h declares it. What the manual forbids, and what the addon has no use for, is refused.
CUresult encode_tiled(CUtensorMap* map, CUtensorMapDataType type, cuuint32_t rank, void* matrix,
                      const cuuint64_t* sizes, const cuuint64_t* pitches, const cuuint32_t* tile,
                      const cuuint32_t* steps, CUtensorMapInterleave interleave,
                      CUtensorMapSwizzle swizzle, CUtensorMapL2promotion,
                      CUtensorMapFloatOOBfill fill) {
  const auto address = reinterpret_cast<std::uintptr_t>(matrix);
  constexpr cuuint64_t kMostRows = cuuint64_t{1} << 32;
  constexpr cuuint64_t kMostPitch = cuuint64_t{1} << 40;
  const bool is_legal = reinterpret_cast<std::uintptr_t>(map) % alignof(CUtensorMap) == 0 &&
                        address % kAddressAlignment == 0 && rank == 2 && sizes[0] >= 1 &&
                        sizes[0] <= kMostRows && sizes[1] >= 1 && sizes[1] <= kMostRows &&
                        pitches[0] % kAddressAlignment == 0 && pitches[0] >= sizes[0] &&
                        pitches[0] < kMostPitch && tile[0] == kTileRowBytes && tile[1] >= 1 &&
                        tile[1] <= kMostTileRows && steps[0] == 1 && steps[1] == 1;
  const bool is_known =
      type == CU_TENSOR_MAP_DATA_TYPE_UINT8 && interleave == CU_TENSOR_MAP_INTERLEAVE_NONE &&
      swizzle == CU_TENSOR_MAP_SWIZZLE_128B && fill == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
  if (!is_legal || !is_known) return CUDA_ERROR_INVALID_VALUE;
  const TileMap own{static_cast<const unsigned char*>(matrix), sizes[1], sizes[0], pitches[0],
                    tile[1]};
  static_assert(sizeof own <= sizeof *map);
  std::memset(map, 0xff, sizeof *map);
  std::memcpy(map, &own, sizeof own);
  return CUDA_SUCCESS;
}

// Of the type that the header gives it.
constexpr decltype(&cuTensorMapEncodeTiled) kEncodeTiled = &encode_tiled;

}  // namespace
}  // namespace alphamargin::emulated::cudart

namespace cudart = alphamargin::emulated::cudart;

extern "C" cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** entry,
                                                        unsigned version, unsigned long long,
                                                        cudaDriverEntryPointQueryResult* found) {
  *entry = nullptr;
  *found = cudaDriverEntryPointVersionNotSufficent;
  if (static_cast<int>(version) > cudart::machine().driver) return cudaSuccess;
  *found = cudaDriverEntryPointSymbolNotFound;
  if (std::string_view(name) != "cuTensorMapEncodeTiled") return cudaSuccess;
  *entry = reinterpret_cast<void*>(cudart::kEncodeTiled);
  *found = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
