#include <memory>
#include <optional>

#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/instance.h"

namespace alphamargin::binding {
namespace {

Span<float> read_reference(const Napi::CallbackInfo& info, std::size_t index, std::size_t classes) {
  const Span<float> reference = read_optional_floats(info[index], "reference");
  if (reference.present) {
    require_length(info.Env(), "reference", reference.size, classes);
  }
  return reference;
}

// (logits, classes, alpha, reference, posterior)
Call read_posterior(const Napi::CallbackInfo& info) {
  const std::size_t classes = read_size(info[1], "classes", 1);
  const RealMatrix logits = read_matrix(info[0], "logits", classes);
  const double alpha = read_alpha(info[2]);
  const Span<float> reference = read_reference(info, 3, classes);
  const Span<float> out = read_floats(info[4], "posterior");
  require_length(info.Env(), "posterior", out.size, logits.rows() * classes);
  return {[=, runtime = runtime_of(info.Env())](const Cancellation& cancellation) {
    posterior(*runtime, logits, alpha, reference.data, out.data, cancellation);
  }};
}

// (logits, classes, alpha, reference)
Call read_sparse_posterior(const Napi::CallbackInfo& info) {
  const std::size_t classes = read_size(info[1], "classes", 1);
  const RealMatrix logits = read_matrix(info[0], "logits", classes);
  const double alpha = read_alpha(info[2]);
  const Span<float> reference = read_reference(info, 3, classes);
  auto rows = std::make_shared<std::optional<SparseRows>>();
  return {[=, runtime = runtime_of(info.Env())](const Cancellation& cancellation) {
            *rows = sparse_posterior(*runtime, logits, alpha, reference.data, cancellation);
          },
          [rows](Napi::Env env) { return make_csr(env, **rows); }};
}

// (gradPosterior, posterior, classes, alpha, reference, gradLogits)
Call read_posterior_backward(const Napi::CallbackInfo& info) {
  const std::size_t classes = read_size(info[2], "classes", 1);
  const RealMatrix grad = read_matrix(info[0], "gradPosterior", classes);
  const RealMatrix values = read_matrix(info[1], "posterior", classes);
  require_length(info.Env(), "gradPosterior", grad.rows(), values.rows());
  const double alpha = read_alpha(info[3]);
  const Span<float> reference = read_reference(info, 4, classes);
  const Span<float> out = read_floats(info[5], "gradLogits");
  require_length(info.Env(), "gradLogits", out.size, values.rows() * classes);
  return {[=, runtime = runtime_of(info.Env())](const Cancellation& cancellation) {
    posterior_backward(*runtime, grad, values, alpha, reference.data, out.data, cancellation);
  }};
}

}  // namespace

void export_posterior(Napi::Env env, Napi::Object exports) {
  expose(env, exports, "posterior", read_posterior);
  expose(env, exports, "sparsePosterior", read_sparse_posterior);
  expose(env, exports, "posteriorBackward", read_posterior_backward);
}

}  // namespace alphamargin::binding
