#include <string>

#include "common/failure.h"
#include "cuda/device_context.h"
#include "cuda/tile_map.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

#if defined(__CUDACC__)
namespace {

// From the driver that is running: the addon is not linked to it.
using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

EncodeTiled encode_tiled() {
  constexpr const char* kName = "cuTensorMapEncodeTiled";
  constexpr unsigned kFirstVersion = 12000;
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion(kName, &entry, kFirstVersion, cudaEnableDefault, &found),
        kName);
  if (found != cudaDriverEntryPointSuccess || entry == nullptr) {
    throw Failure(FailureCode::kDevice, std::string("the CUDA driver has no ") + kName);
  }
  return reinterpret_cast<EncodeTiled>(entry);
}

}  // namespace

TileMap tile_map(const __half* matrix, std::size_t rows, std::size_t columns,
                 std::size_t tile_rows) {
  static const EncodeTiled encode = encode_tiled();
  constexpr unsigned kTileColumns = 64;  // 128 bytes, what the swizzle covers
  const cuuint64_t sizes[2] = {columns, rows};
  const cuuint64_t pitch = columns * sizeof(__half);
  const cuuint32_t tile[2] = {kTileColumns, static_cast<cuuint32_t>(tile_rows)};
  const cuuint32_t steps[2] = {1, 1};
  TileMap result;
  const CUresult status =
      encode(&result.map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, const_cast<__half*>(matrix), sizes,
             &pitch, tile, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Failure(FailureCode::kDevice,
                  "cuTensorMapEncodeTiled failed with error " + std::to_string(status));
  }
  return result;
}
#else
TileMap tile_map(const __half* matrix, std::size_t rows, std::size_t columns,
                 std::size_t tile_rows) {
  const std::size_t bytes = columns * sizeof(__half);
  return {reinterpret_cast<const unsigned char*>(matrix), rows, bytes, bytes, tile_rows};
}
#endif

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
