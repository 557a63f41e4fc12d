#pragma once
// PTX, the assembly that nvcc makes of our kernels, ready to be interpreted. With it the emulated
// device runs what a GPU's driver is given, instead of the same sources compiled for the host: the
// instructions written in assembly, code for devices alone, CUDA's mathematical functions.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <vector>

namespace alphamargin::emulated::ptx {

struct Frame;
struct Instruction;
struct Function;

using Execute = void (*)(Frame& frame, const Instruction& instruction);

// Registers of every function: always zero, what nobody reads, and those that tell a thread where
// it is.
enum Slot : std::uint32_t {
  kZero,
  kSink,
  kThreadX,
  kThreadY,
  kThreadZ,
  kBlockX,
  kBlockY,
  kBlockZ,
  kBlocksX,
  kBlocksY,
  kBlocksZ,
  kThreadsX,
  kThreadsY,
  kThreadsZ,
  kLane,
  kWarpOfBlock,
  kRankOfCluster,
  kLanesBelow,  // masks of lanes: less, not more, not less, more
  kLanesUpTo,
  kLanesFrom,
  kLanesAbove,
  kGivenShared,  // where the shared memory of the launch begins
  kFirstFree,
};

// registers[slot] + offset: a register, a constant, or an address.
struct Operand {
  std::uint32_t slot = kZero;
  std::uint64_t offset = 0;
};

// Memory that an instruction has reached before, in a launch.
struct Reach {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::uint64_t launch = 0;
};

struct Instruction {
  Execute execute = nullptr;
  const Operand* operands = nullptr;
  std::uint32_t count = 0;    // of operands
  std::uint32_t leading = 0;  // of them in braces or parentheses at the beginning
  std::uint32_t guard = kZero;
  bool is_guarded = false;
  bool is_negated = false;
  std::uint32_t target = 0;  // of a branch
  std::uint32_t line = 0;
  std::uint32_t source_line = 0;  // of the C++ it was made of, where nvcc was given -lineinfo
  std::string_view source;
  const Function* callee = nullptr;
  std::string_view opcode;
  mutable Reach reach;
};

struct Parameter {
  std::size_t offset;
  std::size_t bytes;
  std::size_t alignment;
};

struct SharedArray {
  std::size_t offset;  // from the start of the block's shared memory
  std::size_t bytes;
};

struct Function {
  std::string name;
  std::vector<Parameter> results;  // of a function that is called
  std::vector<Parameter> parameters;
  std::size_t parameter_bytes = 0;  // results, parameters, then those of calls
  std::size_t local_bytes = 0;
  std::vector<SharedArray> shared;  // without what the launch gives
  std::size_t shared_bytes = 0;     // in front of that
  std::size_t most_threads = 1024;  // of a block
  std::uint32_t registers = kFirstFree;
  std::vector<Instruction> code;
  std::vector<std::unique_ptr<Operand[]>> operands;
};

// A file of PTX. Throws std::runtime_error, naming the line, when it has what is not known here.
class Module {
 public:
  Module(std::string file, std::string text);
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& file() const { return file_; }
  // The compute capability (10·major + minor) that its text was made for, and whether devices of
  // another can have it compiled, too.
  int capability() const { return capability_; }
  bool runs_on(int capability) const;
  // A kernel or a function; null when there is none of that name. Prepared when asked for: what is
  // not launched may use instructions that are not known here. Any thread may ask.
  const Function* entry(std::string_view name);
  // Whether an address belongs to a variable of the module.
  bool has_variable(std::uintptr_t address, std::size_t bytes) const;

 private:
  friend class Parser;
  struct Variable {
    std::unique_ptr<unsigned char[]> memory;
    std::size_t bytes;
  };
  struct Shared {
    std::size_t bytes;
    std::size_t alignment;
    bool is_given;  // its bytes are those of the launch
  };

  std::string file_;
  std::string text_;
  int capability_ = 0;
  bool is_specific_ = false;                                     // for devices of that one alone
  std::unordered_map<std::uint64_t, std::string_view> sources_;  // names of C++ files
  std::unordered_map<std::string_view, std::size_t> bodies_;     // where .entry and .func begin
  std::unordered_map<std::string_view, Variable> variables_;
  std::unordered_map<std::string_view, Shared> shared_;
  std::recursive_mutex mutex_;  // a function asks for those it calls
  std::unordered_map<std::string_view, std::unique_ptr<Function>> functions_;
};

// What an opcode does; null when it is not known.
Execute find_operation(std::string_view opcode);

using OperationTable = std::unordered_map<std::string, Execute>;
void add_integers(OperationTable& table);
void add_reals(OperationTable& table);
void add_conversions(OperationTable& table);
void add_memory(OperationTable& table);
void add_warp_operations(OperationTable& table);
void add_async_operations(OperationTable& table);

}  // namespace alphamargin::emulated::ptx
