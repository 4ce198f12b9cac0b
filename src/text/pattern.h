// What a tokenizer.json searches for: a string or a regular expression.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "text/json_view.h"

struct pcre2_real_code_8;

namespace inferd::text {

// A stretch of a text, and whether the pattern matched it.
struct Match {
  size_t begin;
  size_t end;
  bool matched;
};

// Immutable: any thread.
class Pattern {
 public:
  static StatusOr<Pattern> Literal(std::string text);
  // `source` in Oniguruma's Ruby syntax.
  static StatusOr<Pattern> Regex(std::string_view source);
  // The member `key` of `view`: {"String": s} or {"Regex": s}.
  static StatusOr<Pattern> FromJson(const JsonView& view, std::string_view key);

  bool is_regex() const { return code_ != nullptr; }
  const std::string& literal() const { return literal_; }

  // One call's search state; not for use by two threads at once.
  class Searcher {
   public:
    explicit Searcher(const Pattern& pattern);
    // Replaces `matches` by stretches that cover `subject` (valid UTF-8) in
    // order. INVALID_ARGUMENT when the search exceeds its limits.
    Status Run(std::string_view subject, std::vector<Match>* matches);

   private:
    struct State;
    struct Delete {
      void operator()(State* state) const;
    };
    Status RunRegex(std::string_view subject, std::vector<Match>* matches);

    const Pattern& pattern_;
    std::unique_ptr<State, Delete> state_;
  };

 private:
  Pattern() = default;

  std::string literal_;
  std::shared_ptr<const pcre2_real_code_8> code_;
  bool jit_ = false;
};

}  // namespace inferd::text
