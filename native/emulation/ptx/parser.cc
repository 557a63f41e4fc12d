#include "emulation/ptx/parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <stdexcept>
#include <utility>

namespace alphamargin::emulated::ptx {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Bytes of a type such as .b32; 0 for a predicate.
std::size_t bytes_of(std::string_view type) {
  if (type == ".pred") return 0;
  if (type.ends_with("128")) return 16;
  if (type.ends_with("64")) return 8;
  if (type.ends_with("32")) return 4;
  if (type.ends_with("16")) return 2;
  if (type.ends_with("8")) return 1;
  throw std::runtime_error("the type " + std::string(type) + " is not known");
}

constexpr std::size_t kSharedGap = 64;  // nothing of it may be reached
constexpr std::size_t kGivenAlignment = 1024;

constexpr std::array<std::pair<std::string_view, Slot>, 20> kSpecialRegisters{{
    {"%tid.x", kThreadX},
    {"%tid.y", kThreadY},
    {"%tid.z", kThreadZ},
    {"%ctaid.x", kBlockX},
    {"%ctaid.y", kBlockY},
    {"%ctaid.z", kBlockZ},
    {"%nctaid.x", kBlocksX},
    {"%nctaid.y", kBlocksY},
    {"%nctaid.z", kBlocksZ},
    {"%ntid.x", kThreadsX},
    {"%ntid.y", kThreadsY},
    {"%ntid.z", kThreadsZ},
    {"%laneid", kLane},
    {"%warpid", kWarpOfBlock},
    {"%cluster_ctarank", kRankOfCluster},
    {"%lanemask_lt", kLanesBelow},
    {"%lanemask_le", kLanesUpTo},
    {"%lanemask_ge", kLanesFrom},
    {"%lanemask_gt", kLanesAbove},
    {"_", kSink},
}};

}  // namespace

void Parser::fail(const std::string& message) const {
  throw std::runtime_error(module_.file_ + ":" + std::to_string(tokens_.line()) + ": " + message);
}

void Parser::expect(std::string_view token) {
  if (tokens_.take_if(token)) return;
  fail("expected " + std::string(token) + " but found " + std::string(tokens_.peek()));
}

// Decimal, hexadecimal, or the bits of a float (0f…) or double (0d…).
std::uint64_t Parser::number(std::string_view token) const {
  int base = 10;
  std::string_view digits = token;
  if (token.starts_with("0x") || token.starts_with("0f") || token.starts_with("0F") ||
      token.starts_with("0d") || token.starts_with("0D")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (digits.ends_with('U')) {
    digits.remove_suffix(1);
  }
  std::uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    fail("expected a number but found " + std::string(token));
  }
  return value;
}

// [.align n] .type name [[count]], after the state space.
Parser::Declaration Parser::declaration() {
  Declaration result;
  while (tokens_.peek().starts_with('.')) {
    const std::string_view word = tokens_.take();
    if (word == ".align") {
      result.alignment = number(tokens_.take());
    } else if (word != ".ptr" && word != ".global") {
      result.element = bytes_of(word);
    }
  }
  result.name = tokens_.take();
  result.bytes = result.element;
  if (result.alignment == 0) result.alignment = std::max<std::size_t>(1, result.element);
  if (tokens_.take_if("[")) {
    result.bytes = tokens_.peek() == "]" ? 0 : result.element * number(tokens_.take());
    expect("]");
  }
  return result;
}

bool Parser::is_space(std::string_view token) {
  return token == ".global" || token == ".const" || token == ".shared";
}

void Parser::variable_of_module(std::string_view space, bool is_extern) {
  const Declaration declared = declaration();
  if (space == ".shared") {
    module_.shared_[declared.name] = {declared.bytes, declared.alignment,
                                      is_extern && declared.bytes == 0};
  } else {
    auto memory = std::make_unique<unsigned char[]>(std::max<std::size_t>(1, declared.bytes));
    if (tokens_.take_if("=")) {
      expect("{");
      for (std::size_t place = 0; !tokens_.take_if("}"); place += declared.element) {
        const std::uint64_t value = number(tokens_.take());
        if (place + declared.element > declared.bytes) fail("more values than memory");
        std::memcpy(memory.get() + place, &value, declared.element);
        tokens_.take_if(",");
      }
    }
    module_.variables_[declared.name] = {std::move(memory), declared.bytes};
  }
  expect(";");
}

