#include "cuda/dialect.h"

namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE {
}  // namespace alphamargin::ALPHAMARGIN_DEVICE_NAMESPACE
