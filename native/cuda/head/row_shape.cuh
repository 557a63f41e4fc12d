#pragma once
// Which elements of a row a lane of a warp has, and how it reads and writes them.

#include <type_traits>

#include "cuda/head/prototype_row.cuh"
#include "cuda/thread_group.cuh"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// Rows [D] of which a lane has `columns` elements, `together` of them beside each other: one
// instruction reads or writes these. More than one together: D is 32 · columns. One: D is at most
// that, and lanes beyond it have zeros.
template <unsigned columns, unsigned together>
struct RowShape {
  static constexpr unsigned kColumns = columns;
  static constexpr bool kIsWhole = together > 1;
  static_assert(together == 1 || together == 2 || together == 4);
  static_assert(columns % together == 0);

  template <class T>
  using Vector =
      std::conditional_t<sizeof(T) == 4, std::conditional_t<together == 4, float4, float2>,
                         std::conditional_t<together == 4, uint2, std::uint32_t>>;

  static __device__ std::size_t element(unsigned column) {
    return std::size_t{together} * (WarpGroup::rank() + kWarpSize * (column / together)) +
           column % together;
  }
  static __device__ bool has(unsigned column, std::size_t dim) {
    return kIsWhole || element(column) < dim;
  }

  // T: float, or what has 16 bits.
  template <class T>
  static __device__ __forceinline__ void load(const T* row, std::size_t dim, T (&out)[columns]) {
#pragma unroll
    for (unsigned c = 0; c < columns; c += together) {
      if constexpr (kIsWhole) {
        const auto part = *reinterpret_cast<const Vector<T>*>(row + element(c));
        static_assert(sizeof part == together * sizeof(T));
        memcpy(&out[c], &part, sizeof part);
      } else {
        out[c] = has(c, dim) ? row[element(c)] : T{};
      }
    }
  }
  template <class T>
  static __device__ __forceinline__ void store(T* row, std::size_t dim,
                                               const T (&values)[columns]) {
#pragma unroll
    for (unsigned c = 0; c < columns; c += together) {
      if constexpr (kIsWhole) {
        Vector<T> part;
        memcpy(&part, &values[c], sizeof part);
        *reinterpret_cast<Vector<T>*>(row + element(c)) = part;
      } else {
        if (has(c, dim)) row[element(c)] = values[c];
      }
    }
  }

  // A prototype, whole or in halves.
  static __device__ __forceinline__ void load(const PrototypeRow& row, std::size_t dim,
                                              float (&out)[columns]) {
    if (row.whole() != nullptr) return load(row.whole(), dim, out);
    std::uint16_t upper[columns];
    std::uint16_t lower[columns];
    load(row.split().upper, dim, upper);
    load(row.split().lower, dim, lower);
#pragma unroll
    for (unsigned c = 0; c < columns; ++c) out[c] = joined(upper[c], lower[c]);
  }
  static __device__ __forceinline__ void store(const PrototypeRow& row, std::size_t dim,
                                               const float (&values)[columns]) {
    if (row.whole() != nullptr) return store(row.whole(), dim, values);
    std::uint16_t upper[columns];
    std::uint16_t lower[columns];
#pragma unroll
    for (unsigned c = 0; c < columns; ++c) {
      upper[c] = upper_half(values[c]);
      lower[c] = lower_half(values[c]);
    }
    store(row.split().upper, dim, upper);
    store(row.split().lower, dim, lower);
  }
};

// Of the widest row that a warp updates.
inline constexpr unsigned kMostRowColumns = 16;

// body(shape) with the shape of rows of that width: those of faces and speakers, 128, 192, 256 and
// 512, are whole.
template <class Body>
void with_row_shape(std::size_t dim, const Body& body) {
  switch (dim) {
    case 128:
      return body(RowShape<4, 4>{});
    case 192:
      return body(RowShape<6, 2>{});
    case 256:
      return body(RowShape<8, 4>{});
    case 512:
      return body(RowShape<16, 4>{});
    default:
      break;
  }
  const std::size_t columns = (dim + kWarpSize - 1) / kWarpSize;
  if (columns <= 4) return body(RowShape<4, 1>{});
  if (columns <= 8) return body(RowShape<8, 1>{});
  return body(RowShape<kMostRowColumns, 1>{});
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
