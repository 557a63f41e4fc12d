#include "emulation/ptx/interpreter.h"

#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

#include "emulation/ptx/frame.h"
#include "emulation/runtime_api.h"

namespace alphamargin::emulated::ptx {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

const std::string& folder() {
  static const std::string value = [] {
    const char* const found = std::getenv("ALPHAMARGIN_EMULATED_PTX");
    return std::string(found == nullptr ? "" : found);
  }();
  return value;
}

// All kernels of the folder, by the function on the host.
class Library {
 public:
  struct Place {
    std::string file;
    std::string entry;
  };

  Library() {
    std::istringstream lines(text_of(folder() + "/kernels.txt"));
    std::ptrdiff_t distance;
    Place place;
    while (lines >> distance >> place.file >> place.entry) places_[distance] = place;
  }

  const Place& find(const void* kernel) const {
    const auto distance =
        reinterpret_cast<std::intptr_t>(kernel) - reinterpret_cast<std::intptr_t>(&launch_instead);
    const auto place = places_.find(distance);
    if (place != places_.end()) return place->second;
    throw std::runtime_error("the kernel is not in " + folder() + "/kernels.txt");
  }
  Module& module(const std::string& file) {
    std::unique_ptr<Module>& known = modules_[file];
    if (!known) known = std::make_unique<Module>(file, text_of(folder() + "/" + file));
    return *known;
  }

 private:
  std::map<std::ptrdiff_t, Place> places_;
  std::map<std::string, std::unique_ptr<Module>> modules_;
};

// Where the kernel expects them.
std::vector<unsigned char> parameters_of(const Function& kernel,
                                         std::span<const Argument> arguments) {
  if (arguments.size() != kernel.parameters.size()) {
    throw std::runtime_error("the kernel has another number of parameters");
  }
  std::vector<unsigned char> result(kernel.parameter_bytes);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Parameter& parameter = kernel.parameters[i];
    // The map of tiles is another one here: the driver's is opaque.
    const bool is_map = parameter.alignment >= 64 && arguments[i].bytes < parameter.bytes;
    if (arguments[i].bytes != parameter.bytes && !is_map) {
      throw std::runtime_error("parameter " + std::to_string(i) + " has " +
                               std::to_string(parameter.bytes) + " bytes, not " +
                               std::to_string(arguments[i].bytes));
    }
    std::memcpy(result.data() + parameter.offset, arguments[i].value, arguments[i].bytes);
  }
  return result;
}

// Memory of a function that runs, undefined at first like all memory. Blocks of it are kept: a
// kernel has a million threads.
class Storage {
 public:
  Storage(const Execution& execution, const Function& function)
      : registers_(units(function.registers * sizeof(std::uint64_t))),
        parameters_(units(function.parameter_bytes)),
        needed_(registers_ + parameters_ + units(function.local_bytes)) {
    auto& kept = kept_blocks();
    if (!kept.empty()) {
      block_ = std::move(kept.back());
      kept.pop_back();
    }
    if (block_.size() < needed_) block_.resize(needed_);
    fill_uninitialised(block_.data(), needed_ * sizeof(Unit), execution.seed);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  ~Storage() { kept_blocks().push_back(std::move(block_)); }

  Frame frame(Execution& execution, const Function& function) {
    unsigned char* const parameters = block_[registers_].bytes;
    Frame result{execution, function, reinterpret_cast<std::uint64_t*>(block_.data()), parameters,
                 parameters + parameters_ * sizeof(Unit)};
    result.registers[kZero] = 0;
    return result;
  }

 private:
  // Of the largest alignment that a variable has.
  struct alignas(128) Unit {
    unsigned char bytes[128];
  };
  static std::size_t units(std::size_t bytes) { return bytes / sizeof(Unit) + 1; }
  static std::vector<std::vector<Unit>>& kept_blocks() {
    thread_local std::vector<std::vector<Unit>> blocks;
    return blocks;
  }

  std::size_t registers_;
  std::size_t parameters_;
  std::size_t needed_;
  std::vector<Unit> block_;
};

void set_places(std::uint64_t* registers, const Function& function) {
  const Launch& launch = Launch::current();
  const auto set_three = [&](Slot first, const dim3& values) {
    registers[first] = values.x;
    registers[first + 1] = values.y;
    registers[first + 2] = values.z;
  };
  set_three(kThreadX, launch.thread_index());
  set_three(kBlockX, launch.block_index());
  set_three(kBlocksX, launch.grid_size());
  set_three(kThreadsX, launch.block_size());
  const unsigned lane = launch.lane();
  const std::uint32_t below = (1u << lane) - 1;
  registers[kLane] = lane;
  registers[kWarpOfBlock] = Launch::current().running().linear / kWarp;
  registers[kRankOfCluster] = launch.cluster_rank();
  registers[kLanesBelow] = below;
  registers[kLanesUpTo] = below | 1u << lane;
  registers[kLanesFrom] = static_cast<std::uint32_t>(~below);
  registers[kLanesAbove] = static_cast<std::uint32_t>(~(below | 1u << lane));
  registers[kGivenShared] = function.shared_bytes;
}

void run_thread(Execution& execution) {
  const Function& kernel = execution.kernel;
  Storage storage(execution, kernel);
  Frame frame = storage.frame(execution, kernel);
  set_places(frame.registers, kernel);
  if (!execution.parameters.empty()) {
    std::memcpy(frame.parameters, execution.parameters.data(), execution.parameters.size());
  }
  AccessReport* const accesses = execution.accesses;
  if (accesses != nullptr) accesses->begin_thread(frame);
  run(frame);
  if (accesses != nullptr) accesses->end_thread(frame);
  if (!frame.products.empty()) {
    Launch::current().fault("a thread has returned before its products were complete");
  }
}

}  // namespace

