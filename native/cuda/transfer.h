#pragma once
// Operands of an operation on the device, wherever the caller keeps them.

#include <cstdint>

#include "common/real_matrix.h"
#include "cuda/device_context.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// A matrix on the device: in place when it lies there, else a copy.
class DeviceMatrix {
 public:
  DeviceMatrix(DeviceContext& context, MemoryAccount& scratch, const RealMatrix& matrix)
      : matrix_(matrix), copy_(context, scratch, matrix.on_device() ? 0 : matrix.bytes()) {
    if (!matrix.on_device()) {
      copy_.upload(static_cast<const unsigned char*>(matrix.data()));
    }
  }

  std::size_t rows() const { return matrix_.rows(); }
  std::size_t columns() const { return matrix_.columns(); }
  bool is_half() const { return matrix_.is_half(); }
  // One of the two, by is_half().
  const float* single() const { return is_half() ? nullptr : static_cast<const float*>(data()); }
  const __half* half() const { return is_half() ? static_cast<const __half*>(data()) : nullptr; }

 private:
  const void* data() const { return matrix_.on_device() ? matrix_.data() : copy_.data(); }
  RealMatrix matrix_;
  DeviceBuffer<unsigned char> copy_;
};

// A float32 result: written in place when it is to stay on the device, else downloaded.
class DeviceOutput {
 public:
  DeviceOutput(DeviceContext& context, MemoryAccount& scratch, const RealOutput& out,
               std::size_t count)
      : out_(out), copy_(context, scratch, out.on_device || out.data == nullptr ? 0 : count) {}

  // nullptr when the caller does not want it.
  float* data() const { return out_.on_device ? out_.data : copy_.data(); }
  // Queues the download; the caller synchronises.
  void deliver() const {
    if (!out_.on_device && out_.data != nullptr) copy_.download(out_.data);
  }

 private:
  RealOutput out_;
  DeviceBuffer<float> copy_;
};

// Host values on the device; null stays null.
template <class T>
DeviceBuffer<T> to_device(DeviceContext& context, MemoryAccount& scratch, const T* host,
                          std::size_t count) {
  DeviceBuffer<T> buffer(context, scratch, host == nullptr ? 0 : count);
  if (host != nullptr) buffer.upload(host);
  return buffer;
}

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
