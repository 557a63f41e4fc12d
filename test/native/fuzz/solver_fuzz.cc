// libFuzzer target: posteriors and losses of rows made of any bytes. Built by
// test/reliability/native-fuzz.mjs under AddressSanitizer and UndefinedBehaviorSanitizer.
//
// A row is refused with a Failure, or its posterior p satisfies p ≥ 0, |Σp − 1| ≤ 2e-6, and for α >
// 1 the root lies in its bracket: Σ at `lower` ≤ 1 ≤ Σ at `upper`, up to rounding; its loss is
// finite and ≥ 0, its gradient finite.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cpu/loss.h"
#include "cpu/posterior.h"

namespace alphamargin {
namespace {

constexpr std::size_t kMostClasses = 64;
constexpr double kBound = 2e-6;

// Numbers from the front of the fuzzer's bytes; zeros when they run out.
class Bytes {
 public:
  Bytes(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  template <class T>
  T take() {
    T value{};
    const std::size_t count = std::min(size_, sizeof value);
    if (count > 0) std::memcpy(&value, data_, count);
    data_ += count;
    size_ -= count;
    return value;
  }
  std::size_t left() const { return size_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

[[noreturn]] void report(const char* what, double alpha, double value) {
  std::fprintf(stderr, "%s: %.17g at alpha %.17g\n", what, value, alpha);
  std::abort();
}

double order(Bytes& bytes) {
  constexpr double kOrders[] = {1, 1 + 1e-9, 1.0001, 1.25, 4.0 / 3, 1.5, 2, 2.5, 3, 5, 20, 100};
  const auto choice = bytes.take<std::uint8_t>();
  if (choice % 16 < std::size(kOrders)) return kOrders[choice % 16];
  return 1 + bytes.take<std::uint16_t>() / 655.36;
}

// Bits of any kind, or one of a few values, so that ties are common.
float element(Bytes& bytes, std::uint8_t form) {
  if (form % 3 == 0) return bytes.take<float>();
  const auto byte = bytes.take<std::int8_t>();
  return form % 3 == 1 ? static_cast<float>(byte) / 128 : static_cast<float>(byte % 3);
}

void check_posterior(Runtime& runtime, const std::vector<float>& row, double alpha,
                     const float* reference) {
  std::vector<float> out(row.size());
  posterior(runtime, {row.data(), 1, row.size()}, alpha, reference, out.data(), {});
  double total = 0;
  for (const float p : out) {
    if (!(p >= 0)) report("negative posterior", alpha, p);
    total += p;
  }
  if (!(std::fabs(total - 1) <= kBound)) report("posteriors do not sum to 1", alpha, total);

  Loss loss;
  loss.order = DivergenceOrder::of(alpha);
  if (loss.order.is_softmax()) return;
  RowSolver solver(runtime.memory);
  const RowSolution solution = solver.solve(
      loss, RowTarget{}, row.size(), row.size(), reference != nullptr,
      [&](std::size_t j) { return static_cast<double>(row[j]); },
      [&](std::size_t j) { return static_cast<double>(reference[j]); });
  const auto sum_at = [&](double root) {
    double sum = 0;
    visit_posterior(loss, {solution.reference, root, root, 0}, [&](const auto& posterior_of) {
      for (std::size_t j = 0; j < row.size(); ++j) {
        sum += posterior_of(row[j], reference == nullptr ? 1.0 : reference[j]);
      }
    });
    return sum;
  };
  if (!(solution.lower <= solution.upper)) report("empty bracket", alpha, solution.lower);
  if (!(sum_at(solution.lower) <= 1 + kBound)) report("lower end", alpha, sum_at(solution.lower));
  if (!(sum_at(solution.upper) >= 1 - kBound)) report("upper end", alpha, sum_at(solution.upper));
}

void check_loss(Runtime& runtime, std::vector<float> row, double alpha, const float* reference,
                Bytes& bytes) {
  for (float& value : row) value = std::clamp(value, -1.0f, 1.0f);
  Loss loss;
  loss.order = DivergenceOrder::of(alpha);
  loss.scale = std::ldexp(1.0, bytes.take<std::uint8_t>() % 14);
  const double margin = bytes.take<std::uint8_t>() / 256.0;
  switch (bytes.take<std::uint8_t>() % 3) {
    case 0:
      // As lib/loss-specification.ts limits it.
      loss.measure_margin = std::min(margin, 80 / (loss.scale * std::max(loss.order.excess, 1e-9)));
      break;
    case 1:
      loss.angular_margin = margin * kPi;
      break;
    default:
      loss.cosine_margin = margin;
  }
  const auto label = static_cast<std::int32_t>(bytes.take<std::uint8_t>() % row.size());
  float value = 0;
  float threshold = 0;
  std::int32_t support = 0;
  std::uint8_t active = 0;
  RowSolution solution;
  const RealMatrix matrix(row.data(), 1, row.size());
  loss_forward(runtime, matrix, &label, loss, reference,
               {&value, &threshold, &support, &active, &solution}, {});
  // A tiny measure of the target makes a loss that float32 cannot hold, and only that may be ∞.
  const bool fits = std::isfinite(value) || reference != nullptr;
  if (!(value >= 0 && fits)) report("loss", alpha, value);
  if (support < 1 || support > static_cast<std::int32_t>(row.size())) {
    report("support", alpha, support);
  }
  std::vector<float> gradient(row.size());
  loss_backward(runtime, matrix, &label, loss, reference, &solution, nullptr, gradient.data(), {});
  for (std::size_t j = 0; j < row.size(); ++j) {
    if (!std::isfinite(gradient[j])) report("gradient", alpha, gradient[j]);
    if (j != static_cast<std::size_t>(label) && gradient[j] < 0) {
      report("negative gradient of a class that is not the target", alpha, gradient[j]);
    }
  }
}

}  // namespace
}  // namespace alphamargin

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace alphamargin;
  static Runtime runtime(1);
  Bytes bytes(data, size);
  const double alpha = order(bytes);
  const auto form = bytes.take<std::uint8_t>();
  std::vector<float> row(1 + bytes.take<std::uint8_t>() % kMostClasses);
  std::vector<float> reference;
  if (form & 0x80) {
    // Within the sizes that docs/reliability.md promises digits for.
    for (std::size_t j = 0; j < row.size(); ++j) {
      reference.push_back(std::ldexp(1.0f, bytes.take<std::int8_t>() / 8));
    }
  }
  for (float& value : row) value = element(bytes, form);
  const float* measures = reference.empty() ? nullptr : reference.data();
  try {
    check_posterior(runtime, row, alpha, measures);
  } catch (const Failure&) {
    // Not finite, or a measure that leaves float64: refused.
  }
  try {
    check_loss(runtime, row, alpha, measures, bytes);
  } catch (const Failure&) {
  }
  if (runtime.memory.current() != 0) report("bytes held", alpha, 1);
  return 0;
}
