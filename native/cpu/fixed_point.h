#pragma once
// Unit vectors as 16-bit fixed-point numbers, in the order in which the filter reads them.
//
//   x̃_k = round(S x̂_k)/S,  S = 32767;  c̃ = (Σ x_q w_q)/S²
//
// Why fixed point and not bfloat16: the elements of a unit vector have one common scale, so all 15
// bits serve (‖x̂ − x̃‖ ≤ √D/2S, 7e-4 for the cosine at D = 512, where bfloat16 has 4e-3), and sums
// of integers are exact: every kernel set gives the same survivors, in whatever order it adds.
// |x_q·w_q| ≤ (S + √D/2)² < 2^31 by Cauchy–Schwarz; partial sums may wrap, the total does not.
//
// Layout: a group is 4 prototypes, a chunk 8 elements; [group][chunk][prototype][element]. One
// chunk of a group is a cache line, which meets a chunk of an embedding repeated four times. A
// prototype's own elements are 16 bytes in every line, so that rewriting one touches D/8 lines, not
// D/2. Embeddings lie in panels: [panel][chunk][row][element], 8 rows, or 4 where the last has no
// more.

#include <cstddef>
#include <cstdint>

namespace alphamargin {

inline constexpr double kFixedScale = 32767;
inline constexpr std::size_t kChunk = 8;
inline constexpr std::size_t kGroup = 4;
inline constexpr std::size_t kFilterRows = 8;
inline constexpr std::size_t kFilterRowsShort = 4;
// Groups are read this many at a time; a shadow is filled up with zeros to a multiple.
inline constexpr std::size_t kGroupsPerStep = 6;
inline constexpr std::size_t kIdentitiesPerStep = kGroup * kGroupsPerStep;

// Largest rounding error of an element in units of 1/S: half a unit, and what the float32 product
// before the rounding may be off.
inline constexpr double kFixedRounding = 0.504;

inline std::size_t rounded_up(std::size_t value, std::size_t to) {
  return (value + to - 1) / to * to;
}

// A class that passed the filter.
struct FilterHit {
  std::uint32_t place;  // 16·(identity − first identity of the piece) + row in the panel
  float cosine;         // approximate
};

inline constexpr std::uint32_t kRowsPerPlace = 16;

// What one call of the filter kernel reads: a panel of embeddings and a run of groups.
struct FilterBlock {
  std::size_t chunks;
  std::size_t rows;            // kFilterRows or kFilterRowsShort
  const std::int16_t* panel;   // [chunks][rows][kChunk]
  const std::int32_t* bounds;  // [rows]; a class survives when its dot product is above
  const std::int16_t* groups;  // [group_count][chunks][kGroup][kChunk]
  std::size_t group_count;     // a multiple of kGroupsPerStep
};

}  // namespace alphamargin