// .file 3 "/folder/file.cuh"
void Parser::source_file() {
  const std::uint64_t index = number(tokens_.take());
  std::string_view name = tokens_.take();
  name.remove_prefix(name.find_last_of("/\\\"", name.size() - 2) + 1);
  name.remove_suffix(1);
  module_.sources_[index] = name;
}

void Parser::skip_braces() {
  expect("{");
  for (std::size_t depth = 1; depth > 0;) {
    const std::string_view sign = tokens_.take();
    if (sign == "{") ++depth;
    if (sign == "}") --depth;
    if (sign.empty()) fail("a brace that is not closed");
  }
}

// sm_80 is for newer ones too, sm_90a for that one alone.
void Parser::target(std::string_view name) {
  constexpr std::string_view kPrefix = "sm_";
  const char* const end = name.data() + name.size();
  if (!name.starts_with(kPrefix)) fail("a target that is not known");
  const auto [rest, error] =
      std::from_chars(name.data() + kPrefix.size(), end, module_.capability_);
  if (error != std::errc()) fail("a target that is not known");
  module_.is_specific_ = rest != end;
}

void Parser::survey(Module& module) {
  Parser parser(module, 0);
  Tokens& tokens = parser.tokens_;
  bool is_extern = false;
  while (!tokens.peek().empty()) {
    const std::size_t begin = tokens.place();
    const std::string_view token = tokens.take();
    if (token == ".version" || token == ".address_size") {
      tokens.take();
    } else if (token == ".target") {
      parser.target(tokens.take());
    } else if (token == ".extern") {
      is_extern = true;
      continue;
    } else if (is_space(token)) {
      parser.variable_of_module(token, is_extern);
    } else if (token == ".file") {
      parser.source_file();
    } else if (token == ".section") {
      tokens.take();
      parser.skip_braces();
    } else if (token == ".entry" || token == ".func") {
      if (tokens.peek() == "(") {
        while (!tokens.take_if(")")) tokens.take();
      }
      const std::string_view name = tokens.take();
      while (tokens.peek() != "{" && tokens.peek() != ";" && !tokens.peek().empty()) tokens.take();
      if (tokens.take_if(";")) continue;
      module.bodies_[name] = begin;
      parser.skip_braces();
    }
    is_extern = false;
  }
}

std::unique_ptr<Function> Parser::function(Module& module, std::string_view name) {
  Parser parser(module, module.bodies_.at(name));
  parser.header();
  parser.body();
  return std::move(parser.function_);
}

void Parser::parameters(std::vector<Parameter>& list) {
  if (!tokens_.take_if("(")) return;
  while (!tokens_.take_if(")")) {
    expect(".param");
    const Declaration declared = declaration();
    const std::size_t offset = round_up(function_->parameter_bytes, declared.alignment);
    list.push_back({offset, declared.bytes, declared.alignment});
    function_->parameter_bytes = offset + declared.bytes;
    scopes_.back().names[declared.name] = {kZero, offset};
    tokens_.take_if(",");
  }
}

void Parser::header() {
  scopes_.emplace_back();
  for (const auto& [name, slot] : kSpecialRegisters) scopes_.back().names[name] = {slot, 0};
  const bool is_called = tokens_.take() == ".func";
  if (is_called) parameters(function_->results);
  function_->name = tokens_.take();
  parameters(function_->parameters);
  while (tokens_.peek() != "{") {
    const std::string_view word = tokens_.take();
    if (word != ".maxntid" && word != ".reqntid") continue;
    function_->most_threads = number(tokens_.take());
    while (tokens_.take_if(",")) function_->most_threads *= number(tokens_.take());
  }
}