bool is_wanted() {
  static const bool wanted = !folder().empty();
  return wanted;
}

void launch(const char* name, Module& module, std::string_view kernel, const Shape& shape,
            std::span<const Argument> arguments) {
  static std::uint64_t launches = 0;
  try {
    const Function* const function = module.entry(kernel);
    if (function == nullptr) {
      throw std::runtime_error(module.file() + " has no kernel " + std::string(kernel));
    }
    if (shape.block.count() > function->most_threads) {
      throw std::runtime_error("a block of more threads than its __launch_bounds__");
    }
    const std::size_t shared_bytes = function->shared_bytes + shape.shared_bytes;
    const DeviceSettings settings = device_settings();
    Launch running(name, shape.grid, shape.block, shared_bytes, shape.in_order ? 0 : settings.seed,
                   shape.cluster);
    Execution execution{.kernel = *function,
                        .module = module,
                        .shared = function->shared,
                        .parameters = parameters_of(*function, arguments),
                        .number = ++launches,
                        .seed = settings.seed,
                        .interval = static_cast<unsigned>(settings.interval),
                        .left = 1,
                        .accesses = AccessReport::wanted()};
    execution.shared.push_back({function->shared_bytes, shape.shared_bytes});
    running.run([&execution] { run_thread(execution); });
  } catch (const std::runtime_error& error) {
    throw DeviceFault{std::string("kernel ") + name + ": " + error.what()};
  }
}

void launch_instead(const char* name, const void* kernel, const Shape& shape,
                    std::span<const Argument> arguments) {
  static Library library;
  const auto& [file, entry] = library.find(kernel);
  launch(name, library.module(file), entry, shape, arguments);
}

void fault(const Frame& frame, const Instruction& instruction, const std::string& message) {
  std::string place;
  if (!instruction.source.empty()) {
    place = std::string(instruction.source) + ":" + std::to_string(instruction.source_line) + ", ";
  }
  Launch::current().fault(place + frame.execution.module.file() + ":" +
                          std::to_string(instruction.line) + " (" +
                          std::string(instruction.opcode) + "): " + message);
}

void let_others_run(Execution& execution) {
  Launch& launch = Launch::current();
  execution.left = 1 + static_cast<unsigned>(launch.next_random() % (2 * execution.interval));
  launch.yield();
}

std::uint64_t run(Frame& frame) {
  const std::vector<Instruction>& code = frame.function.code;
  AccessReport* const accesses = frame.execution.accesses;
  std::uint64_t* const counts = accesses == nullptr || &frame.function != &frame.execution.kernel
                                    ? nullptr
                                    : accesses->executed(frame);
  std::uint64_t executed = 0;
  for (; frame.next < code.size(); ++executed) {
    if (counts != nullptr) ++counts[frame.next];
    const Instruction& instruction = code[frame.next++];
    if (instruction.is_guarded &&
        ((frame.registers[instruction.guard] & 1u) != 0) == instruction.is_negated) {
      continue;
    }
    instruction.execute(frame, instruction);
  }
  return executed;
}

namespace {

void branch(Frame& frame, const Instruction& instruction) { frame.next = instruction.target; }
void leave(Frame& frame, const Instruction&) { frame.next = frame.function.code.size(); }
void trap(Frame& frame, const Instruction& instruction) { fault(frame, instruction, "trap"); }

// (results), function, (arguments): all are parameters of this frame.
void call(Frame& frame, const Instruction& instruction) {
  const Function* const callee = instruction.callee;
  if (callee == nullptr) fault(frame, instruction, "a call of no function");
  const Operand* operands = instruction.operands;
  Storage storage(frame.execution, *callee);
  Frame inner = storage.frame(frame.execution, *callee);
  const std::size_t results = callee->results.size();
  if (instruction.leading != results ||
      instruction.count != results + 1 + callee->parameters.size()) {
    fault(frame, instruction, "a call with another number of arguments");
  }
  for (std::size_t i = 0; i < callee->parameters.size(); ++i) {
    const Parameter& parameter = callee->parameters[i];
    std::memcpy(inner.parameters + parameter.offset,
                frame.parameters + operands[results + 1 + i].offset, parameter.bytes);
  }
  const std::uint64_t executed = run(inner);
  if (AccessReport* const accesses = frame.execution.accesses;
      accesses != nullptr && &frame.function == &frame.execution.kernel) {
    accesses->executed(frame)[&instruction - frame.function.code.data()] += executed;
  }
  for (std::size_t i = 0; i < results; ++i) {
    const Parameter& result = callee->results[i];
    std::memcpy(frame.parameters + operands[i].offset, inner.parameters + result.offset,
                result.bytes);
  }
}

OperationTable all_operations() {
  OperationTable table;
  add_integers(table);
  add_reals(table);
  add_conversions(table);
  add_memory(table);
  add_warp_operations(table);
  add_async_operations(table);
  table["bra"] = table["bra.uni"] = &branch;
  table["ret"] = table["exit"] = &leave;
  table["trap"] = &trap;
  table["call"] = table["call.uni"] = &call;
  return table;
}

}  // namespace

Execute find_operation(std::string_view opcode) {
  static const OperationTable table = all_operations();
  const auto found = table.find(std::string(opcode));
  return found == table.end() ? nullptr : found->second;
}

}  // namespace alphamargin::emulated::ptx
