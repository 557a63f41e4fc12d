#include "emulation/ptx/tokens.h"

#include <algorithm>
#include <cstring>

namespace alphamargin::emulated::ptx {

bool is_word_sign(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '$' || c == '%' || c == '.';
}

void Tokens::advance() {
  const auto at = [&](std::size_t i) { return i < text_.size() ? text_[i] : '\0'; };
  for (;;) {
    while (place_ < text_.size() && std::strchr(" \t\r\n", text_[place_]) != nullptr) ++place_;
    if (at(place_) != '/') break;
    if (at(place_ + 1) == '/') {
      place_ = std::min(text_.find('\n', place_), text_.size());
    } else if (at(place_ + 1) == '*') {
      place_ = std::min(text_.find("*/", place_), text_.size() - 2) + 2;
    } else {
      break;
    }
  }
  start_ = place_;
  if (place_ >= text_.size()) {
    token_ = {};
    return;
  }
  if (at(place_) == '"') {
    place_ = std::min(text_.find('"', place_ + 1), text_.size() - 1) + 1;
  } else if (is_word_sign(at(place_))) {
    // A colon ends a label, two are within a word.
    while (is_word_sign(at(place_)) || (at(place_) == ':' && at(place_ + 1) == ':')) {
      place_ += at(place_) == ':' ? 2 : 1;
    }
  } else {
    ++place_;
  }
  token_ = text_.substr(start_, place_ - start_);
}

void Tokens::skip_line() {
  place_ = std::min(text_.find('\n', start_), text_.size());
  advance();
}

std::size_t Tokens::line() const {
  const auto end = text_.begin() + static_cast<std::ptrdiff_t>(start_);
  return 1 + static_cast<std::size_t>(std::count(text_.begin(), end, '\n'));
}

}  // namespace alphamargin::emulated::ptx
