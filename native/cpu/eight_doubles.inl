// Eight float64 (or sixteen float32) numbers as what the instruction set has: one vector of 512
// bits, two of 256 or four of 128. One notation for all sets, and the same sums in all of them.
// Included inside an anonymous namespace before the other .inl files.

// What a file's flags allow, where it has the intrinsics (ALPHAMARGIN_X86). The portable set has
// none, whatever all files are compiled with.
#if defined(ALPHAMARGIN_X86) && defined(__AVX2__)
#define ALPHAMARGIN_AVX2 1
#if defined(__AVX512F__)
#define ALPHAMARGIN_AVX512 1
#endif
#endif

#if defined(ALPHAMARGIN_AVX512)
typedef double DoubleVector __attribute__((vector_size(64)));
typedef double DoubleAnywhere __attribute__((vector_size(64), aligned(8), may_alias));
typedef float WholeVector __attribute__((vector_size(64)));
typedef float WholeAnywhere __attribute__((vector_size(64), aligned(4), may_alias));
typedef std::int64_t LongVector __attribute__((vector_size(64)));
typedef float SingleVector __attribute__((vector_size(32), aligned(4), may_alias));
#elif defined(ALPHAMARGIN_AVX2)
typedef double DoubleVector __attribute__((vector_size(32)));
typedef double DoubleAnywhere __attribute__((vector_size(32), aligned(8), may_alias));
typedef float WholeVector __attribute__((vector_size(32)));
typedef float WholeAnywhere __attribute__((vector_size(32), aligned(4), may_alias));
typedef std::int64_t LongVector __attribute__((vector_size(32)));
typedef float SingleVector __attribute__((vector_size(16), aligned(4), may_alias));
#else
typedef double DoubleVector __attribute__((vector_size(16)));
typedef double DoubleAnywhere __attribute__((vector_size(16), aligned(8), may_alias));
typedef float WholeVector __attribute__((vector_size(16)));
typedef float WholeAnywhere __attribute__((vector_size(16), aligned(4), may_alias));
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
#if defined(ALPHAMARGIN_AVX512)
    result.part[0] = reinterpret_cast<DoubleVector>(_mm512_cvtps_pd(_mm256_loadu_ps(values)));
#elif defined(ALPHAMARGIN_AVX2)
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

// Sixteen float32 numbers in as many parts.
struct Single16 {
  WholeVector part[kVectorParts];

  ALPHAMARGIN_INLINE Single16() = default;
  ALPHAMARGIN_INLINE Single16(float value) {
    for_parts([&](int i) __attribute__((always_inline)) { part[i] = value - WholeVector{}; });
  }

  ALPHAMARGIN_INLINE static Single16 load(const float* values) {
    Single16 result;
    for_parts([&](int i) __attribute__((always_inline)) {
      result.part[i] = *reinterpret_cast<const WholeAnywhere*>(values + 2 * i * kVectorLanes);
    });
    return result;
  }
  ALPHAMARGIN_INLINE void store(float* out) const {
    for_parts([&](int i) __attribute__((always_inline)) {
      *reinterpret_cast<WholeAnywhere*>(out + 2 * i * kVectorLanes) = part[i];
    });
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
ALPHAMARGIN_OPERATOR(Single16, +)
ALPHAMARGIN_OPERATOR(Single16, -)
ALPHAMARGIN_OPERATOR(Single16, *)
#undef ALPHAMARGIN_OPERATOR

// sum + a·b for products that float64 holds exactly (those of float32 numbers): then a fused
// operation rounds like the two.
ALPHAMARGIN_INLINE Double8 plus_exact_product(const Double8& sum, const Double8& a,
                                              const Double8& b) {
#if defined(ALPHAMARGIN_AVX2) || defined(ALPHAMARGIN_NEON)
  Double8 result;
  for_parts([&](int i) __attribute__((always_inline)) {
#if defined(ALPHAMARGIN_AVX512)
    result.part[i] = reinterpret_cast<DoubleVector>(
        _mm512_fmadd_pd(reinterpret_cast<__m512d>(a.part[i]), reinterpret_cast<__m512d>(b.part[i]),
                        reinterpret_cast<__m512d>(sum.part[i])));
#elif defined(ALPHAMARGIN_AVX2)
    result.part[i] = reinterpret_cast<DoubleVector>(
        _mm256_fmadd_pd(reinterpret_cast<__m256d>(a.part[i]), reinterpret_cast<__m256d>(b.part[i]),
                        reinterpret_cast<__m256d>(sum.part[i])));
#else
    result.part[i] = reinterpret_cast<DoubleVector>(vfmaq_f64(
        reinterpret_cast<float64x2_t>(sum.part[i]), reinterpret_cast<float64x2_t>(a.part[i]),
        reinterpret_cast<float64x2_t>(b.part[i])));
#endif
  });
  return result;
#else
  return sum + a * b;
#endif
}

// sum + a·b, rounded once.
ALPHAMARGIN_INLINE Single16 fused(const Single16& sum, const Single16& a, const Single16& b) {
  Single16 result;
  for_parts([&](int i) __attribute__((always_inline)) {
#if defined(ALPHAMARGIN_AVX512)
    result.part[i] = reinterpret_cast<WholeVector>(
        _mm512_fmadd_ps(reinterpret_cast<__m512>(a.part[i]), reinterpret_cast<__m512>(b.part[i]),
                        reinterpret_cast<__m512>(sum.part[i])));
#elif defined(ALPHAMARGIN_AVX2)
    result.part[i] = reinterpret_cast<WholeVector>(
        _mm256_fmadd_ps(reinterpret_cast<__m256>(a.part[i]), reinterpret_cast<__m256>(b.part[i]),
                        reinterpret_cast<__m256>(sum.part[i])));
#elif defined(ALPHAMARGIN_NEON)
    result.part[i] = reinterpret_cast<WholeVector>(vfmaq_f32(
        reinterpret_cast<float32x4_t>(sum.part[i]), reinterpret_cast<float32x4_t>(a.part[i]),
        reinterpret_cast<float32x4_t>(b.part[i])));
#else
    for (int lane = 0; lane < 2 * kVectorLanes; ++lane) {
      result.part[i][lane] = __builtin_fmaf(a.part[i][lane], b.part[i][lane], sum.part[i][lane]);
    }
#endif
  });
  return result;
}

// Lanes l and l + 8, then l + 4, l + 2, l + 1.
ALPHAMARGIN_INLINE float sum_of_lanes(const Single16& sums) {
#if defined(ALPHAMARGIN_AVX512)
  const auto whole = reinterpret_cast<__m512>(sums.part[0]);
  const __m256 eight =
      _mm256_add_ps(_mm512_castps512_ps256(whole), _mm512_extractf32x8_ps(whole, 1));
#elif defined(ALPHAMARGIN_AVX2)
  const __m256 eight =
      _mm256_add_ps(reinterpret_cast<__m256>(sums.part[0]), reinterpret_cast<__m256>(sums.part[1]));
#endif
#if defined(ALPHAMARGIN_AVX2)
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
#else
  const WholeVector four = (sums.part[0] + sums.part[2]) + (sums.part[1] + sums.part[3]);
  return (four[0] + four[2]) + (four[1] + four[3]);
#endif
}

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

// The last step of `dot`.
inline double sum_of_sixteen(double* sums) {
  for (std::size_t width = 8; width > 0; width /= 2) {
    for (std::size_t lane = 0; lane < width; ++lane) sums[lane] += sums[lane + width];
  }
  return sums[0];
}
