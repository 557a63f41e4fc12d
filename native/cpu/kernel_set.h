#pragma once
// The inner loops that depend on the instruction set. Each set is compiled in a file of its own
// with its own flags and chosen once, at run time, by what the CPU can do.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpu/byte_vectors.h"
#include "math/slope_in_single.h"
#include "math/threshold.h"

namespace alphamargin {

// Sizes that no kernel set exceeds, for buffers on the stack.
inline constexpr std::size_t kLargestTileRows = 12;
inline constexpr std::size_t kLargestTileColumns = 32;

// Elements whose products are summed in float32 before float64 takes over.
inline constexpr std::size_t kDepthBlock = 128;

// ∂w = (initial + Σ_i coefficients[i]·embeddings[i] − projection·ŵ)/‖w‖ of one class, in float64
// and in ascending order of the pairs.
struct ClassGradient {
  const float* initial = nullptr;  // [D] or nullptr: zero
  std::size_t pairs = 0;
  const double* coefficients = nullptr;
  const float* const* embeddings = nullptr;  // unit rows [D]
  double projection = 0;                     // Σ g c
  double inverse_norm = 1;                   // 1/‖w‖
};

// The exponent β(c − reference) − shift of a softmax posterior.
struct SoftmaxTerm {
  double beta;
  double reference;
  double shift;
};

// Of SGD, in float32 but for a gradient of many pairs.
struct DescentRule {
  float rate;
  float momentum;
  double decay;
};

// What belongs to a class whose turn comes soon, for a kernel to ask for line by line while it
// works on another: asked for at once, whole rows are more than the first-level cache can have
// under way, and the arithmetic waits for the requests. nullptr: nothing.
struct RowsAhead {
  const float* row = nullptr;            // [D]
  const float* velocity = nullptr;       // [D]
  const std::uint8_t* shadow = nullptr;  // of its group [kGroup·D]
};

// What rounding a vector left, and the sum of what it was rounded to.
struct Rounding {
  float squares = 0;  // Σ (factor·v_k − q_k)², in float32
  std::int32_t sum = 0;
};

// Not less than √Σ (S v̂_k − q_k)² of a vector of `dim` elements, |q_k| ≤ 2^7: the sum in float32
// may have lost D·2^-24 of itself, every product 2^-17.
inline double residual_of(const Rounding& rounding, std::size_t dim) {
  const auto count = static_cast<double>(dim);
  return std::sqrt(rounding.squares * (1 + (count + 8) * 0x1p-23)) + 0x1p-16 * std::sqrt(count);
}

struct KernelSet {
  const char* name;
  std::size_t tile_rows;     // embeddings per register tile
  std::size_t tile_columns;  // prototypes per register tile, ≤ 32
  int embedding_levels;      // largest |p_k| that `filter` takes of an embedding

  // tile [tile_rows, tile_columns] = left panel · right panel over `depth`; panels are interleaved:
  // left[k·tile_rows + i], right[k·tile_columns + j]. Every element sums over k in ascending order,
  // so it does not depend on its place in the tile.
  void (*multiply)(std::size_t depth, const float* left, const float* right, float* tile);

  // The same with sums that are float64 across blocks of kDepthBlock elements, rounded once; rows
  // of the result are `stride` floats apart.
  void (*multiply_long)(std::size_t depth, const float* left, const float* right, float* out,
                        std::size_t stride);

  // Bit j of masks[i] = tile[i][j] > bounds[i]; returns whether any bit is set.
  bool (*select)(const float* tile, const float* bounds, std::uint32_t* masks);

  // Interleaves `count` rows (stride in floats, each times factors[i]) of `depth` elements into a
  // panel of `width` columns; missing rows become zeros.
  void (*interleave)(const float* rows, std::size_t stride, const float* factors, std::size_t count,
                     std::size_t width, std::size_t depth, float* panel);

  // The same panel from rows that already run across its columns: panel[k·width + j] =
  // rows[k·stride + j]·factors[k] (nullptr: 1), j < count.
  void (*copy_columns)(const float* rows, std::size_t stride, const float* factors,
                       std::size_t count, std::size_t width, std::size_t depth, float* panel);

  // Σ a_k b_k in float64. Products of float32 are exact there and the order of summation is fixed,
  // so every kernel set, and a GPU that follows the order, gives the same bits.
  double (*dot)(const float* a, const float* b, std::size_t count);

  // The same bits, from an `a` of float32 numbers that were converted once for many products.
  // `next` [count]: what will be `b` soon, see RowsAhead.
  double (*dot_wide)(const double* a, const float* b, std::size_t count, const float* next);

