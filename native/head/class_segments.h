#pragma once
// The transposed candidates: which rows of the batch have a class among theirs, class after class.
// Rescoring, the gradient of the prototypes and their update go through it, so that a prototype row
// comes from memory once however many rows of the batch it concerns.
//
// Sums over all classes are taken in parts, whose number depends on C alone. Ranges, the pieces of
// parallel work, are parts, or where there are more threads than these, parts cut finer.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "common/memory_account.h"

namespace alphamargin {

struct HeadInputs;
struct SolvedBatch;

struct ClassPair {
  std::uint32_t row;
  std::uint32_t slot;  // index into the row's entries, or kTargetSlot
};

inline constexpr std::uint32_t kTargetSlot = 0xffffffffu;

// One class and its pairs, which ascend by row.
struct ClassSegment {
  std::int32_t identity;
  std::uint32_t begin;  // in the pairs of its range
  std::uint32_t end;
};

struct ClassRange {
  explicit ClassRange(MemoryAccount& scratch)
      : segments(make_buffer<ClassSegment>(scratch)), pairs(make_buffer<ClassPair>(scratch)) {}
  Buffer<ClassSegment> segments;  // ascending by identity
  Buffer<ClassPair> pairs;
};

inline std::size_t class_part_count(std::size_t identities) {
  return std::bit_floor(std::clamp<std::size_t>(identities / 1024, 1, 16));
}

// First class of a part, or of the one behind the last.
inline std::size_t class_part_begin(std::size_t identities, std::size_t part) {
  return identities * part / class_part_count(identities);
}

// Pairs of all entries and of all targets.
std::vector<ClassRange> class_ranges(const HeadInputs& inputs, const SolvedBatch& solved);

// How many classes ahead their rows are asked for.
inline constexpr std::size_t kPrefetchAhead = 4;

}  // namespace alphamargin
