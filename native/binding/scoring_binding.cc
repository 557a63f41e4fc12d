#include <algorithm>

#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/instance.h"
#include "cpu/matrix_product.h"
#include "cpu/pair_scores.h"

namespace alphamargin::binding {
namespace {

// (left, leftTransposed, right, rightTransposed, rows, inner, columns, out)
Call read_matrix_product(const Napi::CallbackInfo& info) {
  const Span<float> left = read_floats(info[0], "left");
  const bool left_transposed = info[1].ToBoolean();
  const Span<float> right = read_floats(info[2], "right");
  const bool right_transposed = info[3].ToBoolean();
  const std::size_t rows = read_size(info[4], "rows");
  const std::size_t inner = read_size(info[5], "inner");
  const std::size_t columns = read_size(info[6], "columns");
  const Span<float> out = read_floats(info[7], "out");
  if (std::max({rows, inner, columns}) > 0x7fffffff) {
    throw argument_error(info.Env(), "rows, inner and columns", "below 2^31", "more");
  }
  require_length(info.Env(), "left", left.size, rows * inner);
  require_length(info.Env(), "right", right.size, inner * columns);
  require_length(info.Env(), "out", out.size, rows * columns);
  return {[=, runtime = runtime_of(info.Env())](const Cancellation&) {
    ProductPanels panels(runtime->memory);
    matrix_product(*runtime, panels, {left.data, left_transposed ? rows : inner, left_transposed},
                   {right.data, right_transposed ? inner : columns, right_transposed}, rows, inner,
                   columns, out.data);
  }};
}

// (embeddings, dim, labels, genuine, impostor)
Call read_pair_histograms(const Napi::CallbackInfo& info) {
  const RealMatrix embeddings = read_matrix(info[0], "embeddings", read_size(info[1], "dim", 1));
  const Span<std::int32_t> labels = read_integers(info[2], "labels");
  require_length(info.Env(), "labels", labels.size, embeddings.rows());
  const Span<double> genuine = read_doubles(info[3], "genuine");
  const Span<double> impostor = read_doubles(info[4], "impostor");
  require_length(info.Env(), "impostor", impostor.size, genuine.size);
  if (genuine.size == 0 || genuine.size > (std::size_t{1} << 24)) {
    throw argument_error(info.Env(), "genuine", "1 to 2^24 bins", std::to_string(genuine.size));
  }
  return {[=, runtime = runtime_of(info.Env())](const Cancellation& cancellation) {
    pair_histograms(*runtime, embeddings, labels.data, genuine.size, genuine.data, impostor.data,
                    cancellation);
  }};
}

// (embeddings, dim, enrolment, test, cosines)
Call read_pair_cosines(const Napi::CallbackInfo& info) {
  const RealMatrix embeddings = read_matrix(info[0], "embeddings", read_size(info[1], "dim", 1));
  const Span<std::int32_t> enrolment = read_integers(info[2], "enrolment");
  const Span<std::int32_t> test = read_integers(info[3], "test");
  require_length(info.Env(), "test", test.size, enrolment.size);
  const Span<float> cosines = read_floats(info[4], "cosines");
  require_length(info.Env(), "cosines", cosines.size, enrolment.size);
  return {[=, runtime = runtime_of(info.Env())](const Cancellation& cancellation) {
    pair_cosines(*runtime, embeddings, enrolment.data, test.data, enrolment.size, cosines.data,
                 cancellation);
  }};
}

}  // namespace

void export_scoring(Napi::Env env, Napi::Object exports) {
  expose(env, exports, "matrixProduct", read_matrix_product);
  expose(env, exports, "pairHistograms", read_pair_histograms);
  expose(env, exports, "pairCosines", read_pair_cosines);
}

}  // namespace alphamargin::binding
