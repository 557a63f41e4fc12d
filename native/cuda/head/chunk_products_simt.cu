#include "cuda/head/chunk_products.h"
#include "cuda/head/split_rows.h"
#include "cuda/launch.h"
#include "cuda/matrix_product.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
namespace {

constexpr unsigned kThreads = 128;

__global__ void gather_kernel(const float* unit, const std::uint32_t* indices, std::size_t dim,
                              float* gathered) {
  const std::size_t row = blockIdx.x;
  const std::size_t source = indices[row];
  for (std::size_t k = threadIdx.x; k < dim; k += blockDim.x) {
    gathered[row * dim + k] = unit[source * dim + k];
  }
}

__global__ void factors_kernel(const double* norms, std::size_t count, float* factors) {
  const std::size_t j = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (j < count) factors[j] = static_cast<float>(1 / norms[j]);
}

class SimtProducts final : public ChunkProducts {
 public:
  SimtProducts(const HeadCall& call, const std::uint32_t* indices, std::size_t rows,
               std::size_t most_classes)
      : call_(call),
        rows_(rows),
        dim_(call.batch.dim),
        unit_(call.context, call.scratch, rows * dim_),
        factors_(call.context, call.scratch, most_classes),
        joined_(call.context, call.scratch,
                call.prototypes.rows == nullptr ? factors_.size() * dim_ : 0) {
    launch(call.context, "gather_kernel", &gather_kernel, {static_cast<unsigned>(rows), kThreads},
           call.batch.unit, indices, dim_, unit_.data());
  }

  void cosines(std::size_t begin, std::size_t count, float* cosines) override {
    const PrototypeArrays& prototypes = call_.prototypes;
    count_ = count;
    launch(call_.context, "factors_kernel", &factors_kernel,
           {blocks_for(count, kThreads), kThreads}, prototypes.norms + begin, count,
           factors_.data());
    if (prototypes.rows != nullptr) {
      classes_ = prototypes.rows + begin * dim_;
    } else {
      join_rows(call_.context, prototypes, begin, count, joined_.data());
      classes_ = joined_.data();
    }
    matrix_product(call_.context, {unit_.data(), dim_}, {classes_, dim_, 1, factors_.data()},
                   {rows_, dim_, count}, cosines);
  }
  void reserve_gradients(bool, bool) override {}
  void add_embedding_gradients(const float* coefficients, double* sums) override {
    add_matrix_product(call_.context, {coefficients, count_}, {classes_, dim_, 0, factors_.data()},
                       {rows_, count_, dim_}, sums);
  }
  void class_gradients(const float* coefficients, float* gradients) override {
    matrix_product(call_.context, {coefficients, count_, 1}, {unit_.data(), dim_},
                   {count_, rows_, dim_}, gradients);
  }

 private:
  const HeadCall& call_;
  std::size_t rows_;
  std::size_t dim_;
  DeviceBuffer<float> unit_;     // x̂ [R, D]
  DeviceBuffer<float> factors_;  // 1/‖w‖ of the chunk
  DeviceBuffer<float> joined_;   // its w [count, D], where prototypes are in halves
  const float* classes_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace

std::unique_ptr<ChunkProducts> simt_products(const HeadCall& call, const std::uint32_t* indices,
                                             std::size_t rows, std::size_t most_classes) {
  return std::make_unique<SimtProducts>(call, indices, rows, most_classes);
}

std::unique_ptr<ChunkProducts> chunk_products(const HeadCall& call, const std::uint32_t* indices,
                                              std::size_t rows, std::size_t most_classes) {
  constexpr int kFirstWithMma = 80;
  return call.context.code_capability() >= kFirstWithMma
             ? mma_products(call, indices, rows, most_classes)
             : simt_products(call, indices, rows, most_classes);
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