void Parser::body() {
  expect("{");
  scopes_.emplace_back();
  while (scopes_.size() > 1) {
    if (tokens_.take_if("{")) {
      scopes_.emplace_back();
    } else if (tokens_.take_if("}")) {
      close_scope();
    } else {
      statement();
    }
  }
  for (const Branch& branch : scopes_.back().branches) {
    fail("a branch to " + std::string(branch.label) + ", which the function does not have");
  }
  function_->shared_bytes = function_->shared.empty()
                                ? 0
                                : round_up(function_->shared_bytes + kSharedGap, kGivenAlignment);
}

// Branches find their labels here, or further out.
void Parser::close_scope() {
  Scope scope = std::move(scopes_.back());
  scopes_.pop_back();
  for (const Branch& branch : scope.branches) {
    const auto label = scope.labels.find(branch.label);
    if (label == scope.labels.end()) {
      scopes_.back().branches.push_back(branch);
    } else {
      function_->code[branch.instruction].target = label->second;
    }
  }
}

void Parser::statement() {
  const std::string_view token = tokens_.peek();
  if (token.empty()) fail("a function without an end");
  if (token == ".reg") {
    tokens_.take();
    registers();
  } else if (token == ".param" || token == ".local" || token == ".shared") {
    tokens_.take();
    variable(token);
  } else if (token == ".loc") {
    tokens_.take();
    source_place();
  } else if (token.starts_with('.')) {  // .pragma
    while (!tokens_.take_if(";") && !tokens_.peek().empty()) tokens_.take();
  } else {
    instruction();
  }
}

// File, line, column; of inlined code the place within it comes first.
void Parser::source_place() {
  const auto file = module_.sources_.find(number(tokens_.take()));
  source_ = file == module_.sources_.end() ? std::string_view() : file->second;
  source_line_ = static_cast<std::uint32_t>(number(tokens_.peek()));
  tokens_.skip_line();
}

void Parser::registers() {
  tokens_.take();  // all are 64 bits wide here
  do {
    const std::string_view name = tokens_.take();
    std::uint32_t count = 1;
    if (tokens_.take_if("<")) {
      count = static_cast<std::uint32_t>(number(tokens_.take()));
      expect(">");
      scopes_.back().ranges[name] = {function_->registers, count};
    } else {
      scopes_.back().names[name] = {function_->registers, 0};
    }
    function_->registers += count;
  } while (tokens_.take_if(","));
  expect(";");
}

void Parser::variable(std::string_view space) {
  const Declaration declared = declaration();
  if (space == ".shared") {
    module_.shared_[declared.name] = {declared.bytes, declared.alignment, false};
  } else {
    std::size_t& used = space == ".param" ? function_->parameter_bytes : function_->local_bytes;
    const std::size_t offset = round_up(used, declared.alignment);
    used = offset + declared.bytes;
    scopes_.back().names[declared.name] = {kZero, offset};
  }
  expect(";");
}

Operand Parser::shared_array(std::string_view name) {
  const auto known = shared_offsets_.find(name);
  if (known != shared_offsets_.end()) return {kZero, known->second};
  const Module::Shared& array = module_.shared_.at(name);
  // Where what the launch gives begins is known when all others are: launches set the register.
  if (array.is_given) return {kGivenShared, 0};
  std::size_t& used = function_->shared_bytes;
  const std::size_t offset = round_up(used == 0 ? 0 : used + kSharedGap, array.alignment);
  function_->shared.push_back({offset, array.bytes});
  used = offset + array.bytes;
  shared_offsets_[name] = offset;
  return {kZero, offset};
}

