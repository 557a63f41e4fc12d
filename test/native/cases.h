#pragma once
// A program of test cases:
//
//   PROGRAM --list      names of the cases
//   PROGRAM NAME        runs one; exit code 1 when it fails

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace alphamargin::test {

using Cases = std::vector<std::pair<std::string, void (*)()>>;

inline void expect(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

inline int run_cases(const Cases& cases, int count, char** arguments) {
  const std::string wanted = count > 1 ? arguments[1] : "--list";
  for (const auto& [name, run] : cases) {
    if (wanted == "--list") std::printf("%s\n", name.c_str());
    if (wanted != name) continue;
    try {
      run();
      return 0;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: %s\n", name.c_str(), error.what());
      return 1;
    }
  }
  if (wanted == "--list") return 0;
  std::fprintf(stderr, "no such case: %s\n", wanted.c_str());
  return 2;
}

}  // namespace alphamargin::test
