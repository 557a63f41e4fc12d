#pragma once
// What a device can do: the surface the binding talks to. One implementation for the CPU
// (backend/cpu_backend.cc), one for CUDA (cuda/cuda_backend.cu), which is also compiled against the
// emulated device (native/emulation).
//
// Every call returns when its results are where the caller asked for them. Calls of one backend may
// run at the same time on several threads; calls of one head may not.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "common/failure.h"
#include "common/real_matrix.h"
#include "cpu/loss.h"
#include "cpu/posterior.h"
#include "head/head.h"

namespace alphamargin {

// Memory of a device that JavaScript holds on to (a DeviceTensor).
class DeviceArray {
 public:
  virtual ~DeviceArray() = default;
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 protected:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  // As in the `device` option: "cpu", "cuda:0", "cuda-emulated".
  virtual std::string name() const = 0;
  // Bytes of device memory in use (0 for the CPU).
  virtual std::size_t device_bytes() const = 0;

  // Device arrays; the CPU has none and throws ERR_DEVICE.
  virtual std::shared_ptr<DeviceArray> allocate(std::size_t bytes) = 0;
  virtual void upload(const void* host, DeviceArray& array) = 0;
  virtual void download(const DeviceArray& array, void* host) = 0;

  // See cpu/posterior.h and cpu/loss.h. Matrices and outputs may lie on the device when they say
  // so (RealMatrix::on_device, RealOutput::on_device); everything else is host memory.
  virtual void posterior(const RealMatrix& logits, double alpha, const float* reference,
                         const RealOutput& out, const Cancellation& cancellation) = 0;
  virtual SparseRows sparse_posterior(const RealMatrix& logits, double alpha,
                                      const float* reference, const Cancellation& cancellation) = 0;
  virtual void posterior_backward(const RealMatrix& grad_posterior, const RealMatrix& posterior,
                                  double alpha, const float* reference, const RealOutput& out,
                                  const Cancellation& cancellation) = 0;
  virtual void loss_forward(const RealMatrix& cosines, const std::int32_t* labels, const Loss& loss,
                            const float* reference, const LossOutputs& outputs,
                            const Cancellation& cancellation) = 0;
  virtual void loss_backward(const RealMatrix& cosines, const std::int32_t* labels,
                             const Loss& loss, const float* reference, const RowSolution* solutions,
                             const float* grad_loss, const RealOutput& grad_cosines,
                             const Cancellation& cancellation) = 0;

  virtual std::shared_ptr<Head> make_head(const HeadSettings& settings) = 0;
};

}  // namespace alphamargin