bool Parser::find_name(std::string_view token, Operand& found) {
  std::size_t digits = 0;
  while (digits < token.size() && is_digit(token[token.size() - 1 - digits])) ++digits;
  const std::string_view prefix = token.substr(0, token.size() - digits);
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    const auto name = scope->names.find(token);
    if (name != scope->names.end()) {
      found = name->second;
      return true;
    }
    if (digits == 0) continue;
    const auto range = scope->ranges.find(prefix);
    if (range == scope->ranges.end()) continue;
    const std::uint64_t index = number(token.substr(prefix.size()));
    if (index >= range->second.count) continue;
    found = {range->second.first + static_cast<std::uint32_t>(index), 0};
    return true;
  }
  const auto variable = module_.variables_.find(token);
  if (variable != module_.variables_.end()) {
    found = {kZero, reinterpret_cast<std::uintptr_t>(variable->second.memory.get())};
    return true;
  }
  if (module_.shared_.contains(token)) {
    found = shared_array(token);
    return true;
  }
  return false;
}

Operand Parser::operand(std::string_view token, Instruction& instruction) {
  Operand result;
  if (token == "-") return {kZero, ~number(tokens_.take()) + 1};
  if (is_digit(token[0])) return {kZero, number(token)};
  if (find_name(token, result)) return result;
  if (module_.bodies_.contains(token)) {
    instruction.callee = module_.entry(token);
    return result;
  }
  fail("the name " + std::string(token) + " is not known");
}

void Parser::branch_to(std::string_view label) {
  scopes_.back().branches.push_back({function_->code.size(), label});
}

void Parser::instruction() {
  Instruction result;
  // Counted on from the last one: a file has a million characters.
  const std::string_view text = module_.text_;
  line_ += static_cast<std::size_t>(
      std::count(text.begin() + static_cast<std::ptrdiff_t>(line_place_),
                 text.begin() + static_cast<std::ptrdiff_t>(tokens_.place()), '\n'));
  line_place_ = tokens_.place();
  result.line = static_cast<std::uint32_t>(line_ + 1);
  result.source = source_;
  result.source_line = source_line_;
  if (tokens_.take_if("@")) {
    result.is_guarded = true;
    result.is_negated = tokens_.take_if("!");
    Operand guard;
    const std::string_view name = tokens_.take();
    if (!find_name(name, guard)) fail("the predicate " + std::string(name) + " is not known");
    result.guard = guard.slot;
  }
  result.opcode = tokens_.take();
  if (!result.is_guarded && tokens_.take_if(":")) {
    scopes_.back().labels[result.opcode] = static_cast<std::uint32_t>(function_->code.size());
    return;
  }
  result.execute = find_operation(result.opcode);
  if (result.execute == nullptr) {
    fail("the instruction " + std::string(result.opcode) + " is not known");
  }
  std::vector<Operand> operands;
  const bool is_branch = result.opcode == "bra" || result.opcode == "bra.uni";
  bool is_leading = tokens_.peek() == "{" || tokens_.peek() == "(";
  while (!tokens_.take_if(";")) {
    const std::string_view token = tokens_.take();
    if (token.empty()) fail("an instruction without an end");
    if (token == "}" || token == ")") {
      if (std::exchange(is_leading, false)) {
        result.leading = static_cast<std::uint32_t>(operands.size());
      }
    } else if (token == "+") {
      const bool is_less = tokens_.take_if("-");
      const std::uint64_t distance = number(tokens_.take());
      operands.back().offset += is_less ? ~distance + 1 : distance;
    } else if (is_branch) {
      branch_to(token);
    } else if (token.size() > 1 || is_word_sign(token[0]) || token == "-") {
      operands.push_back(operand(token, result));
    } else if (std::string_view("{([],|").find(token) == std::string_view::npos) {
      fail("an unexpected " + std::string(token));
    }
  }
  result.count = static_cast<std::uint32_t>(operands.size());
  auto kept = std::make_unique<Operand[]>(operands.size());
  std::copy(operands.begin(), operands.end(), kept.get());
  result.operands = kept.get();
  function_->operands.push_back(std::move(kept));
  function_->code.push_back(std::move(result));
}

}  // namespace alphamargin::emulated::ptx
