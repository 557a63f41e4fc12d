// Eight float64 (or float32) numbers as what the instruction set has: one vector of 512 bits, two
// of 256 or four of 128. One notation for all sets, and the same sums in all of them. Included
// inside an anonymous namespace before kernel_loops.inl.

#if defined(__AVX512F__)
typedef double DoubleVector __attribute__((vector_size(64)));
typedef double DoubleAnywhere __attribute__((vector_size(64), aligned(8), may_alias));
typedef std::int64_t LongVector __attribute__((vector_size(64)));
typedef float SingleVector __attribute__((vector_size(32), aligned(4), may_alias));
#elif defined(__AVX2__)
typedef double DoubleVector __attribute__((vector_size(32)));
typedef double DoubleAnywhere __attribute__((vector_size(32), aligned(8), may_alias));
typedef std::int64_t LongVector __attribute__((vector_size(32)));
typedef float SingleVector __attribute__((vector_size(16), aligned(4), may_alias));
#else
typedef double DoubleVector __attribute__((vector_size(16)));
typedef double DoubleAnywhere __attribute__((vector_size(16), aligned(8), may_alias));
typedef std::int64_t LongVector __attribute__((vector_size(16)));
typedef float SingleVector __attribute__((vector_size(8), aligned(4), may_alias));
#endif

constexpr int kVectorLanes = static_cast<int>(sizeof(DoubleVector) / sizeof(double));
constexpr int kVectorParts = 8 / kVectorLanes;

#define ALPHAMARGIN_INLINE inline __attribute__((always_inline))

// Calls body(i) for every part, unrolled.
template <class Body>
ALPHAMARGIN_INLINE void for_parts(const Body& body) {
  body(0);
  if constexpr (kVectorParts > 1) body(1);
  if constexpr (kVectorParts > 2) {
    body(2);
    body(3);
  }
}

struct Double8 {
  DoubleVector part[kVectorParts];

  ALPHAMARGIN_INLINE Double8() : Double8(0.0) {}
  ALPHAMARGIN_INLINE Double8(double value) {
    for_parts([&](int i) __attribute__((always_inline)) { part[i] = value - DoubleVector{}; });
  }

  ALPHAMARGIN_INLINE static Double8 load(const double* values) {
    Double8 result;
    for_parts([&](int i) __attribute__((always_inline)) {
      result.part[i] = *reinterpret_cast<const DoubleAnywhere*>(values + i * kVectorLanes);
    });
    return result;
  }
  ALPHAMARGIN_INLINE static Double8 load(const float* values) {
    Double8 result;
    // GCC makes several instructions of the conversion at the end.
#if defined(__AVX512F__)
    result.part[0] = reinterpret_cast<DoubleVector>(_mm512_cvtps_pd(_mm256_loadu_ps(values)));
#elif defined(__AVX2__)
    result.part[0] = reinterpret_cast<DoubleVector>(_mm256_cvtps_pd(_mm_loadu_ps(values)));
    result.part[1] = reinterpret_cast<DoubleVector>(_mm256_cvtps_pd(_mm_loadu_ps(values + 4)));
#elif defined(ALPHAMARGIN_NEON)
    for_parts([&](int i) __attribute__((always_inline)) {
      result.part[i] = reinterpret_cast<DoubleVector>(vcvt_f64_f32(vld1_f32(values + 2 * i)));
    });
#else
    for_parts([&](int i) __attribute__((always_inline)) {
      result.part[i] = __builtin_convertvector(
          *reinterpret_cast<const SingleVector*>(values + i * kVectorLanes), DoubleVector);
    });
#endif
    return result;
  }
  ALPHAMARGIN_INLINE void store(double* out) const {
    for_parts([&](int i) __attribute__((always_inline)) {
      *reinterpret_cast<DoubleAnywhere*>(out + i * kVectorLanes) = part[i];
    });
  }
  // Rounded to float32.
  ALPHAMARGIN_INLINE void store(float* out) const {
    for_parts([&](int i) __attribute__((always_inline)) {
      *reinterpret_cast<SingleVector*>(out + i * kVectorLanes) =
          __builtin_convertvector(part[i], SingleVector);
    });
  }

  // Lanes in ascending order.
  double sum() const {
    double values[8];
    store(values);
    double total = 0;
    for (const double value : values) total += value;
    return total;
  }
};

// Eight float32 numbers in as many parts.
struct Single8 {
  SingleVector part[kVectorParts];

  ALPHAMARGIN_INLINE Single8() = default;
  ALPHAMARGIN_INLINE Single8(float value) {
    for_parts([&](int i) __attribute__((always_inline)) { part[i] = value - SingleVector{}; });
  }

  ALPHAMARGIN_INLINE static Single8 load(const float* values) {
    Single8 result;
    for_parts([&](int i) __attribute__((always_inline)) {
      result.part[i] = *reinterpret_cast<const SingleVector*>(values + i * kVectorLanes);
    });
    return result;
  }
  ALPHAMARGIN_INLINE static Single8 rounded(const Double8& values) {
    Single8 result;
    for_parts([&](int i) __attribute__((always_inline)) {
      result.part[i] = __builtin_convertvector(values.part[i], SingleVector);
    });
    return result;
  }
  ALPHAMARGIN_INLINE void store(float* out) const {
    for_parts([&](int i) __attribute__((always_inline)) {
      *reinterpret_cast<SingleVector*>(out + i * kVectorLanes) = part[i];
    });
  }
  ALPHAMARGIN_INLINE Double8 widened() const {
    Double8 result;
    for_parts([&](int i) __attribute__((always_inline)) {
#if defined(__AVX512F__)
      result.part[i] =
          reinterpret_cast<DoubleVector>(_mm512_cvtps_pd(reinterpret_cast<__m256>(part[i])));
#else
      result.part[i] = __builtin_convertvector(part[i], DoubleVector);
#endif
    });
    return result;
  }
};

#define ALPHAMARGIN_OPERATOR(Eight, symbol)                                  \
  ALPHAMARGIN_INLINE Eight operator symbol(const Eight& a, const Eight& b) { \
    Eight result;                                                            \
    for_parts([&](int i) __attribute__((always_inline)) {                    \
      result.part[i] = a.part[i] symbol b.part[i];                           \
    });                                                                      \
    return result;                                                           \
  }
ALPHAMARGIN_OPERATOR(Double8, +)
ALPHAMARGIN_OPERATOR(Double8, -)
ALPHAMARGIN_OPERATOR(Double8, *)
ALPHAMARGIN_OPERATOR(Single8, +)
ALPHAMARGIN_OPERATOR(Single8, -)
ALPHAMARGIN_OPERATOR(Single8, *)
#undef ALPHAMARGIN_OPERATOR

// `value` where a > limit, `other` elsewhere.
ALPHAMARGIN_INLINE Double8 where_above(const Double8& a, double limit, const Double8& value,
                                       const Double8& other) {
  Double8 result;
  for_parts([&](int i) __attribute__((always_inline)) {
    result.part[i] = a.part[i] > limit ? value.part[i] : other.part[i];
  });
  return result;
}

// 2^n for the whole numbers n in the low bits of `shifted` = 1.5·2^52 + n.
ALPHAMARGIN_INLINE Double8 power_of_two(const Double8& shifted) {
  Double8 result;
  for_parts([&](int i) __attribute__((always_inline)) {
    result.part[i] = reinterpret_cast<DoubleVector>(
        (reinterpret_cast<LongVector>(shifted.part[i]) + 1023) << 52);
  });
  return result;
}
