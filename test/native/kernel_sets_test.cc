// Every kernel set this CPU runs, function by function: the same bits as the portable set where
// cpu/kernel_set.h promises so, what the definition says, or what float32 rounding allows. And the
// row solver, which all of them share.
//
// Takes no arguments. Prints a line for each set; exit code 1 when one differs, with the function,
// the size and the first difference.

#include <algorithm>

#include "kernel_sets_cases.h"

namespace alphamargin::test {
namespace {

// With the tiles of AMX in software where there is what their kernels need besides.
std::vector<const KernelSet*> sets_to_test() {
  std::vector<const KernelSet*> sets = usable_kernel_sets();
#if defined(__x86_64__)
  if (std::find(sets.begin(), sets.end(), &avx512_vnni_kernel_set()) != sets.end()) {
    sets.push_back(&software_tiles_kernel_set());
  }
#endif
  return sets;
}

int run() {
  std::vector<KernelTest> tests = kProductTests;
  tests.insert(tests.end(), kByteTests.begin(), kByteTests.end());
  tests.insert(tests.end(), kClassTests.begin(), kClassTests.end());
  int failures = 0;
  try {
    std::printf("row solver: %zu rows solved alike\n", test_row_solver());
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "row solver: %s\n", failure.what());
    ++failures;
  }
  for (const KernelSet* set : sets_to_test()) {
    std::size_t passed = 0;
    for (const KernelTest& test : tests) {
      try {
        test.run(*set);
        ++passed;
      } catch (const std::exception& failure) {
        std::fprintf(stderr, "%s: %s: %s\n", set->name, test.name, failure.what());
        ++failures;
      }
    }
    std::printf("%s: %zu of %zu tests passed\n", set->name, passed, tests.size());
  }
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace alphamargin::test

int main() { return alphamargin::test::run(); }
