// Conversions, packed registers, and the approximations of the special function unit.

#include <bit>
#include <cmath>
#include <limits>

#include "emulation/half.h"
#include "emulation/ptx/frame.h"

namespace alphamargin::emulated::ptx {
namespace {

template <class From, class To>
void convert(Frame& frame, const Instruction& instruction) {
  const From value = value_of<From>(frame, instruction.operands[1]);
  set<To>(frame, instruction.operands[0], static_cast<To>(value));
}

enum class Rounding { kNearest, kZero, kDown, kUp };

template <class T>
T rounded(T value, Rounding rounding) {
  switch (rounding) {
    case Rounding::kNearest:
      return std::nearbyint(value);
    case Rounding::kZero:
      return std::trunc(value);
    case Rounding::kDown:
      return std::floor(value);
    default:
      return std::ceil(value);
  }
}

template <class T, Rounding kRounding>
void round_real(Frame& frame, const Instruction& instruction) {
  const T value = value_of<T>(frame, instruction.operands[1]);
  set<T>(frame, instruction.operands[0], rounded(value, kRounding));
}

// To the nearest that the type has; NaN becomes 0.
template <class From, class To, Rounding kRounding>
void to_integer(Frame& frame, const Instruction& instruction) {
  const From value = rounded(value_of<From>(frame, instruction.operands[1]), kRounding);
  constexpr To kLeast = std::numeric_limits<To>::min();
  constexpr To kMost = std::numeric_limits<To>::max();
  To result;
  if (std::isnan(value)) {
    result = 0;
  } else if (value <= static_cast<From>(kLeast)) {
    result = kLeast;
  } else if (value >= static_cast<From>(kMost)) {
    result = kMost;
  } else {
    result = static_cast<To>(value);
  }
  set<To>(frame, instruction.operands[0], result);
}

void half_to_real(Frame& frame, const Instruction& instruction) {
  set<float>(frame, instruction.operands[0],
             half_table()[value_of<std::uint16_t>(frame, instruction.operands[1])]);
}
void real_to_half(Frame& frame, const Instruction& instruction) {
  set<std::uint16_t>(frame, instruction.operands[0],
                     __float2half_rn(value_of<float>(frame, instruction.operands[1])).bits);
}

// mov of {low, high}: from or to a register of twice the width.
template <class Half, class Whole>
void move_packed(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  constexpr unsigned kBits = 8 * sizeof(Half);
  if (instruction.count == 2) {
    set<Whole>(frame, operands[0], value_of<Whole>(frame, operands[1]));
  } else if (instruction.leading == 2) {
    const auto whole = value_of<Whole>(frame, operands[2]);
    set<Half>(frame, operands[0], static_cast<Half>(whole));
    set<Half>(frame, operands[1], static_cast<Half>(whole >> kBits));
  } else {
    set<Whole>(frame, operands[0],
               static_cast<Whole>(Whole{value_of<Half>(frame, operands[1])} |
                                  Whole{value_of<Half>(frame, operands[2])} << kBits));
  }
}

// What the hardware gives is some number near the right one, always the same for an operand. Here
// it is off by two digits at most, as the manual allows, in a way that depends on the operand.
float nearly(float value, std::uint32_t operand) {
  if (!std::isnormal(value)) return value;
  const std::uint64_t mixed = operand * 0x9e3779b97f4a7c15u;
  const auto off = static_cast<std::uint32_t>((mixed >> 32) % 5) - 2;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) + off);
}

void approximate_exp2(Frame& frame, const Instruction& instruction) {
  const auto value = value_of<float>(frame, instruction.operands[1]);
  const auto exact = static_cast<float>(std::exp2(static_cast<double>(value)));
  set<float>(frame, instruction.operands[0],
             value == 0 ? 1.0f : nearly(exact, std::bit_cast<std::uint32_t>(value)));
}

