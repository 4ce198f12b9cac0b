// From the regular expressions of tokenizer.json (Oniguruma, Ruby syntax) to
// PCRE2's.
#pragma once

#include <string>
#include <string_view>

#include "inferd/base/status.h"

namespace inferd::text {

// A PCRE2 pattern (for UTF | UCP | MULTILINE) that matches what `pattern` does.
// \s, \w, \h and script names are spelt out because the two engines differ on
// them; what would silently mean something else (set intersections, flags other
// than i) is FAILED_PRECONDITION.
StatusOr<std::string> TranslateRegex(std::string_view pattern);

}  // namespace inferd::text
