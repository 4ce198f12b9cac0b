// How one value is laid out by either sort of formatting.
#pragma once

#include <cstdint>

#include "text/template/budget.h"

namespace inferd::chat_template {

struct FormatSpec {
  uint32_t fill = ' ';
  char align = '\0';  // '<', '>', '^', '=' (between sign and digits); none
  char sign = '-';    // '+', ' ' or '-'
  bool thousands = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = '\0';
};

// Reads decimal digits at `position`, moving it past them. At most 2^31.
int64_t ReadNumber(std::string_view text, size_t& position);

// Appends a number (`spec.type` one of b d o x X e E f F g G %).
Status AppendNumber(TextBuilder& out, const Value& value, const FormatSpec& spec);
// Appends text, cut to the precision and padded to the width.
Status AppendPadded(TextBuilder& out, const MarkedString& text, const FormatSpec& spec);

}  // namespace inferd::chat_template
