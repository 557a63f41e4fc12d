#pragma once
// What a copy of tiles (tile_copy.cuh) has to know of a matrix in device memory.

#include "cuda/dialect.h"

#if defined(__CUDACC__)
#include <cuda.h>
#endif

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Passed to a kernel by value, as a __grid_constant__.
#if defined(__CUDACC__)
struct TileMap {
  CUtensorMap map;
};
#endif

// Tiles of `tile_rows` rows (at most 256) of 128 bytes each, of a matrix whose rows of `row_bytes`,
// a multiple of 16, follow each other. What a tile has beyond the matrix is zero. ERR_DEVICE when
// the driver has no such copies.
TileMap tile_map(const void* matrix, std::size_t rows, std::size_t row_bytes,
                 std::size_t tile_rows);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
