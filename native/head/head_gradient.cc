#include "head/head_gradient.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cpu/kernel_set.h"
#include "cpu/matrix_product.h"
#include "head/contributions.h"
#include "head/dense_rows.h"

namespace alphamargin {
namespace {

double target_coefficient(const HeadInputs& inputs, const SolvedRow& row) {
  const double mean = 1.0 / static_cast<double>(inputs.batch.rows);
  return -inputs.loss.scale * mean * row.target.derivative * row.others;
}

double class_factor(const HeadInputs& inputs) {
  return inputs.loss.scale / static_cast<double>(inputs.batch.rows);
}

// sums = Σ g ŵ and projection = Σ g c to ∂x.
void write_embedding_gradient(const HeadInputs& inputs, std::size_t row, const double* sums,
                              double projection, float* out) {
  const double inverse = 1 / inputs.batch.norms[row];
  const float* values = inputs.batch.row(row);
  for (std::size_t k = 0; k < inputs.batch.dim; ++k) {
    out[k] = static_cast<float>((sums[k] - projection * values[k] * inverse) * inverse);
  }
}

void sparse_embedding_gradients(const HeadInputs& inputs, const SolvedBatch& solved,
                                float* grad_embeddings) {
  const std::size_t dim = inputs.batch.dim;
  const KernelSet& kernels = kernel_set();
  inputs.runtime.pool.run(inputs.batch.rows, [&](std::size_t index) {
    const SolvedRow& row = solved.rows[index];
    if (row.dense) return;
    float* out = grad_embeddings + index * dim;
    if (!(row.others > 0)) {
      std::fill_n(out, dim, 0.0f);
      return;
    }
    auto sums = make_buffer<double>(inputs.scratch, dim);
    std::fill(sums.begin(), sums.end(), 0.0);
    double projection = 0;
    const auto add = [&](std::size_t identity, double cosine, double coefficient) {
      kernels.accumulate(coefficient / inputs.prototypes.norms[identity],
                         inputs.prototypes.row(identity), dim, sums.data());
      projection += coefficient * cosine;
    };
    for (const SupportEntry& entry : solved.entries[index]) {
      add(static_cast<std::size_t>(entry.identity), entry.cosine,
          class_factor(inputs) * entry.posterior);
    }
    add(static_cast<std::size_t>(row.label), row.label_cosine, target_coefficient(inputs, row));
    write_embedding_gradient(inputs, index, sums.data(), projection, out);
  });
}

// The transposed support, with the update of one run of equal identities.
class SparsePrototypeGradient {
 public:
  SparsePrototypeGradient(const HeadInputs& inputs, const SolvedBatch& solved)
      : inputs_(inputs),
        solved_(solved),
        pairs_(sorted_contributions(inputs.scratch, solved, inputs.prototypes.identities)),
        starts_(segment_starts(inputs.scratch, pairs_)) {}

  std::size_t segments() const { return starts_.size() - 1; }
  std::size_t identity(std::size_t segment) const {
    return static_cast<std::size_t>(pairs_[starts_[segment]].identity);
  }

  // Adds Σ g x̂ to sums [D]; returns Σ g c.
  double add(std::size_t segment, double* sums) const {
    double projection = 0;
    for (std::size_t i = starts_[segment]; i < starts_[segment + 1]; ++i) {
      const Contribution& pair = pairs_[i];
      const SolvedRow& row = solved_.rows[pair.row];
      double coefficient = 0;
      double cosine = 0;
      if (pair.slot == kTargetSlot) {
        coefficient = target_coefficient(inputs_, row);
        cosine = row.label_cosine;
      } else {
        const SupportEntry& entry = solved_.entries[pair.row][pair.slot];
        coefficient = class_factor(inputs_) * entry.posterior;
        cosine = entry.cosine;
      }
      kernel_set().accumulate(coefficient, inputs_.batch.unit_row(pair.row), inputs_.batch.dim,
                              sums);
      projection += coefficient * cosine;
    }
    return projection;
  }

 private:
  const HeadInputs& inputs_;
  const SolvedBatch& solved_;
  Buffer<Contribution> pairs_;
  Buffer<std::size_t> starts_;
};

// ∂w = (Σ g x̂ − (Σ g c) ŵ)/‖w‖ in place of sums, then the optimiser's rule.
void update_prototype(PrototypeState& state, const Optimizer& optimizer, std::size_t identity,
                      double* sums, double projection) {
  const PrototypeView view = state.view();
  const double inverse = 1 / view.norms[identity];
  const float* row = view.row(identity);
  for (std::size_t k = 0; k < view.dim; ++k) {
    sums[k] = (sums[k] - projection * row[k] * inverse) * inverse;
  }
  state.update_row(optimizer, identity, sums);
}

// Scratch for one gradient row per piece, taken before the first update so that no allocation can
// fail in the middle of it.
class GradientRows {
 public:
  GradientRows(MemoryAccount& scratch, std::size_t pieces, std::size_t dim)
      : dim_(dim), rows_(make_buffer<double>(scratch, pieces * dim)) {}
  double* cleared(std::size_t piece) {
    double* row = rows_.data() + piece * dim_;
    std::fill_n(row, dim_, 0.0);
    return row;
  }

