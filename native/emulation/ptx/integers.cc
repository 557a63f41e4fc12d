// Integers, bits and predicates, by the PTX manual ("Parallel Thread Execution ISA").

#include <algorithm>
#include <bit>

#include "emulation/ptx/operations.h"

namespace alphamargin::emulated::ptx {
namespace {

// Twice as wide, for what overflows.
template <class T>
using Wide = std::conditional_t<
    sizeof(T) == 8, std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>,
    std::conditional_t<sizeof(T) == 4,
                       std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>,
                       std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>>>;

template <class T>
struct Integer {
  using Bits = std::make_unsigned_t<T>;
  static constexpr unsigned kBits = 8 * sizeof(T);
  struct Add {
    T operator()(T a, T b) const {
      return static_cast<T>(static_cast<Bits>(static_cast<Bits>(a) + static_cast<Bits>(b)));
    }
  };
  struct Subtract {
    T operator()(T a, T b) const {
      return static_cast<T>(static_cast<Bits>(static_cast<Bits>(a) - static_cast<Bits>(b)));
    }
  };
  struct Low {
    T operator()(T a, T b) const {
      return static_cast<T>(static_cast<Wide<Bits>>(a) * static_cast<Wide<Bits>>(b));
    }
  };
  struct High {
    T operator()(T a, T b) const {
      return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b) >> kBits);
    }
  };
  struct MultiplyAdd {
    T operator()(T a, T b, T c) const { return Add{}(Low{}(a, b), c); }
  };
  struct Divide {
    T operator()(T a, T b) const {
      if (b == 0) return static_cast<T>(-1);
      return static_cast<T>(static_cast<Wide<T>>(a) / b);
    }
  };
  struct Remainder {
    T operator()(T a, T b) const {
      if (b == 0) return a;
      return static_cast<T>(static_cast<Wide<T>>(a) % b);
    }
  };
  struct Least {
    T operator()(T a, T b) const { return std::min(a, b); }
  };
  struct Most {
    T operator()(T a, T b) const { return std::max(a, b); }
  };
  struct Negate {
    T operator()(T a) const { return Subtract{}(0, a); }
  };
  struct Size {
    T operator()(T a) const { return a < 0 ? Negate{}(a) : a; }
  };
};

template <class T>
void multiply_wide(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  set<Wide<T>>(frame, operands[0],
               static_cast<Wide<T>>(value_of<T>(frame, operands[1])) *
                   static_cast<Wide<T>>(value_of<T>(frame, operands[2])));
}

template <class T>
void multiply_wide_add(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  set<Wide<T>>(frame, operands[0],
               static_cast<Wide<T>>(static_cast<Wide<T>>(value_of<T>(frame, operands[1])) *
                                        static_cast<Wide<T>>(value_of<T>(frame, operands[2])) +
                                    value_of<Wide<T>>(frame, operands[3])));
}

// Shifts by more than the width leave nothing, or the sign.
template <class T, bool kLeft>
void shift(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const T value = value_of<T>(frame, operands[1]);
  const auto by = value_of<std::uint32_t>(frame, operands[2]);
  constexpr unsigned kBits = 8 * sizeof(T);
  T result;
  if constexpr (kLeft) {
    result = by >= kBits ? T{0} : static_cast<T>(value << by);
  } else {
    result = static_cast<T>(by >= kBits ? (value < 0 ? -1 : 0) : value >> by);
  }
  set<T>(frame, operands[0], result);
}

