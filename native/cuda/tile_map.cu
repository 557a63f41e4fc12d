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

TileMap tile_map(const void* matrix, std::size_t rows, std::size_t row_bytes,
                 std::size_t tile_rows) {
  static const EncodeTiled encode = encode_tiled();
  constexpr unsigned kTileBytes = 128;  // what the swizzle covers
  const cuuint64_t sizes[2] = {row_bytes, rows};
  const cuuint64_t pitch = row_bytes;
  const cuuint32_t tile[2] = {kTileBytes, static_cast<cuuint32_t>(tile_rows)};
  const cuuint32_t steps[2] = {1, 1};
  TileMap result;
  const CUresult status =
      encode(&result.map, CU_TENSOR_MAP_DATA_TYPE_UINT8, 2, const_cast<void*>(matrix), sizes,
             &pitch, tile, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS) {
    throw Failure(FailureCode::kDevice,
                  "cuTensorMapEncodeTiled failed with error " + std::to_string(status));
  }
  return result;
}
#else
TileMap tile_map(const void* matrix, std::size_t rows, std::size_t row_bytes,
                 std::size_t tile_rows) {
  return {static_cast<const unsigned char*>(matrix), rows, row_bytes, row_bytes, tile_rows};
}
#endif

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
