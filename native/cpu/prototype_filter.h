#pragma once
// The filter: all cosines of a range of prototypes with a batch, one compare each, nothing stored
// but the survivors.
//
//   survivor (i, j)  ⇔  c̃_ij > bounds[i],   |c̃_ij − c_ij| ≤ slack(i)
//
// Shapes: prototypes [C, D], batch [B, D], bounds [B].
// Two sources of c̃. Where there is a shadow of the prototypes in bytes (byte_vectors.h), its sums
// sort out most classes that are below the bound, and none above; what they leave is looked at
// again soon after, in float32, which gives c̃. Without a shadow the float32 prototypes themselves
// are packed on the way and summed over ascending k. Survivors depend neither on a class's place in
// a tile nor, with a shadow, on the kernel set. Traffic: every shadow (or prototype) row comes from
// memory once and is met by all B rows while it is in cache; no [B, C] array exists.

#include <array>
#include <cstdint>
#include <vector>

#include "cpu/byte_vectors.h"
#include "cpu/embeddings.h"
#include "cpu/kernel_set.h"

namespace alphamargin {

struct PrototypeView {
  const float* rows;    // raw [C, D]
  const double* norms;  // ‖w‖ [C]
  std::size_t identities;
  std::size_t dim;
  // See byte_vectors.h; nullptr: none.
  const std::uint8_t* shadow = nullptr;
  const float* shadow_scales = nullptr;
  // With sub-centres, so many rows one after another belong to one identity; `identities` above is
  // then the number of rows, and what is said of identities here holds for rows.
  std::size_t sub_centres = 1;

  std::size_t classes() const { return identities / sub_centres; }
  const float* row(std::size_t identity) const { return rows + identity * dim; }
};

// Asks for a row that will be needed soon, as far as the second-level cache: whole rows at a time
// are more than the first level can have under way.
inline void prefetch_row(const float* row, std::size_t dim) {
  constexpr std::size_t kLine = 64 / sizeof(float);
  for (std::size_t k = 0; k < dim; k += kLine) __builtin_prefetch(row + k, 0, 2);
}

// Identities of one piece of parallel work: few enough to stay in a core's cache while all rows
// pass over them.
inline constexpr std::size_t kPieceIdentities = 192;
static_assert(kPieceIdentities / 2 % kIdentitiesPerStep == 0);

struct FilterHit {
  std::uint32_t place;  // 16·(identity − first identity of the run) + row in the panel
  float cosine;         // within the slack
};
static_assert(kRowsPerPlace >= kFilterRows && kRowsPerPlace >= kLargestTileRows);

// Survivors of a piece, panel after panel; within a panel a row's classes ascend.
struct PieceHits {
  explicit PieceHits(MemoryAccount& scratch)
      : hits(make_buffer<FilterHit>(scratch)), ends(make_buffer<std::uint32_t>(scratch)) {}
  Buffer<FilterHit> hits;
  Buffer<std::uint32_t> ends;  // of each panel's hits
  // What was looked at again, added up over the runs: pairs, and prototypes in each run.
  std::size_t pairs = 0;
  std::size_t prototypes = 0;
};

// Where the kernel writes, which may be many more than there are. For one run after another.
struct FilterRoom {
  explicit FilterRoom(MemoryAccount& scratch)
      : masks(make_buffer<GroupMask>(scratch)),
        places(make_buffer<std::uint32_t>(scratch)),
        packed_bytes(make_buffer<std::uint8_t>(scratch)),
        packed(make_buffer<float>(scratch)) {}
  Buffer<GroupMask> masks;
  Buffer<std::uint32_t> places;
  Buffer<std::uint8_t> packed_bytes;  // see FilterBlock
  Buffer<float> packed;               // prototypes, where there is no shadow
};

class PrototypeFilter {
 public:
  PrototypeFilter(Runtime& runtime, MemoryAccount& scratch, const PrototypeView& prototypes,
                  const Embeddings& batch);

  // The batch in panels of rows.
  std::size_t panel_count() const { return panel_count_; }
  std::size_t panel_rows() const { return panel_rows_; }
  // Certified bound of |c̃ − c| for a row.
  double slack(std::size_t row) const { return slacks_[row]; }
  // Bytes read for an identity, and more for each that is looked at again.
  std::size_t bytes_per_identity() const;
  std::size_t bytes_per_look() const { return prototypes_.dim * sizeof(float); }

  bool has_shadow() const { return prototypes_.shadow != nullptr; }

  // Bounds [B] for the rows of panels [first_panel, last_panel) in the runs that follow. A panel
  // whose rows all have +∞ is passed over.
  void set_bounds(const float* bounds, std::size_t first_panel, std::size_t last_panel);

  // Survivors of the panels among identities [begin, end), at most kPieceIdentities, begin a
  // multiple of kIdentitiesPerStep; they are added to `found`.
  void run(std::size_t begin, std::size_t end, std::size_t first_panel, std::size_t last_panel,
           FilterRoom& room, PieceHits& found) const;

 private:
  // Prototypes of a run that are looked at again, and those of them that have been asked for.
  struct RowsOfRun {
    static constexpr std::size_t kWords = (kPieceIdentities + 63) / 64;
    static constexpr std::size_t kGroupsPerWord = 64 / kGroup;
    std::array<std::uint64_t, kWords> needed{};
    std::array<std::uint64_t, kWords> asked{};

    // `first_group`: a multiple of kGroupsPerWord.
    void need(const GroupMask* masks, std::size_t groups, std::size_t first_group);
    // The lowest that has not been asked for, and has now; kPieceIdentities: none.
    std::size_t next();
    // Whether it has not, and has now.
    bool is_first(std::size_t place);
    std::size_t count() const;
  };

  void prepare_bytes(Runtime& runtime);
  void prepare_single(Runtime& runtime, MemoryAccount& scratch);
  void run_bytes(std::size_t begin, std::size_t end, std::size_t first_panel,
                 std::size_t last_panel, FilterRoom& room, PieceHits& found) const;
  void filter_each(std::size_t begin, std::size_t start, std::size_t stop, FilterBlock& block,
                   FilterRoom& room, RowsOfRun& rows) const;
  void filter_together(std::size_t begin, std::size_t start, std::size_t stop,
                       const FilterBlock& block, FilterRoom& room, RowsOfRun& rows) const;
  void look_again(std::size_t begin, std::size_t first_row, const std::uint32_t* places,
                  std::size_t count, RowsOfRun& rows, PieceHits& found) const;
  void run_single(std::size_t begin, std::size_t end, std::size_t first_panel,
                  std::size_t last_panel, FilterRoom& room, PieceHits& found) const;

  const PrototypeView& prototypes_;
  const Embeddings& batch_;
  std::size_t panel_rows_;
  std::size_t panel_count_;
  bool takes_many_;                      // KernelSet::filter_many filters
  std::vector<std::uint8_t> is_active_;  // panels with a bound that is not +∞
  Buffer<double> slacks_;
  Buffer<float> bounds_;
  // Of embeddings as bytes, see FilterBlock.
  Buffer<std::int8_t> byte_panels_;
  Buffer<std::int32_t> offsets_;
  Buffer<float> scales_;     // T
  Buffer<float> residuals_;  // r
  Buffer<float> lowers_;
  Buffer<float> spreads_;
  Buffer<float> panels_;  // of embeddings in float32
};

// Cosine of an embedding with a prototype, float64 from the float32 originals.
double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity);

// The same from the product of the two, as KernelSet::dot or dot_wide gives it.
double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity, double product);

}  // namespace alphamargin
