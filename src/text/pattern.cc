#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "inferd/text/utf8.h"
#include "text/regex_syntax.h"

namespace inferd::text {
namespace {

// What one match may use up. Every published pattern stays far below them: they
// backtrack over at most the text once per match.
constexpr uint32_t kMatchLimit = 50'000'000;
constexpr uint32_t kDepthLimit = 10'000'000;
constexpr uint32_t kHeapLimitKib = 64 << 10;
constexpr size_t kJitStackStart = 32 << 10;
constexpr size_t kJitStackMax = 1 << 20;
constexpr size_t kMaxPatternBytes = 64 << 10;

}  // namespace

struct Pattern::Searcher::State {
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;
};

void Pattern::Searcher::Delete::operator()(State* state) const {
  pcre2_match_data_free(state->data);
  pcre2_match_context_free(state->context);
  pcre2_jit_stack_free(state->stack);
  delete state;
}

StatusOr<Pattern> Pattern::Literal(std::string text) {
  if (text.empty()) return FailedPreconditionError("pattern: must not be empty");
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

StatusOr<Pattern> Pattern::Regex(std::string_view source) {
  if (source.size() > kMaxPatternBytes) {
    return FailedPreconditionError("regular expression: over " + std::to_string(kMaxPatternBytes) +
                                   " bytes");
  }
  INFERD_ASSIGN_OR_RETURN(const std::string translated, TranslateRegex(source));
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &error, &offset, /*ccontext=*/nullptr);
  if (code == nullptr) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    return FailedPreconditionError("regular expression: " +
                                   std::string(reinterpret_cast<const char*>(message.data())));
  }
  Pattern pattern;
  pattern.jit_ = pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0;
  pattern.code_ = std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); });
  return pattern;
}

StatusOr<Pattern> Pattern::FromJson(const JsonView& view, std::string_view key) {
  INFERD_ASSIGN_OR_RETURN(const JsonView member, view.Object(key));
  INFERD_RETURN_IF_ERROR(member.OnlyMembers({"String", "Regex"}));
  const bool is_regex = member.Has("Regex");
  if (is_regex == member.Has("String")) return member.Error("must have one of String and Regex");
  INFERD_ASSIGN_OR_RETURN(std::string source, member.String(is_regex ? "Regex" : "String"));
  StatusOr<Pattern> pattern = is_regex ? Regex(source) : Literal(std::move(source));
  if (!pattern.ok()) return pattern.status().WithPrefix(member.path());
  return pattern;
}

Pattern::Searcher::Searcher(const Pattern& pattern) : pattern_(pattern) {
  if (!pattern.is_regex()) return;
  state_.reset(new State);
  state_->data = pcre2_match_data_create_from_pattern(pattern.code_.get(), nullptr);
  state_->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(state_->context, kMatchLimit);
  pcre2_set_depth_limit(state_->context, kDepthLimit);
  pcre2_set_heap_limit(state_->context, kHeapLimitKib);
  if (pattern.jit_) {
    state_->stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr);
    pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
  }
}

Status Pattern::Searcher::Run(std::string_view subject, std::vector<Match>* matches) {
  matches->clear();
  if (pattern_.is_regex()) return RunRegex(subject, matches);
  size_t previous = 0;
  while (true) {
    const size_t found = subject.find(pattern_.literal_, previous);
    if (found == std::string_view::npos) break;
    if (found > previous) matches->push_back({previous, found, false});
    previous = found + pattern_.literal_.size();
    matches->push_back({found, previous, true});
  }
  if (previous < subject.size()) matches->push_back({previous, subject.size(), false});
  return OkStatus();
}

Status Pattern::Searcher::RunRegex(std::string_view subject, std::vector<Match>* matches) {
  const pcre2_code* code = pattern_.code_.get();
  const auto text = reinterpret_cast<PCRE2_SPTR>(subject.data());
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(state_->data);
  size_t previous = 0;
  size_t from = 0;
  bool have_match = false;
  while (from <= subject.size()) {
    // Validity was established when the text came in.
    const int result = pattern_.jit_
                           ? pcre2_jit_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK,
                                             state_->data, state_->context)
                           : pcre2_match(code, text, subject.size(), from, PCRE2_NO_UTF_CHECK,
                                         state_->data, state_->context);
    if (result == PCRE2_ERROR_NOMATCH) break;
    if (result < 0) {
      return InvalidArgumentError(
          "text: exceeds what the tokenizer's regular expression may use up (error " +
          std::to_string(result) + ")");
    }
    const size_t begin = found[0];
    const size_t end = found[1];
    // \K can move the start behind the end; such a pattern splits nothing sensibly.
    if (begin > end || begin < previous) {
      return InvalidArgumentError("text: the tokenizer's regular expression matched backwards");
    }
    if (begin == end && have_match && begin == previous) {
      // An empty match right after a match is no match: look one character on.
      if (from >= subject.size()) break;
      from += DecodeUtf8(subject, from).length;
      continue;
    }
    if (begin > previous) matches->push_back({previous, begin, false});
    matches->push_back({begin, end, true});
    previous = end;
    from = end;
    have_match = true;
  }
  if (previous < subject.size()) matches->push_back({previous, subject.size(), false});
  return OkStatus();
}

}  // namespace inferd::text
