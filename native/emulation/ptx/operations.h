#pragma once
// Instructions that take the values of registers and set one.

#include <cmath>
#include <string>

#include "emulation/ptx/frame.h"

namespace alphamargin::emulated::ptx {

template <class T, class Operation>
void unary(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  set<T>(frame, operands[0], static_cast<T>(Operation{}(value_of<T>(frame, operands[1]))));
}

template <class T, class Operation>
void binary(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  set<T>(frame, operands[0],
         static_cast<T>(
             Operation{}(value_of<T>(frame, operands[1]), value_of<T>(frame, operands[2]))));
}

template <class T, class Operation>
void ternary(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  set<T>(
      frame, operands[0],
      static_cast<T>(Operation{}(value_of<T>(frame, operands[1]), value_of<T>(frame, operands[2]),
                                 value_of<T>(frame, operands[3]))));
}

template <class T, class Operation>
void compare(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  set<bool>(frame, operands[0],
            Operation{}(value_of<T>(frame, operands[1]), value_of<T>(frame, operands[2])));
}

template <class T>
void select(Frame& frame, const Instruction& instruction) {
  const Operand* operands = instruction.operands;
  const bool first = value_of<bool>(frame, operands[3]);
  set<T>(frame, operands[0], value_of<T>(frame, operands[first ? 1 : 2]));
}

struct Same {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

// Comparisons; those of reals are true (unordered) or false where one is NaN.
#define ALPHAMARGIN_COMPARISON(Name, sign)               \
  struct Name {                                          \
    template <class T>                                   \
    bool operator()(T a, T b) const {                    \
      return a sign b;                                   \
    }                                                    \
  };                                                     \
  struct Name##OrNeither {                               \
    template <class T>                                   \
    bool operator()(T a, T b) const {                    \
      return std::isnan(a) || std::isnan(b) || a sign b; \
    }                                                    \
  }
ALPHAMARGIN_COMPARISON(Equal, ==);
ALPHAMARGIN_COMPARISON(Unequal, !=);
ALPHAMARGIN_COMPARISON(Less, <);
ALPHAMARGIN_COMPARISON(NotMore, <=);
ALPHAMARGIN_COMPARISON(More, >);
ALPHAMARGIN_COMPARISON(NotLess, >=);
#undef ALPHAMARGIN_COMPARISON
template <class T>
void add_comparisons(OperationTable& table, const std::string& type) {
  table["setp.eq" + type] = &compare<T, Equal>;
  table["setp.ne" + type] = &compare<T, Unequal>;
  table["setp.lt" + type] = &compare<T, Less>;
  table["setp.le" + type] = &compare<T, NotMore>;
  table["setp.gt" + type] = &compare<T, More>;
  table["setp.ge" + type] = &compare<T, NotLess>;
  table["selp" + type] = &select<T>;
}

}  // namespace alphamargin::emulated::ptx
