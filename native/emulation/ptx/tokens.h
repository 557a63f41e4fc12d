#pragma once
// The text of PTX in pieces.

#include <cstddef>
#include <string_view>

namespace alphamargin::emulated::ptx {

// Of a word or number.
bool is_word_sign(char c);

// Words, numbers and single signs, one after another; comments are left out.
class Tokens {
 public:
  Tokens(std::string_view text, std::size_t begin) : text_(text), place_(begin) { advance(); }

  std::string_view peek() const { return token_; }  // "" at the end
  std::string_view take() {
    const std::string_view result = token_;
    advance();
    return result;
  }
  bool take_if(std::string_view wanted) {
    if (token_ != wanted) return false;
    advance();
    return true;
  }
  void skip_line();
  std::size_t place() const { return start_; }
  std::size_t line() const;  // counted from the start of the text, at every call

 private:
  void advance();

  std::string_view text_;
  std::size_t place_;
  std::size_t start_ = 0;
  std::string_view token_;
};

}  // namespace alphamargin::emulated::ptx
