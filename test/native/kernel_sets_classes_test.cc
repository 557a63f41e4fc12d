// Tests of the kernel sets: what rows do with candidates and posteriors, and the update of
// prototypes.

#include <algorithm>
#include <cmath>

#include "kernel_sets_cases.h"

namespace alphamargin::test {
namespace {

// ---- candidates

constexpr SoftmaxTerm kTerms[] = {{32, 0.9, 0.1}, {1, 0, 0}, {64, -1, 130}, {700, 1, 0.5}};

void test_exp_sum(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (const SoftmaxTerm& term : kTerms) {
      const std::vector<float> cosines = Source(count).cosines(count);
      expect_bits(sized("count", count) + sized(", beta", static_cast<std::size_t>(term.beta)),
                  set.exp_sum(term, cosines.data(), count),
                  portable_kernel_set().exp_sum(term, cosines.data(), count));
    }
  }
}

// One element with the cosine 0: the exponent is −shift.
double exponential(const KernelSet& set, double exponent) {
  const float zero = 0;
  return set.exp_sum({1, 0, -exponent}, &zero, 1);
}

void check_exponential(const KernelSet& set, double exponent) {
  const double got = exponential(set, exponent);
  const long double exact = std::exp(static_cast<long double>(exponent));
  const int last_digit = std::ilogb(static_cast<double>(exact)) - 52;
  const long double error = std::fabs(static_cast<long double>(got) - exact);
  if (!(error <= std::ldexp(1.5L, last_digit))) {
    differ("exponent " + text(exponent) + ", 1.5 units of the last digit", 0, got,
           static_cast<double>(exact));
  }
}

void test_exponentials(const KernelSet& set) {
  Source source(0);
  for (int step = 0; step < 708 * 16; ++step) {
    check_exponential(set, -step / 16.0);
    check_exponential(set, -(step + 0.5 + 0.5 * source.number()) / 16.0);
  }
  // Around the odd multiples of ln 2/2, where the reduced argument is largest.
  for (int n = 0; n < 1021; ++n) {
    const double middle = -(n + 0.5) * 0.6931471805599453;
    if (middle <= -708) break;
    for (const double exponent : {middle, std::nextafter(middle, 0), std::nextafter(middle, -1e9)})
      check_exponential(set, exponent);
  }
  for (double tiny = 0x1p-1; tiny > 0; tiny /= 2) {
    check_exponential(set, tiny);
    check_exponential(set, -tiny);
  }
  check_exponential(set, std::nextafter(-708.0, 0.0));
  for (const double exponent : {-708.0, -709.0, -1e4, -1e300, -HUGE_VAL}) {
    expect_bits("exponent " + text(exponent), exponential(set, exponent), 0.0);
  }
}

void test_exp_coefficients(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (const SoftmaxTerm& term : kTerms) {
      const std::string where =
          sized("count", count) + sized(", beta", static_cast<std::size_t>(term.beta));
      std::vector<float> got = Source(count).cosines(count);
      std::vector<float> expected = got;
      std::vector<float> got_products(count, NAN);
      std::vector<float> expected_products(count, NAN);
      const double got_sum =
          set.exp_coefficients(term, 0.7, got.data(), got_products.data(), count);
      const double expected_sum = portable_kernel_set().exp_coefficients(
          term, 0.7, expected.data(), expected_products.data(), count);
      expect_bits(where + ", coefficients", got, expected);
      expect_bits(where + ", products", got_products, expected_products);
      expect_bits(where + ", sum", got_sum, expected_sum);
    }
  }
}

void test_keep_above(const KernelSet& set) {
  std::vector<std::size_t> sizes = counts();
  sizes.push_back(0);
  for (const std::size_t count : sizes) {
    for (const float bound : {0.0f, -0.0f, 0.25f, -kInfinity, kInfinity, -2.0f}) {
      std::vector<float> cosines = Source(count).cosines(count);
      std::vector<std::int32_t> identities(count);
      std::vector<float> expected;
      std::vector<std::int32_t> expected_identities;
      for (std::size_t j = 0; j < count; ++j) {
        identities[j] = static_cast<std::int32_t>(3 * j + 1);
        if (!(cosines[j] > bound)) continue;
        expected.push_back(cosines[j]);
        expected_identities.push_back(identities[j]);
      }
      const std::string where = sized("count", count) + ", bound " + text(bound);
      const std::size_t kept = set.keep_above(bound, count, identities.data(), cosines.data());
      expect_bits(where + ", number", kept, expected.size());
      expect_bits(where + ", cosines", cosines, expected);
      expect_bits(where + ", identities", identities, expected_identities);
    }
  }
}

