#pragma once
// What the tests of the kernel sets share: sizes, numbers, comparisons. The tests are spread over
// kernel_sets_*_test.cc.

#include <cfloat>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "cpu/kernel_set.h"

namespace alphamargin {

// kernel_set_software_tiles.cc
const KernelSet& software_tiles_kernel_set();

namespace test {

struct KernelTest {
  const char* name;
  void (*run)(const KernelSet& set);
};

// kernel_sets_{products,bytes,classes}_test.cc
extern const std::vector<KernelTest> kProductTests;
extern const std::vector<KernelTest> kByteTests;
extern const std::vector<KernelTest> kClassTests;
// row_solver_test.cc
std::size_t test_row_solver();

inline constexpr std::size_t kDims[] = {1, 7, 8, 19, 111, 256, 512, 989};
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

// kDims and every size up to a few vectors.
inline std::vector<std::size_t> counts() {
  std::vector<std::size_t> all(kDims, kDims + std::size(kDims));
  for (std::size_t count = 1; count <= 40; ++count) all.push_back(count);
  return all;
}

inline std::string text(double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), "%.17g (%a)", value, value);
  return buffer;
}

inline std::string sized(const char* name, std::size_t value) {
  return std::string(name) + " " + std::to_string(value);
}

[[noreturn]] inline void differ(const std::string& where, std::size_t index, double got,
                                double expected) {
  throw std::runtime_error(where + ": [" + std::to_string(index) + "] is " + text(got) +
                           ", expected " + text(expected));
}

template <class T>
void expect_bits(const std::string& where, const T* got, const T* expected, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (std::memcmp(got + i, expected + i, sizeof(T)) != 0) {
      differ(where, i, static_cast<double>(got[i]), static_cast<double>(expected[i]));
    }
  }
}

template <class T>
void expect_bits(const std::string& where, const std::vector<T>& got,
                 const std::vector<T>& expected) {
  expect_bits(where, got.data(), expected.data(), expected.size());
}

template <class T>
void expect_bits(const std::string& where, T got, T expected) {
  expect_bits(where, &got, &expected, 1);
}

// Numbers of [−1, 1), the same on every machine. Vectors have exactly the size that a function may
// read, for AddressSanitizer.
class Source {
 public:
  explicit Source(std::size_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

  std::size_t below(std::size_t limit) { return engine_() % limit; }
  float number() { return static_cast<float>(static_cast<std::int32_t>(engine_())) * 0x1p-31f; }

  // Of many magnitudes, so that the order of a float64 sum shows, with zeros of both signs,
  // denormals and ±1 among them.
  std::vector<float> values(std::size_t count) {
    constexpr float kSpecial[] = {0.0f, -0.0f, 1e-40f, -1e-45f, FLT_MIN, 1.0f, -1.0f};
    std::vector<float> made(count);
    for (float& value : made) {
      value = number();
      if (below(3) == 0) value = std::ldexp(value, -static_cast<int>(below(30)));
      if (below(6) == 0) value = kSpecial[below(std::size(kSpecial))];
    }
    return made;
  }
  // Of a coarse grid, so that many are equal, and −∞.
  std::vector<float> cosines(std::size_t count) {
    std::vector<float> made(count);
    for (float& value : made) {
      value = below(5) == 0 ? -kInfinity : std::nearbyint(number() * 64) / 64;
    }
    return made;
  }
  std::vector<double> doubles(std::size_t count) {
    std::vector<double> made(count);
    for (double& value : made) value = number() + number() * 0x1p-30;
    return made;
  }

 private:
  std::mt19937 engine_;
};

}  // namespace test
}  // namespace alphamargin
