// Template source to tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"

namespace inferd::chat_template {

struct Token {
  enum class Type : uint8_t {
    kData,
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,  // with its quotes, escapes not yet resolved
    kInteger,
    kFloat,
    kOperator,
    kEnd,
  };
  Type type;
  int line;
  std::string_view text;  // of the source given to Tokenize
};

// `source` with "\n" line ends and without one final line end.
std::string NormalizeNewlines(std::string_view source);

// The tokens of a normalized source, kEnd last; they point into it. White space
// control is done: `-` and `+` signs, trimming after blocks, stripping before.
StatusOr<std::vector<Token>> Tokenize(std::string_view source);

}  // namespace inferd::chat_template