void test_largest(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    Source source(count);
    // The maximum at every place in turn, then zeros of both signs and nothing but −∞.
    const std::vector<float> cosines = source.cosines(count);
    for (std::size_t place = 0; place < count; place += 1 + count / 64) {
      std::vector<float> values = cosines;
      values[place] = 1.5f;
      expect_bits(sized("count", count) + sized(", place", place),
                  set.largest(values.data(), count), 1.5f);
    }
    std::vector<float> zeros(count);
    for (float& zero : zeros) zero = source.below(2) == 0 ? 0.0f : -0.0f;
    for (const auto& values : {cosines, zeros, std::vector<float>(count, -kInfinity)}) {
      expect_bits(sized("count", count), set.largest(values.data(), count),
                  portable_kernel_set().largest(values.data(), count));
    }
  }
}

void test_threshold_sums(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    for (int exponent = 1; exponent <= 4; ++exponent) {
      for (const double threshold : {-1.5, 0.0, 0.25, 0.3, 2.0}) {
        const std::vector<float> cosines = Source(count).cosines(count);
        const ThresholdSums got =
            set.threshold_sums(exponent, 8.1, threshold, cosines.data(), count);
        const ThresholdSums expected =
            portable_kernel_set().threshold_sums(exponent, 8.1, threshold, cosines.data(), count);
        const std::string where =
            sized("count", count) + sized(", k", static_cast<std::size_t>(exponent));
        expect_bits(where + ", total", got.total, expected.total);
        expect_bits(where + ", slope", got.slope, expected.slope);
      }
    }
  }
}

// ---- prototypes

// Calls body(where, gradient, row, velocity) for gradients with and without `initial`, of 0, 1, 5
// and more pairs than are summed in float32.
template <class Body>
void for_gradients(const Body& body) {
  for (const std::size_t count : counts()) {
    for (const std::size_t pairs : {0, 1, 5, 40}) {
      for (const bool has_initial : {false, true}) {
        Source source(count + pairs);
        std::vector<std::vector<float>> embeddings;
        std::vector<const float*> pointers;
        for (std::size_t i = 0; i < pairs; ++i) embeddings.push_back(source.values(count));
        for (const std::vector<float>& embedding : embeddings) pointers.push_back(embedding.data());
        const std::vector<double> coefficients = source.doubles(pairs);
        const std::vector<float> initial = source.values(count);
        ClassGradient gradient;
        gradient.initial = has_initial ? initial.data() : nullptr;
        gradient.pairs = pairs;
        gradient.coefficients = coefficients.data();
        gradient.embeddings = pointers.data();
        gradient.projection = 0.37;
        gradient.inverse_norm = 1.7;
        body(sized("count", count) + sized(", pairs", pairs) + (has_initial ? ", initial" : ""),
             gradient, source.values(count), source.values(count));
      }
    }
  }
}

void test_class_gradient(const KernelSet& set) {
  for_gradients([&set](const std::string& where, const ClassGradient& gradient,
                       const std::vector<float>& row, const std::vector<float>&) {
    std::vector<double> got(row.size(), NAN);
    std::vector<double> expected(row.size(), NAN);
    set.class_gradient(gradient, row.data(), row.size(), got.data());
    portable_kernel_set().class_gradient(gradient, row.data(), row.size(), expected.data());
    expect_bits(where, got, expected);
  });
}

void test_class_step(const KernelSet& set) {
  const DescentRule rule{0.1, 0.9, 5e-4};
  for_gradients([&](const std::string& where, const ClassGradient& gradient,
                    const std::vector<float>& row, const std::vector<float>& velocity) {
    for (const bool moves : {false, true}) {
      std::vector<float> got = row;
      std::vector<float> expected = row;
      std::vector<float> got_velocity = velocity;
      std::vector<float> expected_velocity = velocity;
      // What is asked for meanwhile changes nothing.
      const std::vector<std::uint8_t> shadow((row.size() + kChunk) * kGroup);
      const RowsAhead ahead{row.data(), velocity.data(), shadow.data()};
      const double got_square = set.class_step(gradient, rule, row.size(), got.data(),
                                               moves ? got_velocity.data() : nullptr, ahead);
      const double expected_square =
          portable_kernel_set().class_step(gradient, rule, row.size(), expected.data(),
                                           moves ? expected_velocity.data() : nullptr, RowsAhead{});
      expect_bits(where + ", row", got, expected);
      expect_bits(where + ", velocity", got_velocity, expected_velocity);
      expect_bits(where + ", square", got_square, expected_square);
      expect_bits(where + ", square as dot gives it", got_square,
                  set.dot(got.data(), got.data(), got.size()));
    }
  });
}

