#include "binding/arguments.h"
#include "binding/call.h"
#include "binding/instance.h"
#include "cpu/loss.h"

namespace alphamargin::binding {
namespace {

struct LossInputs {
  RealMatrix cosines;
  Span<std::int32_t> labels;
  Loss loss;
  Span<float> reference;
};

// (cosines, classes, labels, loss, reference, …)
LossInputs read_inputs(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const std::size_t classes = read_size(info[1], "classes", 1);
  const RealMatrix cosines = read_matrix(info[0], "cosines", classes, backend);
  const LossInputs inputs{cosines, read_integers(info[2], "labels"),
                          read_loss(info[3], cosines.rows()),
                          read_optional_floats(info[4], "reference")};
  require_length(info.Env(), "labels", inputs.labels.size, inputs.cosines.rows());
  if (inputs.reference.present) {
    require_length(info.Env(), "reference", inputs.reference.size, classes);
  }
  return inputs;
}

RowSolution* read_solution(const Napi::CallbackInfo& info, Napi::Value value, std::size_t rows) {
  const Span<double> solution = read_doubles(value, "solution");
  require_length(info.Env(), "solution", solution.size, rows * kSolutionSize);
  return reinterpret_cast<RowSolution*>(solution.data);
}

// (…, outputs)
Call read_forward(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const LossInputs inputs = read_inputs(info, backend);
  if (!info[5].IsObject()) {
    throw argument_error(info.Env(), "outputs", "an object", "something else");
  }
  const auto outputs = info[5].As<Napi::Object>();
  const std::size_t rows = inputs.cosines.rows();
  const Span<float> loss = read_floats(outputs.Get("loss"), "outputs.loss");
  const Span<float> threshold = read_floats(outputs.Get("threshold"), "outputs.threshold");
  const Span<std::int32_t> support =
      read_integers(outputs.Get("supportSize"), "outputs.supportSize");
  const Span<std::uint8_t> active = read_bytes(outputs.Get("targetActive"), "outputs.targetActive");
  require_length(info.Env(), "outputs.loss", loss.size, rows);
  require_length(info.Env(), "outputs.threshold", threshold.size, rows);
  require_length(info.Env(), "outputs.supportSize", support.size, rows);
  require_length(info.Env(), "outputs.targetActive", active.size, rows);
  const Span<float> margins =
      read_optional_floats(outputs.Get("marginGradient"), "outputs.marginGradient");
  if (margins.present) require_length(info.Env(), "outputs.marginGradient", margins.size, rows);
  const LossOutputs written{loss.data,
                            threshold.data,
                            support.data,
                            active.data,
                            read_solution(info, outputs.Get("solution"), rows),
                            margins.data};
  return {[=](const Cancellation& cancellation) {
    backend->loss_forward(inputs.cosines, inputs.labels.data, inputs.loss, inputs.reference.data,
                          written, cancellation);
  }};
}

// (…, solution, gradLoss, gradCosines)
Call read_backward(const Napi::CallbackInfo& info, const SharedBackend& backend) {
  const LossInputs inputs = read_inputs(info, backend);
  const std::size_t rows = inputs.cosines.rows();
  const RowSolution* solution = read_solution(info, info[5], rows);
  const Span<float> grad_loss = read_optional_floats(info[6], "gradLoss");
  if (grad_loss.present) require_length(info.Env(), "gradLoss", grad_loss.size, rows);
  const RealOutput out =
      read_output(info[7], "gradCosines", rows * inputs.cosines.columns(), backend);
  return {[=](const Cancellation& cancellation) {
    backend->loss_backward(inputs.cosines, inputs.labels.data, inputs.loss, inputs.reference.data,
                           solution, grad_loss.data, out, cancellation);
  }};
}

}  // namespace

void export_loss(Napi::Env env, Napi::Object target, const SharedBackend& backend) {
  target.Set("solutionSize", static_cast<double>(kSolutionSize));
  expose(env, target, "lossForward", on_backend(read_forward, backend));
  expose(env, target, "lossBackward", on_backend(read_backward, backend));
}

}  // namespace alphamargin::binding
