#pragma once
// From the text of a module to its functions.

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "emulation/ptx/program.h"
#include "emulation/ptx/tokens.h"

namespace alphamargin::emulated::ptx {

// Finds what a module has, and makes one of its functions ready.
class Parser {
 public:
  static void survey(Module& module);
  static std::unique_ptr<Function> function(Module& module, std::string_view name);

 private:
  struct Range {
    std::uint32_t first;
    std::uint32_t count;
  };
  struct Branch {
    std::size_t instruction;
    std::string_view label;
  };
  // Names between a pair of braces.
  struct Scope {
    std::unordered_map<std::string_view, Operand> names;
    std::unordered_map<std::string_view, Range> ranges;  // %r<12>
    std::unordered_map<std::string_view, std::uint32_t> labels;
    std::vector<Branch> branches;
  };
  struct Declaration {
    std::string_view name;
    std::size_t bytes = 0;  // 0: without an end
    std::size_t element = 0;
    std::size_t alignment = 0;
  };

  Parser(Module& module, std::size_t begin)
      : module_(module), tokens_(module.text_, begin), function_(new Function()) {}

  [[noreturn]] void fail(const std::string& message) const;
  void expect(std::string_view token);
  std::uint64_t number(std::string_view token) const;
  Declaration declaration();
  void parameters(std::vector<Parameter>& list);
  void variable_of_module(std::string_view space, bool is_extern);
  void target(std::string_view name);
  void source_file();
  void skip_braces();
  void header();
  void body();
  void statement();
  void source_place();
  void registers();
  void variable(std::string_view space);
  void instruction();
  void branch_to(std::string_view label);
  void close_scope();
  Operand operand(std::string_view token, Instruction& instruction);
  bool find_name(std::string_view token, Operand& found);
  Operand shared_array(std::string_view name);
  static bool is_space(std::string_view token);

  Module& module_;
  Tokens tokens_;
  std::unique_ptr<Function> function_;
  std::vector<Scope> scopes_;
  std::unordered_map<std::string_view, std::size_t> shared_offsets_;
  std::string_view source_;  // where the next instructions come from
  std::uint32_t source_line_ = 0;
  std::size_t line_ = 0;        // of the token before
  std::size_t line_place_ = 0;  // counted up to here
};

}  // namespace alphamargin::emulated::ptx
