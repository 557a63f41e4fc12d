#pragma once

#include "cuda/device_context.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// The smallest row that fails a test, on the device.
class FirstBadRow {
 public:
  static constexpr std::uint32_t kNone = 0xffffffffu;

  FirstBadRow(DeviceContext& context, MemoryAccount& scratch) : flag_(context, scratch, 1) {
    flag_.fill_bytes(0xff);
  }
  std::uint32_t* data() const { return flag_.data(); }
  // Queues the download of the answer, which value() gives after a synchronisation.
  void download() { flag_.download(&value_); }
  std::uint32_t value() const { return value_; }

 private:
  DeviceBuffer<std::uint32_t> flag_;
  std::uint32_t value_ = kNone;
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