 private:
  std::size_t dim_;
  Buffer<double> rows_;
};

constexpr std::size_t kPieces = 64;

std::size_t update_sparse(const HeadInputs& inputs, const SolvedBatch& solved,
                          PrototypeState& state, const Optimizer& optimizer) {
  const SparsePrototypeGradient gradient(inputs, solved);
  const std::size_t segments = gradient.segments();
  GradientRows rows(inputs.scratch, kPieces, inputs.batch.dim);
  inputs.runtime.pool.run(kPieces, [&](std::size_t piece) {
    const std::size_t last = segments * (piece + 1) / kPieces;
    for (std::size_t segment = segments * piece / kPieces; segment < last; ++segment) {
      double* sums = rows.cleared(piece);
      const double projection = gradient.add(segment, sums);
      update_prototype(state, optimizer, gradient.identity(segment), sums, projection);
    }
  });
  return segments;
}

// Chunk by chunk over all classes: cosines again, coefficients, both products, update.
class DenseBackward {
 public:
  DenseBackward(const HeadInputs& inputs, const SolvedBatch& solved, float* grad_embeddings,
                PrototypeState* state, const Optimizer& optimizer)
      : inputs_(inputs),
        solved_(solved),
        grad_embeddings_(grad_embeddings),
        state_(state),
        optimizer_(optimizer),
        dim_(inputs.batch.dim),
        rows_(inputs, solved),
        sparse_(inputs, solved),
        chunk_(inputs.scratch),
        products_(make_buffer<float>(inputs.scratch)),
        class_projections_(make_buffer<double>(inputs.scratch)),
        product_(make_buffer<float>(
            inputs.scratch,
            std::max(rows_.size(), state == nullptr ? 0 : kChunkIdentities) * dim_)),
        sums_(make_buffer<double>(inputs.scratch, rows_.size() * dim_)),
        projections_(make_buffer<double>(inputs.scratch, rows_.size())),
        gradient_rows_(inputs.scratch, kPieces, dim_) {
    std::fill(sums_.begin(), sums_.end(), 0.0);
    std::fill(projections_.begin(), projections_.end(), 0.0);
  }

  std::size_t run() {
    const std::size_t identities = inputs_.prototypes.identities;
    std::size_t touched = 0;
    for (std::size_t begin = 0; begin < identities; begin += kChunkIdentities) {
      const std::size_t count = std::min(kChunkIdentities, identities - begin);
      rows_.cosines(inputs_, begin, count, chunk_);
      // From cosines to coefficients in place; Σ_i g c per class is taken before they are lost.
      to_coefficients(begin, count);
      if (grad_embeddings_ != nullptr) add_embedding_gradient(begin, count);
      if (state_ != nullptr) touched += update_chunk(begin, count);
    }
    if (grad_embeddings_ != nullptr) {
      inputs_.runtime.pool.run(rows_.size(), [&](std::size_t i) {
        const std::size_t row = rows_.index(i);
        write_embedding_gradient(inputs_, row, sums_.data() + i * dim_, projections_[i],
                                 grad_embeddings_ + row * dim_);
      });
    }
    return touched;
  }

 private:
  void to_coefficients(std::size_t begin, std::size_t count) {
    products_.resize(rows_.size() * count);
    class_projections_.resize(count);
    inputs_.runtime.pool.run(rows_.size(), [&](std::size_t i) {
      const SolvedRow& row = solved_.rows[rows_.index(i)];
      float* values = chunk_.cosines.data() + i * count;
      float* product = products_.data() + i * count;
      const double factor = class_factor(inputs_);
      double projection = 0;
      visit_posterior(inputs_.loss, row.solution, [&](const auto& posterior_of) {
        for (std::size_t j = 0; j < count; ++j) {
          const double cosine = values[j];
          double coefficient = 0;
          if (begin + j == static_cast<std::size_t>(row.label)) {
            // Not through float32: ŵ_y − c_y x̂ cancels when they are aligned. sparse_ has its ∂w.
            projection += add_target(i, row);
          } else {
            coefficient = factor * posterior_of(cosine, inputs_.measure(begin + j));
          }
          values[j] = static_cast<float>(coefficient);
          product[j] = static_cast<float>(coefficient * cosine);
          projection += coefficient * cosine;
        }
      });
      projections_[i] += projection;
    });
    constexpr std::size_t kBlock = 64;
    inputs_.runtime.pool.run((count + kBlock - 1) / kBlock, [&](std::size_t block) {
      const std::size_t last = std::min(count, (block + 1) * kBlock);
      for (std::size_t j = block * kBlock; j < last; ++j) class_projections_[j] = 0;
      for (std::size_t i = 0; i < rows_.size(); ++i) {
        for (std::size_t j = block * kBlock; j < last; ++j) {
          class_projections_[j] += products_[i * count + j];
        }
      }
    });
  }