// Against float64, also where factors would leave the range of float32.
void test_class_step_accuracy(const KernelSet& set) {
  const DescentRule rule{0.1f, 0.9f, 5e-4};
  for_gradients([&](const std::string& where, ClassGradient gradient, const std::vector<float>& row,
                    const std::vector<float>&) {
    for (const double norm : {0.6, 1e-25, 1e25}) {
      // The same direction for any norm: the gradient shrinks as the prototype grows.
      std::vector<float> scaled = row;
      for (float& value : scaled) value *= static_cast<float>(norm);
      gradient.inverse_norm = 1 / norm;
      std::vector<double> slope(row.size());
      set.class_gradient(gradient, scaled.data(), row.size(), slope.data());
      double largest = 0;
      for (const double value : slope) largest = std::max(largest, std::fabs(value));
      // One step from zero velocity, which then is the slope.
      std::vector<float> moved = scaled;
      std::vector<float> got(row.size(), 0.0f);
      set.class_step(gradient, rule, row.size(), moved.data(), got.data(), RowsAhead{});
      for (std::size_t k = 0; k < row.size(); ++k) {
        const double expected = slope[k] + rule.decay * scaled[k];
        const double tolerance = 2e-6 * (largest + rule.decay * std::fabs(scaled[k]));
        if (!(std::fabs(got[k] - expected) <= tolerance)) {
          differ(where + ", norm " + text(norm), k, got[k], expected);
        }
      }
    }
  });
}

// The gradient of an embedding at any angle to its prototype, down to where x̂ − c ŵ is all but
// nothing, against float64: the numerical contract's 1e-5, of which unit rows may take half.
void test_class_step_aligned(const KernelSet& set) {
  constexpr std::size_t kDim = 256;
  Source source(7);
  std::vector<double> along(kDim);
  std::vector<double> across(kDim);
  double product = 0;
  for (std::size_t k = 0; k < kDim; ++k) along[k] = source.number();
  for (std::size_t k = 0; k < kDim; ++k) across[k] = source.number();
  const auto normalize = [](std::vector<double>& values) {
    double square = 0;
    for (const double value : values) square += value * value;
    for (double& value : values) value /= std::sqrt(square);
  };
  normalize(along);
  for (std::size_t k = 0; k < kDim; ++k) product += along[k] * across[k];
  for (std::size_t k = 0; k < kDim; ++k) across[k] -= product * along[k];
  normalize(across);
  for (const double angle : {1.5, 0.5, 0.1, 0.05, 0.045, 0.04, 0.01, 1e-3, 1e-4}) {
    std::vector<float> row(kDim);
    std::vector<float> unit(kDim);
    for (std::size_t k = 0; k < kDim; ++k) {
      row[k] = static_cast<float>(along[k]);
      unit[k] = static_cast<float>(std::cos(angle) * along[k] + std::sin(angle) * across[k]);
    }
    const float* const embedding = unit.data();
    const double coefficient = -0.37;
    ClassGradient gradient;
    gradient.pairs = 1;
    gradient.coefficients = &coefficient;
    gradient.embeddings = &embedding;
    gradient.inverse_norm = 1 / std::sqrt(set.dot(row.data(), row.data(), kDim));
    gradient.projection =
        coefficient * set.dot(unit.data(), row.data(), kDim) * gradient.inverse_norm;
    std::vector<double> expected(kDim);
    set.class_gradient(gradient, row.data(), kDim, expected.data());
    std::vector<float> got(kDim, 0.0f);
    set.class_step(gradient, {0.1f, 0.9f, 0}, kDim, row.data(), got.data(), RowsAhead{});
    double error = 0;
    double size = 0;
    for (std::size_t k = 0; k < kDim; ++k) {
      error += (got[k] - expected[k]) * (got[k] - expected[k]);
      size += expected[k] * expected[k];
    }
    const double relative = std::sqrt(error / size);
    if (!(relative <= 5e-6)) differ("angle " + text(angle), 0, relative, 5e-6);
  }
}

void test_descend(const KernelSet& set) {
  for (const std::size_t count : counts()) {
    Source source(count);
    const std::vector<double> gradient = source.doubles(count);
    std::vector<float> got = source.values(count);
    std::vector<float> expected = got;
    set.descend(0.1, 5e-4, gradient.data(), count, got.data());
    portable_kernel_set().descend(0.1, 5e-4, gradient.data(), count, expected.data());
    expect_bits(sized("count", count), got, expected);
  }
}

}  // namespace

const std::vector<KernelTest> kClassTests = {
    {"exp_sum", test_exp_sum},
    {"exp_sum of one element", test_exponentials},
    {"exp_coefficients", test_exp_coefficients},
    {"keep_above", test_keep_above},
    {"largest", test_largest},
    {"threshold_sums", test_threshold_sums},
    {"class_gradient", test_class_gradient},
    {"class_step", test_class_step},
    {"class_step against float64", test_class_step_accuracy},
    {"class_step of aligned rows", test_class_step_aligned},
    {"descend", test_descend},
};

}  // namespace alphamargin::test
