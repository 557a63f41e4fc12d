#pragma once
// Prototypes between float32 rows and halves (prototype_row.cuh). They belong to
// DeviceState arrays whose `rows` is nullptr.
//
// Shapes: prototypes first … first + count − 1, rows [count, D]. Traffic: 8 bytes an element.

#include "cuda/head/head_arrays.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {

void join_rows(DeviceContext& context, const PrototypeArrays& prototypes, std::size_t first,
               std::size_t count, float* rows);
void split_rows(DeviceContext& context, const PrototypeArrays& prototypes, std::size_t first,
                std::size_t count, const float* rows);

}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
