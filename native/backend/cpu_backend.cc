#include "backend/cpu_backend.h"

#include <utility>

#include "head/prototype_head.h"

namespace alphamargin {
namespace {

class CpuBackend : public Backend {
 public:
  explicit CpuBackend(std::shared_ptr<Runtime> runtime) : runtime_(std::move(runtime)) {}

  std::string name() const override { return "cpu"; }
  std::size_t device_bytes() const override { return 0; }

  std::shared_ptr<DeviceArray> allocate(std::size_t) override { throw no_device_memory(); }
  void upload(const void*, DeviceArray&) override { throw no_device_memory(); }
  void download(const DeviceArray&, void*) override { throw no_device_memory(); }

  void posterior(const RealMatrix& logits, double alpha, const float* reference,
                 const RealOutput& out, const Cancellation& cancellation) override {
    alphamargin::posterior(*runtime_, logits, alpha, reference, out.data, cancellation);
  }

  SparseRows sparse_posterior(const RealMatrix& logits, double alpha, const float* reference,
                              const Cancellation& cancellation) override {
    return alphamargin::sparse_posterior(*runtime_, logits, alpha, reference, cancellation);
  }

  void posterior_backward(const RealMatrix& grad_posterior, const RealMatrix& posterior,
                          double alpha, const float* reference, const RealOutput& out,
                          const Cancellation& cancellation) override {
    alphamargin::posterior_backward(*runtime_, grad_posterior, posterior, alpha, reference,
                                    out.data, cancellation);
  }

  void loss_forward(const RealMatrix& cosines, const std::int32_t* labels, const Loss& loss,
                    const float* reference, const LossOutputs& outputs,
                    const Cancellation& cancellation) override {
    alphamargin::loss_forward(*runtime_, cosines, labels, loss, reference, outputs, cancellation);
  }

  void loss_backward(const RealMatrix& cosines, const std::int32_t* labels, const Loss& loss,
                     const float* reference, const RowSolution* solutions, const float* grad_loss,
                     const RealOutput& grad_cosines, const Cancellation& cancellation) override {
    alphamargin::loss_backward(*runtime_, cosines, labels, loss, reference, solutions, grad_loss,
                               grad_cosines.data, cancellation);
  }

  std::shared_ptr<Head> make_head(const HeadSettings& settings) override {
    return std::make_shared<PrototypeHead>(runtime_, settings);
  }

 private:
  static Failure no_device_memory() {
    return Failure(FailureCode::kDevice, "the CPU has no device memory");
  }

  std::shared_ptr<Runtime> runtime_;
};

}  // namespace

std::shared_ptr<Backend> make_cpu_backend(std::shared_ptr<Runtime> runtime) {
  return std::make_shared<CpuBackend>(std::move(runtime));
}

}  // namespace alphamargin