// The upper half of the operand and of the result only; numbers below the normal ones are zeros.
template <class Function>
void approximate_upper(Frame& frame, const Instruction& instruction, Function function) {
  constexpr std::uint64_t kUpper = 0xffffffff00000000u;
  const auto bits = value_of<std::uint64_t>(frame, instruction.operands[1]);
  double value = std::bit_cast<double>(bits & kUpper);
  if (std::fpclassify(value) == FP_SUBNORMAL) value = std::copysign(0.0, value);
  double result = function(value);
  if (std::fpclassify(result) == FP_SUBNORMAL) result = std::copysign(0.0, result);
  const std::uint64_t upper = std::bit_cast<std::uint64_t>(result) >> 32;
  const bool is_exact = !std::isnormal(result);
  // One digit of the upper half.
  const std::uint64_t off = is_exact ? 0 : (bits * 0x9e3779b97f4a7c15u >> 40) % 2;
  set<std::uint64_t>(frame, instruction.operands[0], (upper + off) << 32);
}
void approximate_reciprocal(Frame& frame, const Instruction& instruction) {
  approximate_upper(frame, instruction, [](double value) { return 1 / value; });
}
void approximate_reciprocal_root(Frame& frame, const Instruction& instruction) {
  approximate_upper(frame, instruction, [](double value) { return 1 / std::sqrt(value); });
}

// cvt between integers: from each type to each.
template <class From>
void add_from(OperationTable& table, const std::string& from) {
  table["cvt.u8" + from] = &convert<From, std::uint8_t>;
  table["cvt.s8" + from] = &convert<From, std::int8_t>;
  table["cvt.u16" + from] = &convert<From, std::uint16_t>;
  table["cvt.s16" + from] = &convert<From, std::int16_t>;
  table["cvt.u32" + from] = &convert<From, std::uint32_t>;
  table["cvt.s32" + from] = &convert<From, std::int32_t>;
  table["cvt.u64" + from] = &convert<From, std::uint64_t>;
  table["cvt.s64" + from] = &convert<From, std::int64_t>;
  table["cvt.rn.f32" + from] = &convert<From, float>;
  table["cvt.rn.f64" + from] = &convert<From, double>;
}

template <class From, class To>
void add_to_integer(OperationTable& table, const std::string& types) {
  table["cvt.rni" + types] = &to_integer<From, To, Rounding::kNearest>;
  table["cvt.rzi" + types] = &to_integer<From, To, Rounding::kZero>;
  table["cvt.rmi" + types] = &to_integer<From, To, Rounding::kDown>;
  table["cvt.rpi" + types] = &to_integer<From, To, Rounding::kUp>;
}

template <class T>
void add_real(OperationTable& table, const std::string& type) {
  table["cvt.rni" + type + type] = &round_real<T, Rounding::kNearest>;
  table["cvt.rzi" + type + type] = &round_real<T, Rounding::kZero>;
  table["cvt.rmi" + type + type] = &round_real<T, Rounding::kDown>;
  table["cvt.rpi" + type + type] = &round_real<T, Rounding::kUp>;
  add_to_integer<T, std::int32_t>(table, ".s32" + type);
  add_to_integer<T, std::uint32_t>(table, ".u32" + type);
  add_to_integer<T, std::int64_t>(table, ".s64" + type);
  add_to_integer<T, std::uint64_t>(table, ".u64" + type);
}

}  // namespace

void add_conversions(OperationTable& table) {
  add_from<std::uint8_t>(table, ".u8");
  add_from<std::int8_t>(table, ".s8");
  add_from<std::uint16_t>(table, ".u16");
  add_from<std::int16_t>(table, ".s16");
  add_from<std::uint32_t>(table, ".u32");
  add_from<std::int32_t>(table, ".s32");
  add_from<std::uint64_t>(table, ".u64");
  add_from<std::int64_t>(table, ".s64");
  add_real<float>(table, ".f32");
  add_real<double>(table, ".f64");
  table["cvt.f64.f32"] = &convert<float, double>;
  table["cvt.rn.f32.f64"] = &convert<double, float>;
  table["cvt.f32.f16"] = &half_to_real;
  table["cvt.rn.f16.f32"] = &real_to_half;
  table["mov.b64"] = &move_packed<std::uint32_t, std::uint64_t>;
  table["mov.b32"] = &move_packed<std::uint16_t, std::uint32_t>;
  table["ex2.approx.f32"] = &approximate_exp2;
  table["rcp.approx.ftz.f64"] = &approximate_reciprocal;
  table["rsqrt.approx.ftz.f64"] = &approximate_reciprocal_root;
}

}  // namespace alphamargin::emulated::ptx
