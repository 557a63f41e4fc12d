#pragma once
// A block solves one row: block-wide reductions and the threshold equation (math/threshold.h,
// cpu/row_solver.h) with one block's threads.

#include "cpu/row_solver.h"
#include "cuda/device_loss.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

// The target of a row as kernels need it.
struct DeviceTarget {
  double present;  // 1 or 0
  double cosine;   // ψ(c_y) − m3
  double measure;  // q_y before the margin
};

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
