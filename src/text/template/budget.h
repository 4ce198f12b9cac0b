// What one compilation or rendering may still use, and how it makes errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"
#include "inferd/text/chat_template.h"
#include "text/template/value.h"

namespace inferd::chat_template {

// INVALID_ARGUMENT, CHAT_TEMPLATE_ERROR, for a template that cannot be compiled.
Status CompileError(int line, std::string_view message);

// Operations, sizes and nesting left to one render. Every value that an
// operation makes is made here, so that its size is charged. One thread.
class Budget {
 public:
  Budget(const ChatTemplateLimits& limits, int64_t unix_seconds)
      : limits_(limits), operations_left_(limits.max_operations), unix_seconds_(unix_seconds) {}

  const ChatTemplateLimits& limits() const { return limits_; }
  int64_t unix_seconds() const { return unix_seconds_; }
  // The template line errors are about.
  void set_line(int line) { line_ = line; }
  int line() const { return line_; }

  Status Charge(int64_t operations);
  // The price of touching `bytes` of text.
  Status ChargeBytes(size_t bytes) { return Charge(1 + static_cast<int64_t>(bytes / 16)); }
  // An error when a string of `bytes` may not be made.
  Status CheckString(size_t bytes) const;

  Status Error(std::string_view message) const;
  // What raise_exception reports: `message` as it is.
  static Status Raised(std::string_view message);
  Status UndefinedError(const Value& value) const { return Error(value.UndefinedMessage()); }

  StatusOr<Value> MakeString(MarkedString text);
  StatusOr<Value> MakeList(std::vector<Value> items, ListObject::Flavor flavor, bool trusted,
                           std::string label = {});
  // The last value of equal keys counts, in the place of the first.
  StatusOr<Value> MakeDict(std::vector<std::pair<Value, Value>> entries, bool trusted);
  // As MakeDict, for keys known to be distinct strings.
  StatusOr<Value> MakeRecord(std::vector<std::pair<Value, Value>> entries, bool trusted);

 private:
  const ChatTemplateLimits limits_;
  int64_t operations_left_;
  const int64_t unix_seconds_;
  int line_ = 0;
};

// A string under construction. The first error sticks and stops the growth.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget)
      : TextBuilder(budget, budget.limits().max_string_bytes, "a string is too long") {}
  // `error`: what growing past `max_bytes` reports.
  TextBuilder(Budget& budget, int64_t max_bytes, std::string_view error)
      : budget_(budget), max_bytes_(static_cast<size_t>(max_bytes)), error_(error) {}

  void Append(std::string_view text, bool trusted) {
    if (Grow(text.size())) text_.Append(text, trusted);
  }
  void Append(const MarkedString& text) { AppendRange(text, 0, text.size()); }
  void AppendRange(const MarkedString& text, size_t begin, size_t end) {
    if (Grow(end - begin)) text_.AppendRange(text, begin, end);
  }
  void AppendCodePoint(uint32_t code_point, bool trusted);

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  Budget& budget() { return budget_; }
  // Charges for the text and gives it away.
  StatusOr<MarkedString> Take();
  StatusOr<Value> Finish();

 private:
  bool Grow(size_t bytes) {
    if (!status_.ok()) return false;
    if (bytes > max_bytes_ || text_.size() > max_bytes_ - bytes) status_ = budget_.Error(error_);
    return status_.ok();
  }

  Budget& budget_;
  const size_t max_bytes_;
  const std::string_view error_;
  MarkedString text_;
  Status status_;
};

// A text that equal keys share and other keys do not; an error for values that
// cannot be keys.
StatusOr<std::string> KeyText(Budget& budget, const Value& key);

}  // namespace inferd::chat_template
