#pragma once
// The filter: all cosines of a range of prototypes with a batch, one compare each, nothing stored
// but the survivors.
//
//   survivor (i, j)  ⇔  c̃_ij > bounds[i],   |c̃_ij − c_ij| ≤ slack(i)
//
// Shapes: prototypes [C, D], batch [B, D], bounds [B].
// Two sources of c̃: the 16-bit shadow of the prototypes (fixed_point.h), whose sums are exact
// integers, and where there is none the float32 prototypes themselves, packed on the way, summed
// over ascending k. A class does not depend on its place in a tile either way.
// Traffic: every shadow (or prototype) row comes from memory once and is met by all B rows while it
// is in cache; no [B, C] array exists.

#include <cstdint>
#include <vector>

#include "cpu/embeddings.h"
#include "cpu/fixed_point.h"

namespace alphamargin {

struct PrototypeView {
  const float* rows;    // raw [C, D]
  const double* norms;  // ‖w‖ [C]
  std::size_t identities;
  std::size_t dim;
  const std::int16_t* shadow = nullptr;  // see fixed_point.h; nullptr: none
  // With sub-centres, so many rows one after another belong to one identity; `identities` above is
  // then the number of rows, and what is said of identities here holds for rows.
  std::size_t sub_centres = 1;

  std::size_t classes() const { return identities / sub_centres; }
  const float* row(std::size_t identity) const { return rows + identity * dim; }
};

// Identities of one piece of parallel work: few enough to stay in a core's cache while all rows
// pass over them.
inline constexpr std::size_t kPieceIdentities = 192;
static_assert(kPieceIdentities / 2 % kIdentitiesPerStep == 0);

// Survivors of a piece, panel after panel; within a panel a row's classes ascend.
struct PieceHits {
  explicit PieceHits(MemoryAccount& scratch)
      : hits(make_buffer<FilterHit>(scratch)), ends(make_buffer<std::uint32_t>(scratch)) {}
  Buffer<FilterHit> hits;
  Buffer<std::uint32_t> ends;  // of each panel's hits
};

// Where the kernel writes, which may be many more than there are. For one run after another.
struct FilterRoom {
  explicit FilterRoom(MemoryAccount& scratch)
      : hits(make_buffer<FilterHit>(scratch)), packed(make_buffer<float>(scratch)) {}
  Buffer<FilterHit> hits;
  Buffer<float> packed;  // prototypes, where there is no shadow
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
  // Bytes read for an identity.
  std::size_t bytes_per_identity() const;

  std::size_t sub_centres() const { return prototypes_.sub_centres; }
  bool has_shadow() const { return prototypes_.shadow != nullptr; }

  // Bounds [B] for the rows of panels [first_panel, last_panel) in the runs that follow. A panel
  // whose rows all have +∞ is passed over.
  void set_bounds(const float* bounds, std::size_t first_panel, std::size_t last_panel);

  // Survivors of the panels among identities [begin, end), at most kPieceIdentities, begin a
  // multiple of kIdentitiesPerStep; they are added to `found`.
  void run(std::size_t begin, std::size_t end, std::size_t first_panel, std::size_t last_panel,
           FilterRoom& room, PieceHits& found) const;

 private:
  void prepare_fixed(Runtime& runtime);
  void prepare_single(Runtime& runtime, MemoryAccount& scratch);
  void run_fixed(std::size_t begin, std::size_t end, std::size_t first_panel,
                 std::size_t last_panel, FilterRoom& room, PieceHits& found) const;
  void run_single(std::size_t begin, std::size_t end, std::size_t first_panel,
                  std::size_t last_panel, FilterRoom& room, PieceHits& found) const;

  const PrototypeView& prototypes_;
  const Embeddings& batch_;
  std::size_t panel_rows_;
  std::size_t panel_count_;
  std::vector<std::uint8_t> is_active_;  // panels with a bound that is not +∞
  Buffer<double> slacks_;
  Buffer<std::int16_t> fixed_panels_;
  Buffer<std::int32_t> fixed_bounds_;
  Buffer<float> panels_;
  Buffer<float> bounds_;
};

// Cosine of an embedding with a prototype, float64 from the float32 originals.
double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity);

// The same from the product of the two, as KernelSet::dot or dot_wide gives it.
double exact_cosine(const PrototypeView& prototypes, const Embeddings& batch, std::size_t row,
                    std::size_t identity, double product);

}  // namespace alphamargin
