#pragma once

#include <memory>

#include "backend/backend.h"
#include "common/runtime.h"

namespace alphamargin {

std::shared_ptr<Backend> make_cpu_backend(std::shared_ptr<Runtime> runtime);

}  // namespace alphamargin
