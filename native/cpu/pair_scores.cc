#include "cpu/pair_scores.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include "cpu/embeddings.h"
#include "cpu/kernel_set.h"

namespace alphamargin {
namespace {

void check_pair_index(const char* argument, std::size_t pair, std::int32_t index,
                      std::size_t rows) {
  if (index >= 0 && static_cast<std::size_t>(index) < rows) return;
  throw Failure(FailureCode::kInvalidArgument, "expected " + std::string(argument) + "[" +
                                                   std::to_string(pair) + "] to be in [0, " +
                                                   std::to_string(rows) + ") but received " +
                                                   std::to_string(index));
}

}  // namespace

void pair_histograms(Runtime& runtime, const RealMatrix& embeddings, const std::int32_t* labels,
                     std::size_t bins, double* genuine, double* impostor,
                     const Cancellation& cancellation) {
  const KernelSet& kernels = kernel_set();
  const Embeddings batch = prepare_embeddings(runtime, runtime.memory, embeddings, "embeddings");
  const std::size_t rows = batch.rows;
  const Buffer<float> row_panels = float_panels(runtime, runtime.memory, batch);
  const std::size_t width = kernels.tile_columns;
  const std::size_t column_panels = (rows + width - 1) / width;

  // One worker per thread takes column panels as they come: two histograms each, not per panel.
  const std::size_t workers =
      std::min(runtime.pool.size(), std::max<std::size_t>(1, column_panels));
  std::vector<Buffer<std::uint64_t>> counts(workers,
                                            make_buffer<std::uint64_t>(runtime.memory, 2 * bins));
  std::atomic<std::size_t> next{0};
  runtime.pool.run(workers, [&](std::size_t worker) {
    std::uint64_t* own = counts[worker].data();
    std::fill_n(own, 2 * bins, std::uint64_t{0});
    auto panel = make_buffer<float>(runtime.memory, width * batch.dim);
    float ones[kLargestTileColumns];
    std::fill(ones, ones + kLargestTileColumns, 1.0f);
    float tile[kLargestTileRows * kLargestTileColumns];
    const double scale = static_cast<double>(bins) / 2;
    const double last_bin = static_cast<double>(bins - 1);
    for (std::size_t column_panel = next++; column_panel < column_panels; column_panel = next++) {
      cancellation.check();
      const std::size_t first = column_panel * width;
      const std::size_t count = std::min(width, rows - first);
      kernels.interleave(batch.unit_row(first), batch.dim, ones, count, width, batch.dim,
                         panel.data());
      // Row panels that hold any row before the last column of this panel.
      for (std::size_t row = 0; row < std::min(rows, first + count); row += kernels.tile_rows) {
        kernels.multiply(batch.dim, row_panels.data() + row * batch.dim, panel.data(), tile);
        const std::size_t last = std::min(rows, row + kernels.tile_rows);
        for (std::size_t i = row; i < last; ++i) {
          // All places first: that loop vectorises, the counting cannot.
          std::int32_t places[kLargestTileColumns];
          for (std::size_t j = 0; j < width; ++j) {
            const double place = (tile[(i - row) * width + j] + 1.0) * scale;
            places[j] = static_cast<std::int32_t>(std::clamp(place, 0.0, last_bin));
          }
          for (std::size_t j = i < first ? 0 : i - first + 1; j < count; ++j) {
            ++own[(labels[i] == labels[first + j] ? 0 : bins) +
                  static_cast<std::size_t>(places[j])];
          }
        }
      }
    }
  });
  for (std::size_t bin = 0; bin < bins; ++bin) {
    genuine[bin] = impostor[bin] = 0;
    for (const Buffer<std::uint64_t>& own : counts) {
      genuine[bin] += static_cast<double>(own[bin]);
      impostor[bin] += static_cast<double>(own[bins + bin]);
    }
  }
}

void pair_cosines(Runtime& runtime, const RealMatrix& embeddings, const std::int32_t* enrolment,
                  const std::int32_t* test, std::size_t pairs, float* cosines,
                  const Cancellation& cancellation) {
  const Embeddings batch = prepare_embeddings(runtime, runtime.memory, embeddings, "embeddings");
  constexpr std::size_t kPairsPerPiece = 1024;
  runtime.pool.run((pairs + kPairsPerPiece - 1) / kPairsPerPiece, [&](std::size_t piece) {
    cancellation.check();
    const std::size_t last = std::min(pairs, (piece + 1) * kPairsPerPiece);
    for (std::size_t pair = piece * kPairsPerPiece; pair < last; ++pair) {
      check_pair_index("enrolment", pair, enrolment[pair], batch.rows);
      check_pair_index("test", pair, test[pair], batch.rows);
      const auto a = static_cast<std::size_t>(enrolment[pair]);
      const auto b = static_cast<std::size_t>(test[pair]);
      const double product = kernel_set().dot(batch.row(a), batch.row(b), batch.dim);
      const double cosine = product / (batch.norms[a] * batch.norms[b]);
      cosines[pair] = static_cast<float>(std::clamp(cosine, -1.0, 1.0));
    }
  });
}

}  // namespace alphamargin
