#pragma once
// Unit vectors as bytes with a scale of their own, in the order in which the filter reads them.
//
//   w̃ = q/S,  q_k = round(S ŵ_k),  S = 127/max_k |ŵ_k|       and x̃ = p/T of an embedding likewise
//   c̃ = Σ p_k q_k /(S T)
//   c − c̃ = x̂·(ŵ − w̃) + (x̂ − x̃)·w̃,  so  |c − c̃| ≤ ρ + r(1 + ρ),  ρ = ‖ŵ − w̃‖,  r = ‖x̂ − x̃‖
//
// Both residuals are those that the roundings left (0.007 each at D = 512), not what they could
// have left. They are certain but coarse: what passes is looked at again in float32
// (prototype_filter.h). Why bytes all the same: a product of them costs half of what one of 16-bit
// numbers does, and half as much comes from memory. Twice the bytes for the second look as well
// were tried: no faster than the float32 rows, which are needed in the end.
//
// Sums are exact integers in any order: kernel sets differ only where they need smaller p
// (KernelSet::embedding_levels). Bytes of a prototype are stored as q + 128: processors multiply
// unsigned bytes by signed ones. What that adds, 128 Σ p_k, is the same for all prototypes.
//
// Layout: a group is 4 prototypes, a chunk 16 elements; [group][chunk][prototype][element]. One
// chunk of a group is a cache line, which meets a chunk of an embedding repeated four times. A
// prototype's own elements are 16 bytes in every line, so that rewriting one touches D/16 lines,
// not D/4. Embeddings lie in panels: [panel][chunk][row][element], 8 rows, or 4 where the last has
// no more; for a kernel that takes many rows at once, row after row. Scales: [group][2][prototype],
// S and S ρ.

#include <cstddef>
#include <cstdint>

namespace alphamargin {

inline constexpr int kPrototypeLevels = 127;
inline constexpr std::uint8_t kStoredZero = 128;
inline constexpr std::size_t kChunk = 16;
inline constexpr std::size_t kGroup = 4;
inline constexpr std::size_t kFilterRows = 8;
inline constexpr std::size_t kFilterRowsShort = 4;
// Groups are read this many at a time; a shadow is filled up with zeros to a multiple.
inline constexpr std::size_t kGroupsPerStep = 6;
inline constexpr std::size_t kIdentitiesPerStep = kGroup * kGroupsPerStep;
// A kernel for many rows at once (KernelSet::filter_many) takes so many groups, rows and elements
// at a time. Of embeddings it reads what makes rows and elements multiples of them, counted from
// the first row it is given.
inline constexpr std::size_t kManyGroups = 8;
inline constexpr std::size_t kManyRows = 16;
inline constexpr std::size_t kManyElements = 64;
// Rows in float32 that a kernel asks for in a step: a line of each for every chunk.
inline constexpr std::size_t kRowsPerStep = 2;
inline constexpr std::size_t kGroupsPerRow = kGroupsPerStep / kRowsPerStep;
// Sums of wider vectors could leave 32 bits.
inline constexpr std::size_t kWidestShadow = std::size_t{1} << 16;

inline std::size_t rounded_up(std::size_t value, std::size_t to) {
  return (value + to - 1) / to * to;
}

// Bytes and scales of a prototype.
inline std::size_t shadow_bytes_per_identity(std::size_t dim) {
  return rounded_up(dim, kChunk) + 2 * sizeof(float);
}

// Room that KernelSet::filter_many needs.
inline std::size_t packed_bytes(std::size_t chunks) {
  return kManyGroups * kGroup * rounded_up(chunks * kChunk, kManyElements);
}

// What one call of the filter kernel reads: a panel of embeddings and a run of groups. A class
// passes when Σ p q > lower·S − spread·S ρ, with
//   lower = T·(bound − r),  spread = T·(1 + r):
// then c̃ > bound − ρ − r(1 + ρ).
struct FilterBlock {
  std::size_t chunks;
  std::size_t rows;             // kFilterRows or kFilterRowsShort; filter_many: of several panels
  const std::int8_t* panel;     // [chunks][rows][kChunk]; filter_many: [rows][chunks][kChunk]
  const std::int32_t* offsets;  // [rows], 128 Σ p
  const float* lowers;          // [rows]; ±∞: none passes, all do
  const float* spreads;         // [rows]
  const std::uint8_t* groups;   // [group_count][chunks][kGroup][kChunk]
  const float* scales;          // [group_count][2][kGroup]; prototypes whose S is 0 never pass
  std::size_t group_count;      // a multiple of kGroupsPerStep
  // [group_count/kGroupsPerStep][kRowsPerStep] rows of kChunk·chunks float32 elements that will be
  // needed soon, for a kernel to ask for meanwhile, as far as the second-level cache.
  const float* const* ahead;
  // For filter_many:
  std::size_t rows_ahead;   // how many there are of those
  std::size_t mask_stride;  // from the masks of a panel to the next
  std::uint8_t* packed;     // [packed_bytes(chunks)]
};

// Which classes of a group passed for which rows of a panel: bit 16·⌊row/4⌋ + 4·class + row mod 4.
using GroupMask = std::uint32_t;

// The same as a list: kRowsPerPlace·class + row, group after group, in a group the rows 0 to 3
// first, in ascending order of classes.
inline constexpr std::uint32_t kRowsPerPlace = 16;
// More than there are may be written.
inline constexpr std::size_t kRoomForPlaces = 16;

}  // namespace alphamargin