// The middle 32 bits of two registers.
template <bool kLeft, bool kWraps>
void funnel(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const std::uint64_t both = std::uint64_t{value_of<std::uint32_t>(frame, operands[2])} << 32 |
                             value_of<std::uint32_t>(frame, operands[1]);
  const auto by = value_of<std::uint32_t>(frame, operands[3]);
  const unsigned places = kWraps ? by & 31u : std::min(by, 32u);
  set<std::uint32_t>(frame, operands[0],
                     static_cast<std::uint32_t>(kLeft ? both << places >> 32 : both >> places));
}

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct ExclusiveOr {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};
struct Not {
  bool operator()(bool a) const { return !a; }
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
template <class T>
void count_ones(Frame& frame, const Instruction& instruction) {
  set<std::uint32_t>(
      frame, instruction.operands[0],
      static_cast<std::uint32_t>(std::popcount(value_of<T>(frame, instruction.operands[1]))));
}
template <class T>
void count_leading_zeros(Frame& frame, const Instruction& instruction) {
  set<std::uint32_t>(
      frame, instruction.operands[0],
      static_cast<std::uint32_t>(std::countl_zero(value_of<T>(frame, instruction.operands[1]))));
}
// How far the highest one is from the top; all ones when there is none.
template <class T>
void find_highest(Frame& frame, const Instruction& instruction) {
  const T value = value_of<T>(frame, instruction.operands[1]);
  set<std::uint32_t>(frame, instruction.operands[0],
                     value == 0 ? ~0u : static_cast<std::uint32_t>(std::countl_zero(value)));
}
template <class T>
void reverse(Frame& frame, const Instruction& instruction) {
  T value = value_of<T>(frame, instruction.operands[1]);
  T result = 0;
  for (unsigned bit = 0; bit < 8 * sizeof(T); ++bit, value >>= 1) {
    result = static_cast<T>(result << 1 | (value & 1u));
  }
  set<T>(frame, instruction.operands[0], result);
}
// Bits of the first, at a place in the second.
template <class T>
void insert_bits(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const unsigned place = value_of<std::uint32_t>(frame, operands[3]) & 0xffu;
  const unsigned length = value_of<std::uint32_t>(frame, operands[4]) & 0xffu;
  T result = value_of<T>(frame, operands[2]);
  const T bits = value_of<T>(frame, operands[1]);
  for (unsigned i = 0; i < length && place + i < 8 * sizeof(T); ++i) {
    const T bit = T{1} << (place + i);
    result = (bits >> i & 1u) != 0 ? result | bit : result & ~bit;
  }
  set<T>(frame, operands[0], result);
}

// Ones from a place on, as many as there are.
void make_mask(Frame& frame, const Instruction& instruction) {
  const unsigned place = value_of<std::uint32_t>(frame, instruction.operands[1]);
  const unsigned length = value_of<std::uint32_t>(frame, instruction.operands[2]);
  const std::uint32_t ones = length < 32 ? (1u << length) - 1 : ~0u;
  set<std::uint32_t>(frame, instruction.operands[0], place < 32 ? ones << place : 0);
}

// Sums and differences that hand a carry on.
template <class T, bool kSubtracts, bool kTakes, bool kLeaves>
void add_carry(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const T first = value_of<T>(frame, operands[1]);
  const T second = value_of<T>(frame, operands[2]);
  const unsigned carry = kTakes && frame.carry ? 1 : 0;
  const Wide<T> all =
      kSubtracts ? Wide<T>{first} - second - carry : Wide<T>{first} + second + carry;
  set<T>(frame, operands[0], static_cast<T>(all));
  if (kLeaves) frame.carry = (all >> (8 * sizeof(T)) & 1u) != 0;
}
template <bool kHigh, bool kTakes, bool kLeaves>
void multiply_add_carry(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const std::uint64_t product = std::uint64_t{value_of<std::uint32_t>(frame, operands[1])} *
                                value_of<std::uint32_t>(frame, operands[2]);
  const std::uint64_t all = std::uint64_t{static_cast<std::uint32_t>(product >> (kHigh ? 32 : 0))} +
                            value_of<std::uint32_t>(frame, operands[3]) +
                            (kTakes && frame.carry ? 1 : 0);
  set<std::uint32_t>(frame, operands[0], static_cast<std::uint32_t>(all));
  if (kLeaves) frame.carry = (all >> 32) != 0;
}

template <class T>
void add_bits(OperationTable& table, const std::string& width) {
  table["and" + width] = &binary<T, And>;
  table["or" + width] = &binary<T, Or>;
  table["xor" + width] = &binary<T, ExclusiveOr>;
  table["not" + width] = &unary<T, Not>;
  table["mov" + width] = &unary<T, Same>;
}

template <class T>
void add_integer(OperationTable& table, const std::string& bits, bool is_signed) {
  using Type = Integer<T>;
  const std::string type = (is_signed ? ".s" : ".u") + bits;
  table["add" + type] = &binary<T, typename Type::Add>;
  table["sub" + type] = &binary<T, typename Type::Subtract>;
  table["mul.lo" + type] = &binary<T, typename Type::Low>;
  table["mul.hi" + type] = &binary<T, typename Type::High>;
  table["mad.lo" + type] = &ternary<T, typename Type::MultiplyAdd>;
  table["div" + type] = &binary<T, typename Type::Divide>;
  table["rem" + type] = &binary<T, typename Type::Remainder>;
  table["min" + type] = &binary<T, typename Type::Least>;
  table["max" + type] = &binary<T, typename Type::Most>;
  table["neg" + type] = &unary<T, typename Type::Negate>;
  table["abs" + type] = &unary<T, typename Type::Size>;
  table["mov" + type] = &unary<T, Same>;
  table["shr" + type] = &shift<T, false>;
  if constexpr (sizeof(T) < 8) {
    table["mul.wide" + type] = &multiply_wide<T>;
    table["mad.wide" + type] = &multiply_wide_add<T>;
  }
  add_comparisons<T>(table, type);
}

template <class T>
void add_width(OperationTable& table, const std::string& bits) {
  add_bits<T>(table, ".b" + bits);
  table["shl.b" + bits] = &shift<T, true>;
  table["shr.b" + bits] = &shift<T, false>;
  table["selp.b" + bits] = &select<T>;
  table["setp.eq.b" + bits] = &compare<T, Equal>;
  table["setp.ne.b" + bits] = &compare<T, Unequal>;
  add_integer<T>(table, bits, false);
  add_integer<std::make_signed_t<T>>(table, bits, true);
  if constexpr (sizeof(T) >= 4) {
    table["popc.b" + bits] = &count_ones<T>;
    table["clz.b" + bits] = &count_leading_zeros<T>;
    table["bfind.shiftamt.u" + bits] = &find_highest<T>;
    table["brev.b" + bits] = &reverse<T>;
    table["bfi.b" + bits] = &insert_bits<T>;
    for (const char sign : {'u', 's'}) {
      const std::string type = std::string(".") + sign + bits;
      table["add.cc" + type] = &add_carry<T, false, false, true>;
      table["addc" + type] = &add_carry<T, false, true, false>;
      table["addc.cc" + type] = &add_carry<T, false, true, true>;
      table["sub.cc" + type] = &add_carry<T, true, false, true>;
      table["subc" + type] = &add_carry<T, true, true, false>;
      table["subc.cc" + type] = &add_carry<T, true, true, true>;
    }
  }
}

}  // namespace

void add_integers(OperationTable& table) {
  add_width<std::uint16_t>(table, "16");
  add_width<std::uint32_t>(table, "32");
  add_width<std::uint64_t>(table, "64");
  add_bits<bool>(table, ".pred");
  table["bmsk.clamp.b32"] = &make_mask;
  table["shf.l.wrap.b32"] = &funnel<true, true>;
  table["shf.r.wrap.b32"] = &funnel<false, true>;
  table["shf.l.clamp.b32"] = &funnel<true, false>;
  table["shf.r.clamp.b32"] = &funnel<false, false>;
  table["mad.lo.cc.u32"] = &multiply_add_carry<false, false, true>;
  table["madc.lo.cc.u32"] = &multiply_add_carry<false, true, true>;
  table["madc.lo.u32"] = &multiply_add_carry<false, true, false>;
  table["mad.hi.cc.u32"] = &multiply_add_carry<true, false, true>;
  table["madc.hi.cc.u32"] = &multiply_add_carry<true, true, true>;
  table["madc.hi.u32"] = &multiply_add_carry<true, true, false>;
}

}  // namespace alphamargin::emulated::ptx
