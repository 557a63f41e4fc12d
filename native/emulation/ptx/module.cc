#include <utility>

#include "emulation/ptx/parser.h"

namespace alphamargin::emulated::ptx {

Module::Module(std::string file, std::string text)
    : file_(std::move(file)), text_(std::move(text)) {
  Parser::survey(*this);
}

bool Module::runs_on(int capability) const {
  return is_specific_ ? capability == capability_ : capability >= capability_;
}

const Function* Module::entry(std::string_view name) {
  if (!bodies_.contains(name)) return nullptr;
  const std::lock_guard lock(mutex_);
  const auto known = functions_.find(name);
  if (known != functions_.end()) return known->second.get();
  std::unique_ptr<Function> made = Parser::function(*this, name);
  // Its name within the text outlives the caller's.
  return functions_.emplace(bodies_.find(name)->first, std::move(made)).first->second.get();
}

bool Module::has_variable(std::uintptr_t address, std::size_t bytes) const {
  for (const auto& [name, variable] : variables_) {
    const auto begin = reinterpret_cast<std::uintptr_t>(variable.memory.get());
    if (address >= begin && address + bytes <= begin + variable.bytes) return true;
  }
  return false;
}

}  // namespace alphamargin::emulated::ptx
