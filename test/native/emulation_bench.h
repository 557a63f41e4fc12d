#pragma once
// What the tests of the emulated device share. Their cases are spread over emulation_*_test.cc.

#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cases.h"
#include "cuda/launch.h"

namespace alphamargin::emulated {

using test::expect;

// emulation_hopper_test.cc, emulation_mistakes_test.cc, emulation_products_test.cc,
// emulation_ptx_test.cc, emulation_tensor_cores_test.cc, emulation_transfers_test.cc
extern const test::Cases kHopperCases;
extern const test::Cases kMistakeCases;
extern const test::Cases kProductCases;
extern const test::Cases kPtxCases;
extern const test::Cases kTensorCoreCases;
extern const test::Cases kTransferCases;

struct Bench {
  DevicePool pool{0};
  DeviceContext context{pool};
  template <class T>
  DeviceBuffer<T> buffer(std::size_t count) {
    return DeviceBuffer<T>(context, pool.account(), count);
  }
  template <class T>
  DeviceBuffer<T> buffer(const std::vector<T>& values) {
    DeviceBuffer<T> made = buffer<T>(values.size());
    made.upload(values.data());
    context.synchronize();
    return made;
  }
  template <class T>
  std::vector<T> read(const DeviceBuffer<T>& values) {
    std::vector<T> host(values.size());
    values.download(host.data());
    context.synchronize();
    return host;
  }
};

// The message of the failure of a call, or a complaint that there was none.
inline std::string failure_of(const std::function<void()>& call, FailureCode code) {
  try {
    call();
  } catch (const Failure& failure) {
    expect(failure.code() == code, std::string("another code: ") + failure.what());
    return failure.what();
  }
  throw std::runtime_error("nothing was caught");
}

inline void expect_fault(const std::function<void()>& call, const std::vector<std::string>& parts) {
  const std::string message = failure_of(call, FailureCode::kDevice);
  for (const std::string& part : parts) {
    expect(message.find(part) != std::string::npos, "'" + message + "' lacks '" + part + "'");
  }
}

// Whether the bytes that come back depend on the order of execution or on uninitialised memory.
inline bool depends_on_order(const std::function<std::vector<float>(Bench&)>& run) {
  std::vector<std::vector<float>> results;
  for (const std::uint64_t seed : {0, 1, 2, 3, 7}) {
    DeviceSettings settings;
    settings.seed = seed;
    configure_device(settings);
    Bench bench;
    results.push_back(run(bench));
  }
  configure_device({});
  for (const auto& result : results) {
    if (std::memcmp(result.data(), results[0].data(), result.size() * sizeof(float)) != 0) {
      return true;
    }
  }
  return false;
}

}  // namespace alphamargin::emulated