  // Σ a_k b_k in float32: 32 sums of every 32nd product, fused, then pairwise. The same bits in
  // every kernel set.
  float (*dot_single)(const float* a, const float* b, std::size_t count);

  // sums[k] += factor · values[k], in float64.
  void (*accumulate)(double factor, const float* values, std::size_t count, double* sums);

  // sums[k] += Σ_i factors[i] · rows[i][k], in float64: what `accumulate` gives row after row.
  void (*accumulate_rows)(std::size_t rows_count, const double* factors, const float* const* rows,
                          std::size_t count, double* sums);

  // The largest |values[k]| of `count` ≥ 1 numbers.
  float (*largest_size)(const float* values, std::size_t count);

  // out[(k/16)·stride + k mod 16] = q_k + zero (mod 256), q_k = round(factor·values[k]) for
  // k < count, ties to even, |q_k| ≤ 127; the last chunk of 16 is filled up with `zero`.
  Rounding (*quantize)(const float* values, float factor, std::size_t count, std::size_t stride,
                       std::uint8_t zero, std::uint8_t* out);

  // The classes of a block that pass: a mask for every group.
  void (*filter)(const FilterBlock& block, GroupMask* masks);

  // The same for many rows at once, masks [rows/kFilterRows][mask_stride]; nullptr where a set has
  // no instructions for it. What it reads of embeddings: see kManyRows.
  void (*filter_many)(const FilterBlock& block, GroupMask* masks);

  // The places that masks stand for, see kRowsPerPlace; returns how many.
  std::size_t (*places)(const GroupMask* masks, std::size_t groups, std::uint32_t* places);

  // Σ exp(β(cosines[j] − reference) − shift) in float64; −∞ gives 0.
  double (*exp_sum)(const SoftmaxTerm& term, const float* cosines, std::size_t count);

  // cosines[j] ← g = factor·exp(β(cosines[j] − reference) − shift), products[j] = g·cosines[j];
  // returns Σ g c. A cosine of −∞ gives 0.
  double (*exp_coefficients)(const SoftmaxTerm& term, double factor, float* cosines,
                             float* products, std::size_t count);

  // Drops the candidates at or below the bound; the others keep their order. Returns how many.
  std::size_t (*keep_above)(float bound, std::size_t count, std::int32_t* identities,
                            float* cosines);

  // The largest of `count` ≥ 1 numbers.
  float (*largest)(const float* values, std::size_t count);

  // Φ and Φ'/k of the threshold equation without measures (math/threshold.h), for k = 1 … 4:
  // Σ d^k and Σ d^{k−1} over d = β(cosines[j] − threshold) > 0, in float64.
  ThresholdSums (*threshold_sums)(int exponent, double beta, double threshold, const float* cosines,
                                  std::size_t count);

  // The gradient of a prototype: out = ∂w.
  void (*class_gradient)(const ClassGradient& gradient, const float* row, std::size_t count,
                         double* out);

  // A step of SGD: g = ∂w + decay·w; with a velocity: v ← momentum·v + g, w ← w − rate·v, without:
  // w ← w − rate·g. Returns ‖w‖² as `dot` gives it.
  double (*class_step)(const ClassGradient& gradient, const DescentRule& rule, std::size_t count,
                       float* row, float* velocity, const RowsAhead& ahead);

  // row −= rate·(gradient + decay·row)
  void (*descend)(double rate, double decay, const double* gradient, std::size_t count, float* row);
};

// The best set this CPU runs. `ALPHAMARGIN_INSTRUCTION_SET=` (portable, avx2, avx2-vnni, avx512,
// avx512-vnni, amx; neon, neon-dotprod, neon-i8mm) lowers it.
const KernelSet& kernel_set();

// All sets this CPU runs, best first; the last is the portable one.
std::vector<const KernelSet*> usable_kernel_sets();

// All sets of this build, best first.
std::vector<const KernelSet*> known_kernel_sets();

const KernelSet& portable_kernel_set();
#if defined(__x86_64__)
const KernelSet& avx2_kernel_set();
const KernelSet& avx2_vnni_kernel_set();
const KernelSet& avx512_kernel_set();
const KernelSet& avx512_vnni_kernel_set();
const KernelSet& amx_kernel_set();
#elif defined(__aarch64__)
const KernelSet& neon_kernel_set();
const KernelSet& neon_dotprod_kernel_set();
const KernelSet& neon_i8mm_kernel_set();
#endif

}  // namespace alphamargin
