// Floating-point numbers, by the PTX manual. An instruction without a rounding (add.f32) is not
// known here on purpose: the driver's compiler may fuse it with another.

#include <cmath>

#include "emulation/ptx/operations.h"

namespace alphamargin::emulated::ptx {
namespace {

template <class T>
struct Real {
  struct Add {
    T operator()(T a, T b) const { return a + b; }
  };
  struct Subtract {
    T operator()(T a, T b) const { return a - b; }
  };
  struct Multiply {
    T operator()(T a, T b) const { return a * b; }
  };
  struct Divide {
    T operator()(T a, T b) const { return a / b; }
  };
  struct Fused {
    T operator()(T a, T b, T c) const { return std::fma(a, b, c); }
  };
  struct Reciprocal {
    T operator()(T a) const { return T{1} / a; }
  };
  struct Root {
    T operator()(T a) const { return std::sqrt(a); }
  };
  struct Negate {
    T operator()(T a) const { return -a; }
  };
  struct Size {
    T operator()(T a) const { return std::fabs(a); }
  };
  // The other one where one is NaN; −0 is less than 0.
  struct Least {
    T operator()(T a, T b) const {
      if (std::isnan(a)) return b;
      if (std::isnan(b)) return a;
      if (a == b) return std::signbit(a) ? a : b;
      return a < b ? a : b;
    }
  };
  struct Most {
    T operator()(T a, T b) const {
      if (std::isnan(a)) return b;
      if (std::isnan(b)) return a;
      if (a == b) return std::signbit(a) ? b : a;
      return a > b ? a : b;
    }
  };
  // The second with the sign of the first.
  struct CopySign {
    T operator()(T a, T b) const { return std::copysign(b, a); }
  };
};

struct Ordered {
  template <class T>
  bool operator()(T a, T b) const {
    return !std::isnan(a) && !std::isnan(b);
  }
};
// ≠ of reals is false where one is NaN.
struct OrderedUnequal {
  template <class T>
  bool operator()(T a, T b) const {
    return Ordered{}(a, b) && a != b;
  }
};
struct Unordered {
  template <class T>
  bool operator()(T a, T b) const {
    return !Ordered{}(a, b);
  }
};

template <class T>
void add_real(OperationTable& table, const std::string& type) {
  using Type = Real<T>;
  table["add.rn" + type] = &binary<T, typename Type::Add>;
  table["sub.rn" + type] = &binary<T, typename Type::Subtract>;
  table["mul.rn" + type] = &binary<T, typename Type::Multiply>;
  table["div.rn" + type] = &binary<T, typename Type::Divide>;
  table["fma.rn" + type] = &ternary<T, typename Type::Fused>;
  table["rcp.rn" + type] = &unary<T, typename Type::Reciprocal>;
  table["sqrt.rn" + type] = &unary<T, typename Type::Root>;
  table["neg" + type] = &unary<T, typename Type::Negate>;
  table["abs" + type] = &unary<T, typename Type::Size>;
  table["min" + type] = &binary<T, typename Type::Least>;
  table["max" + type] = &binary<T, typename Type::Most>;
  table["copysign" + type] = &binary<T, typename Type::CopySign>;
  table["mov" + type] = &unary<T, Same>;
  add_comparisons<T>(table, type);
  table["setp.ne" + type] = &compare<T, OrderedUnequal>;
  table["setp.equ" + type] = &compare<T, EqualOrNeither>;
  table["setp.neu" + type] = &compare<T, UnequalOrNeither>;
  table["setp.ltu" + type] = &compare<T, LessOrNeither>;
  table["setp.leu" + type] = &compare<T, NotMoreOrNeither>;
  table["setp.gtu" + type] = &compare<T, MoreOrNeither>;
  table["setp.geu" + type] = &compare<T, NotLessOrNeither>;
  table["setp.num" + type] = &compare<T, Ordered>;
  table["setp.nan" + type] = &compare<T, Unordered>;
}

}  // namespace

void add_reals(OperationTable& table) {
  add_real<float>(table, ".f32");
  add_real<double>(table, ".f64");
}

}  // namespace alphamargin::emulated::ptx
