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
Call read_posterior(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const std::size_t classes = read_size(info[1], "classes", 1);
  const RealMatrix logits = read_matrix(info[0], "logits", classes, backend);
  const double alpha = read_alpha(info[2]);
  const Span<float> reference = read_reference(info, 3, classes);
  const RealOutput out = read_output(info[4], "posterior", logits.rows() * classes, backend);
  return {[=](const Cancellation& cancellation) {
    backend->posterior(logits, alpha, reference.data, out, cancellation);
  }};
}

// (logits, classes, alpha, reference)
Call read_sparse_posterior(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const std::size_t classes = read_size(info[1], "classes", 1);
  const RealMatrix logits = read_matrix(info[0], "logits", classes, backend);
  const double alpha = read_alpha(info[2]);
  const Span<float> reference = read_reference(info, 3, classes);
  auto rows = std::make_shared<std::optional<SparseRows>>();
  return {[=](const Cancellation& cancellation) {
            *rows = backend->sparse_posterior(logits, alpha, reference.data, cancellation);
          },
          [rows](Napi::Env env) { return make_csr(env, **rows); }};
}

// (gradPosterior, posterior, classes, alpha, reference, gradLogits)
Call read_posterior_backward(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const std::size_t classes = read_size(info[2], "classes", 1);
  const RealMatrix grad = read_matrix(info[0], "gradPosterior", classes, backend);
  const RealMatrix values = read_matrix(info[1], "posterior", classes, backend);
  require_length(info.Env(), "gradPosterior", grad.rows(), values.rows());
  const double alpha = read_alpha(info[3]);
  const Span<float> reference = read_reference(info, 4, classes);
  const RealOutput out = read_output(info[5], "gradLogits", values.rows() * classes, backend);
  return {[=](const Cancellation& cancellation) {
    backend->posterior_backward(grad, values, alpha, reference.data, out, cancellation);
  }};
}

}  // namespace

void export_posterior(Napi::Env env, Napi::Object target, const SharedBackend& backend) {
  expose(env, target, "posterior", on_backend(read_posterior, backend));
  expose(env, target, "sparsePosterior", on_backend(read_sparse_posterior, backend));
  expose(env, target, "posteriorBackward", on_backend(read_posterior_backward, backend));
}

}  // namespace alphamargin::binding
