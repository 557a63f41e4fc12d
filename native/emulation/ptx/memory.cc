// Loads, stores, atomic operations and conversions of addresses. The address of shared memory is
// its distance from the start of the block's, a generic one that of the host; every access must lie
// within one array or allocation and at a multiple of its size.

#include "emulation/ptx/memory.h"

#include <algorithm>
#include <string>

#include "emulation/runtime_api.h"

namespace alphamargin::emulated::ptx {
namespace {

std::string described(std::uint64_t address, std::size_t bytes) {
  return std::to_string(bytes) + " bytes at address " + std::to_string(address);
}

inline void check_alignment(const Frame& frame, const Instruction& instruction,
                            std::uint64_t address, std::size_t bytes, std::size_t alignment) {
  if (address % alignment == 0) return;
  fault(frame, instruction,
        described(address, bytes) + ", which is not a multiple of " + std::to_string(alignment));
}

bool is_within(std::uint64_t address, std::size_t bytes, std::uint64_t begin, std::size_t length) {
  return address >= begin && address - begin <= length && bytes <= length - (address - begin);
}

}  // namespace

unsigned char* shared_memory(Frame& frame, const Instruction& instruction, std::uint64_t address,
                             std::size_t bytes, std::size_t alignment) {
  const auto offset = static_cast<std::uint32_t>(address);
  check_alignment(frame, instruction, offset, bytes, alignment);
  for (const SharedArray& array : frame.execution.shared) {
    if (is_within(offset, bytes, array.offset, array.bytes)) return shared_base() + offset;
  }
  fault(frame, instruction, described(offset, bytes) + ", outside of shared memory");
}

unsigned char* global_memory(Frame& frame, const Instruction& instruction, std::uint64_t address,
                             std::size_t bytes, std::size_t alignment) {
  check_alignment(frame, instruction, address, bytes, alignment);
  auto* const place = reinterpret_cast<unsigned char*>(address);
  Reach& reach = instruction.reach;
  if (reach.launch == frame.execution.number &&
      is_within(address, bytes, reach.begin, reach.end - reach.begin)) {
    return place;
  }
  const auto [begin, length] = allocation_around(address);
  if (is_within(address, bytes, begin, length)) {
    reach = {begin, begin + length, frame.execution.number};
    return place;
  }
  if (frame.execution.module.has_variable(address, bytes)) return place;
  fault(frame, instruction, described(address, bytes) + ", outside of device memory");
}

namespace {

// Not inlined: into hundreds of loads and stores that would take long to compile.
template <Space kSpace>
[[gnu::noinline]] unsigned char* memory(Frame& frame, const Instruction& instruction,
                                        const Operand& operand, std::size_t bytes) {
  const auto address = value_of<std::uint64_t>(frame, operand);
  if constexpr (kSpace == Space::kParameter || kSpace == Space::kLocal) {
    constexpr bool kIsLocal = kSpace == Space::kLocal;
    const std::size_t most = kIsLocal ? frame.function.local_bytes : frame.function.parameter_bytes;
    check_alignment(frame, instruction, address, bytes, bytes);
    if (is_within(address, bytes, 0, most)) {
      return (kIsLocal ? frame.local : frame.parameters) + address;
    }
    fault(frame, instruction, described(address, bytes) + ", outside of its parameters or stack");
  } else {
    interrupt(frame);
    if constexpr (kSpace == Space::kShared) {
      report_access(frame, instruction, address, bytes, true);
      return shared_memory(frame, instruction, address, bytes, bytes);
    } else {
      if constexpr (kSpace == Space::kGeneric) {
        const auto begin = [](const unsigned char* place) {
          return reinterpret_cast<std::uintptr_t>(place);
        };
        const std::uint64_t shared = begin(shared_base());
        if (shared != 0 &&
            is_within(address, bytes, shared, Launch::current().dynamic_shared_bytes())) {
          report_access(frame, instruction, address - shared, bytes, true);
          return shared_memory(frame, instruction, address - shared, bytes, bytes);
        }
        if (is_within(address, bytes, begin(frame.local), frame.function.local_bytes) ||
            is_within(address, bytes, begin(frame.parameters), frame.function.parameter_bytes)) {
          check_alignment(frame, instruction, address, bytes, bytes);
          return reinterpret_cast<unsigned char*>(address);
        }
      }
      report_access(frame, instruction, address, bytes, false);
      return global_memory(frame, instruction, address, bytes, bytes);
    }
  }
}

template <class T, Space kSpace, unsigned kCount>
void load(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  T values[kCount];
  std::memcpy(values, memory<kSpace>(frame, instruction, operands[kCount], sizeof values),
              sizeof values);
  for (unsigned i = 0; i < kCount; ++i) set<T>(frame, operands[i], values[i]);
}

template <class T, Space kSpace, unsigned kCount>
void store(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  T values[kCount];
  for (unsigned i = 0; i < kCount; ++i) values[i] = value_of<T>(frame, operands[1 + i]);
  std::memcpy(memory<kSpace>(frame, instruction, operands[0], sizeof values), values,
              sizeof values);
}

struct Add {
  template <class T>
  T operator()(T old, T value) const {
    return static_cast<T>(old + value);
  }
};
struct Least {
  template <class T>
  T operator()(T old, T value) const {
    return std::min(old, value);
  }
};
struct Most {
  template <class T>
  T operator()(T old, T value) const {
    return std::max(old, value);
  }
};
struct Or {
  template <class T>
  T operator()(T old, T value) const {
    return old | value;
  }
};
struct Exchange {
  template <class T>
  T operator()(T, T value) const {
    return value;
  }
};

template <class T, Space kSpace, class Operation>
void atomic(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  unsigned char* const place = memory<kSpace>(frame, instruction, operands[1], sizeof(T));
  T old;
  std::memcpy(&old, place, sizeof old);
  const T value = Operation{}(old, value_of<T>(frame, operands[2]));
  std::memcpy(place, &value, sizeof value);
  set<T>(frame, operands[0], old);
}

template <class T, Space kSpace>
void compare_and_swap(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  unsigned char* const place = memory<kSpace>(frame, instruction, operands[1], sizeof(T));
  T old;
  std::memcpy(&old, place, sizeof old);
  const T value = value_of<T>(frame, operands[3]);
  if (old == value_of<T>(frame, operands[2])) std::memcpy(place, &value, sizeof value);
  set<T>(frame, operands[0], old);
}

enum class Base { kNone, kShared, kLocal, kParameter };

// cvta: to a generic address, or (kBack) from one.
template <Base kBase, bool kBack>
void convert_address(Frame& frame, const Instruction& instruction) {
  std::uint64_t base = 0;
  if constexpr (kBase == Base::kShared) base = reinterpret_cast<std::uintptr_t>(shared_base());
  if constexpr (kBase == Base::kLocal) base = reinterpret_cast<std::uintptr_t>(frame.local);
  if constexpr (kBase == Base::kParameter) {
    base = reinterpret_cast<std::uintptr_t>(frame.parameters);
  }
  const auto address = value_of<std::uint64_t>(frame, instruction.operands[1]);
  set<std::uint64_t>(frame, instruction.operands[0], kBack ? address - base : address + base);
}

template <class T, Space kSpace>
void add_type(OperationTable& table, const std::string& load_begin, const std::string& store_begin,
              const std::string& type) {
  table[load_begin + type] = &load<T, kSpace, 1>;
  table[store_begin + type] = &store<T, kSpace, 1>;
  table[load_begin + ".v2" + type] = &load<T, kSpace, 2>;
  table[store_begin + ".v2" + type] = &store<T, kSpace, 2>;
  if constexpr (sizeof(T) <= 4) {
    table[load_begin + ".v4" + type] = &load<T, kSpace, 4>;
    table[store_begin + ".v4" + type] = &store<T, kSpace, 4>;
  }
}

template <Space kSpace>
void add_space(OperationTable& table, const std::string& load_begin,
               const std::string& store_begin) {
  const auto add = [&]<class T>(T, const char* type) {
    add_type<T, kSpace>(table, load_begin, store_begin, type);
  };
  add(std::uint8_t{}, ".u8");
  add(std::uint8_t{}, ".b8");
  add(std::int8_t{}, ".s8");
  add(std::uint16_t{}, ".u16");
  add(std::uint16_t{}, ".b16");
  add(std::int16_t{}, ".s16");
  add(std::uint32_t{}, ".u32");
  add(std::uint32_t{}, ".b32");
  add(std::int32_t{}, ".s32");
  add(float{}, ".f32");
  add(std::uint64_t{}, ".u64");
  add(std::uint64_t{}, ".b64");
  add(std::int64_t{}, ".s64");
  add(double{}, ".f64");
}

template <class T, Space kSpace>
void add_atomics(OperationTable& table, const std::string& begin, const std::string& bits) {
  using Signed = std::make_signed_t<T>;
  table[begin + ".add.u" + bits] = &atomic<T, kSpace, Add>;
  table[begin + ".add.s" + bits] = &atomic<T, kSpace, Add>;
  table[begin + ".min.u" + bits] = &atomic<T, kSpace, Least>;
  table[begin + ".min.s" + bits] = &atomic<Signed, kSpace, Least>;
  table[begin + ".max.u" + bits] = &atomic<T, kSpace, Most>;
  table[begin + ".max.s" + bits] = &atomic<Signed, kSpace, Most>;
  table[begin + ".or.b" + bits] = &atomic<T, kSpace, Or>;
  table[begin + ".exch.b" + bits] = &atomic<T, kSpace, Exchange>;
  table[begin + ".cas.b" + bits] = &compare_and_swap<T, kSpace>;
}

template <Space kSpace>
void add_atomics_of(OperationTable& table, const std::string& begin) {
  add_atomics<std::uint32_t, kSpace>(table, begin, "32");
  add_atomics<std::uint64_t, kSpace>(table, begin, "64");
}

}  // namespace

void add_memory(OperationTable& table) {
  add_space<Space::kGeneric>(table, "ld", "st");
  add_space<Space::kGlobal>(table, "ld.global", "st.global");
  add_space<Space::kGlobal>(table, "ld.global.nc", "st.global");
  add_space<Space::kGlobal>(table, "ld.volatile.global", "st.volatile.global");
  // Accesses are seen in the order in which they are made, whatever they ask for.
  add_space<Space::kGeneric>(table, "ld.relaxed.gpu", "st.relaxed.gpu");
  add_space<Space::kGlobal>(table, "ld.relaxed.gpu.global", "st.relaxed.gpu.global");
  add_space<Space::kShared>(table, "ld.shared", "st.shared");
  add_space<Space::kShared>(table, "ld.volatile.shared", "st.volatile.shared");
  add_space<Space::kLocal>(table, "ld.local", "st.local");
  add_space<Space::kParameter>(table, "ld.param", "st.param");
  add_atomics_of<Space::kGeneric>(table, "atom");
  add_atomics_of<Space::kGlobal>(table, "atom.global");
  add_atomics_of<Space::kShared>(table, "atom.shared");
  const auto add_conversion = [&](const std::string& space, Execute to_generic, Execute back) {
    table["cvta." + space + ".u64"] = to_generic;
    table["cvta.to." + space + ".u64"] = back;
  };
  add_conversion("global", &convert_address<Base::kNone, false>,
                 &convert_address<Base::kNone, true>);
  add_conversion("shared", &convert_address<Base::kShared, false>,
                 &convert_address<Base::kShared, true>);
  add_conversion("local", &convert_address<Base::kLocal, false>,
                 &convert_address<Base::kLocal, true>);
  add_conversion("param", &convert_address<Base::kParameter, false>,
                 &convert_address<Base::kParameter, true>);
}

}  // namespace alphamargin::emulated::ptx
