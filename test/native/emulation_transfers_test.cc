// Copies between host and device, and how often a head's calls wait for them.

#include <cmath>
#include <numeric>

#include "cuda/head/device_head.h"
#include "emulation_bench.h"

namespace alphamargin::emulated {
namespace {

constexpr std::size_t kMany = std::size_t{3}
                              << 20;  // float32, more than there is pinned memory for

std::vector<float> numbers(std::size_t count, float first) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), first);
  return values;
}

// Small copies and large ones, several at a time, arrive at the synchronisation and not before; the
// small ones' sources may change once they have been given away.
void check_copies() {
  Bench bench;
  for (int round = 0; round < 3; ++round) {
    std::vector<std::size_t> sizes = {1, 17, 1 << 20, 1 << 20, kMany, 5};
    std::vector<std::vector<float>> sources;
    std::vector<DeviceBuffer<float>> buffers;
    std::vector<std::vector<float>> found;
    for (const std::size_t size : sizes) {
      sources.push_back(numbers(size, static_cast<float>(size % 100 + round)));
      buffers.push_back(bench.buffer<float>(size));
      found.emplace_back(size, -1.0f);
    }
    const StreamDrain drain(bench.context);
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      buffers[i].upload(sources[i].data());
      buffers[i].download(found[i].data());
    }
    expect(found[1][0] == -1 && found[4][0] == -1, "a download was there before its time");
    bench.context.synchronize();
    expect(found == sources, "a copy is not what was copied");
  }
}

void test_copies() {
  check_copies();
  DeviceSettings settings;
  settings.pinned_memory = false;
  configure_device(settings);
  check_copies();
  configure_device({});
}

void test_drain() {
  Bench bench;
  const std::vector<float> values = numbers(100, 1);
  auto buffer = bench.buffer<float>(values.size());
  std::vector<float> found(values.size(), -1.0f);
  {
    const StreamDrain drain(bench.context);
    buffer.upload(values.data());
    buffer.download(found.data());
  }
  expect(found == values, "a download did not arrive when its scope was left");
}

__global__ void write_kernel(float* out) { *out = 1; }

// What was under way when the device failed does not arrive later, where its host memory may be
// gone.
void test_failure() {
  Bench bench;
  auto buffer = bench.buffer<float>(1);
  std::vector<float> found(1, -1.0f);
  buffer.fill_bytes(0);
  buffer.download(found.data());
  std::vector<float> on_the_host(1);
  launch(bench.context, "write_kernel", &write_kernel, {1, 1}, on_the_host.data());
  bool failed = false;
  try {
    bench.context.synchronize();
  } catch (const Failure&) {
    failed = true;
  }
  expect(failed, "a pointer to the host was not caught");
  bench.context.synchronize();
  expect(found[0] == -1, "a download arrived after a failure");
}

// A training of some steps on a head of its own.
class Training {
 public:
  static constexpr std::size_t kRows = 7;
  static constexpr std::size_t kIdentities = 300;
  static constexpr std::size_t kDim = 19;

  explicit Training(double alpha, std::size_t scratch_budget = std::size_t{1} << 20)
      : head_(make_device_head(std::make_shared<Runtime>(1), std::make_shared<DevicePool>(0),
                               settings(scratch_budget))),
        embeddings_(kRows * kDim) {
    loss_.order = DivergenceOrder::of(alpha);
    loss_.scale = 16;
    loss_.measure_margin = 0.2;
    for (std::size_t i = 0; i < embeddings_.size(); ++i) {
      embeddings_[i] = static_cast<float>(std::sin(1.0 + static_cast<double>(i * i)));
    }
    for (std::size_t row = 0; row < kRows; ++row) {
      labels_.push_back(static_cast<std::int32_t>(row * 40));
    }
  }

  // Waits of the host for one step.
  std::uint64_t step() {
    Optimizer optimizer;
    optimizer.learning_rate = 0.1;
    optimizer.momentum = 0.9;
    const std::uint64_t before = host_waits();
    head_->step(RealMatrix(embeddings_.data(), kRows, kDim), labels_.data(), loss_, optimizer,
                outputs(), Cancellation());
    return host_waits() - before;
  }

  // Of all steps.
  std::vector<float> results() {
    std::vector<float> prototypes(kIdentities * kDim);
    head_->read_rows(StateArray::kPrototypes, 0, kIdentities, prototypes.data());
    prototypes.insert(prototypes.end(), losses_.begin(), losses_.end());
    prototypes.insert(prototypes.end(), gradient_.begin(), gradient_.end());
    return prototypes;
  }

  std::vector<float>& embeddings() { return embeddings_; }

 private:
  static HeadSettings settings(std::size_t scratch_budget) {
    HeadSettings settings;
    settings.identities = kIdentities;
    settings.dim = kDim;
    settings.seed = 3;
    settings.scratch_budget.least = scratch_budget;
    return settings;
  }
  HeadOutputs outputs() {
    return {losses_.data(), RealOutput{gradient_.data()}, support_.data(), active_.data()};
  }

  std::shared_ptr<Head> head_;
  Loss loss_;
  std::vector<float> embeddings_;
  std::vector<std::int32_t> labels_;
  std::vector<float> losses_ = std::vector<float>(kRows);
  std::vector<float> gradient_ = std::vector<float>(kRows * kDim);
  std::vector<std::int32_t> support_ = std::vector<std::int32_t>(kRows);
  std::vector<std::uint8_t> active_ = std::vector<std::uint8_t>(kRows);
};

// Where a step waits, the device has nothing to do: for the size of the supports, for the states of
// the rows, for its results.
void test_waits() {
  const auto check = [](double alpha, std::uint64_t expected) {
    Training training(alpha);
    training.step();
    const std::uint64_t waits = training.step();
    expect(waits == expected, "a step waits " + std::to_string(waits) + " times");
  };
  check(1.5, 3);
  check(1, 2);
}

void test_without_pinned_memory() {
  for (const double alpha : {1.0, 1.25, 2.0}) {
    for (const std::size_t budget : {std::size_t{0}, std::size_t{1} << 20}) {
      const auto trained = [&](bool pinned) {
        DeviceSettings settings;
        settings.pinned_memory = pinned;
        configure_device(settings);
        Training training(alpha, budget);
        for (int i = 0; i < 3; ++i) training.step();
        return training.results();
      };
      expect(trained(false) == trained(true), "results depend on pinned memory");
    }
  }
  configure_device({});
}

// A bad row is found while the device works on; it leaves nothing behind.
void test_bad_row() {
  for (const double alpha : {1.0, 1.25}) {
    Training training(alpha);
    Training undisturbed(alpha);
    training.step();
    undisturbed.step();
    const float good = std::exchange(training.embeddings()[3 * Training::kDim + 4], NAN);
    std::string message;
    try {
      training.step();
    } catch (const Failure& failure) {
      message = failure.what();
    }
    expect(
        message.find("embeddings") != std::string::npos && message.find("3") != std::string::npos,
        "the bad row is not named: " + message);
    training.embeddings()[3 * Training::kDim + 4] = good;
    training.step();
    undisturbed.step();
    expect(training.results() == undisturbed.results(), "a bad row left something behind");
  }
}

}  // namespace

const test::Cases kTransferCases = {
    {"copies between host and device", &test_copies},
    {"copies when a scope is left", &test_drain},
    {"copies that a failure overtakes", &test_failure},
    {"how often a step waits", &test_waits},
    {"without pinned memory", &test_without_pinned_memory},
    {"a bad row", &test_bad_row},
};

}  // namespace alphamargin::emulated