  // The target's own term of ∂x_i; returns g c.
  double add_target(std::size_t i, const SolvedRow& row) {
    const double coefficient = target_coefficient(inputs_, row);
    const auto label = static_cast<std::size_t>(row.label);
    kernel_set().accumulate(coefficient / inputs_.prototypes.norms[label],
                            inputs_.prototypes.row(label), dim_, sums_.data() + i * dim_);
    return coefficient * row.label_cosine;
  }

  void add_embedding_gradient(std::size_t begin, std::size_t count) {
    matrix_product(inputs_.runtime, chunk_.panels, {chunk_.cosines.data(), count},
                   {inputs_.prototypes.row(begin), dim_, false, chunk_.factors.data()},
                   rows_.size(), count, dim_, product_.data());
    inputs_.runtime.pool.run(rows_.size(), [&](std::size_t i) {
      for (std::size_t k = 0; k < dim_; ++k) sums_[i * dim_ + k] += product_[i * dim_ + k];
    });
  }

  std::size_t update_chunk(std::size_t begin, std::size_t count) {
    matrix_product(inputs_.runtime, chunk_.panels, {chunk_.cosines.data(), count, true},
                   {rows_.unit(), dim_}, count, rows_.size(), dim_, product_.data());
    // Sparse rows of the same batch add to the same prototypes.
    segment_of_.assign(count, sparse_.segments());
    while (next_segment_ < sparse_.segments() && sparse_.identity(next_segment_) < begin + count) {
      segment_of_[sparse_.identity(next_segment_) - begin] = next_segment_;
      ++next_segment_;
    }
    std::array<std::size_t, kPieces> touched{};
    inputs_.runtime.pool.run(kPieces, [&](std::size_t piece) {
      const std::size_t last = count * (piece + 1) / kPieces;
      for (std::size_t j = count * piece / kPieces; j < last; ++j) {
        const bool has_segment = segment_of_[j] < sparse_.segments();
        if (!has_segment && !has_coefficient(j, count)) continue;
        double* sums = gradient_rows_.cleared(piece);
        for (std::size_t k = 0; k < dim_; ++k) sums[k] = product_[j * dim_ + k];
        double projection = class_projections_[j];
        if (has_segment) projection += sparse_.add(segment_of_[j], sums);
        update_prototype(*state_, optimizer_, begin + j, sums, projection);
        ++touched[piece];
      }
    });
    std::size_t total = 0;
    for (const std::size_t piece : touched) total += piece;
    return total;
  }

  bool has_coefficient(std::size_t j, std::size_t count) const {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (chunk_.cosines[i * count + j] != 0) return true;
    }
    return false;
  }

  const HeadInputs& inputs_;
  const SolvedBatch& solved_;
  float* grad_embeddings_;
  PrototypeState* state_;
  const Optimizer& optimizer_;
  std::size_t dim_;
  DenseRows rows_;
  SparsePrototypeGradient sparse_;
  ChunkScratch chunk_;  // its cosines become the coefficients
  Buffer<float> products_;
  Buffer<double> class_projections_;
  Buffer<float> product_;
  Buffer<double> sums_;
  Buffer<double> projections_;
  GradientRows gradient_rows_;
  std::vector<std::size_t> segment_of_;  // of a class in the chunk; segments() for none
  std::size_t next_segment_ = 0;
};

}  // namespace

double largest_coefficient(const HeadInputs& inputs, const SolvedBatch& solved) {
  double largest = 1;
  for (const SolvedRow& row : solved.rows) {
    largest = std::max(largest, std::fabs(row.target.derivative));
  }
  return inputs.loss.scale * largest;
}

std::size_t backward(const HeadInputs& inputs, const SolvedBatch& solved, float* grad_embeddings,
                     PrototypeState* state, const Optimizer& optimizer) {
  if (grad_embeddings == nullptr && state == nullptr) return 0;
  if (grad_embeddings != nullptr) sparse_embedding_gradients(inputs, solved, grad_embeddings);
  if (solved.has_dense_rows()) {
    return DenseBackward(inputs, solved, grad_embeddings, state, optimizer).run();
  }
  return state == nullptr ? 0 : update_sparse(inputs, solved, *state, optimizer);
}

}  // namespace alphamargin
