#include "text/regex_syntax.h"

#include <array>
#include <utility>
#include <vector>

namespace inferd::text {
namespace {

// The insides of character classes.
constexpr std::string_view kSpaceSet = "\\x{9}-\\x{d}\\x{85}\\p{Z}";
constexpr std::string_view kWordSet = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";
constexpr std::string_view kHexSet = "0-9A-Fa-f";

// Long names of general categories, which PCRE2 knows by their short ones.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kCategoryNames = {{
    {"Letter", "L"},
    {"Mark", "M"},
    {"Number", "N"},
    {"Punctuation", "P"},
    {"Symbol", "S"},
    {"Separator", "Z"},
    {"Other", "C"},
    {"Uppercase_Letter", "Lu"},
    {"Lowercase_Letter", "Ll"},
    {"Modifier_Letter", "Lm"},
    {"Other_Letter", "Lo"},
    {"Decimal_Number", "Nd"},
}};

// One pass over a pattern, which remembers where the last atom began so that a
// quantified atom can be wrapped.
class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  StatusOr<std::string> Run() {
    while (at_ < in_.size()) INFERD_RETURN_IF_ERROR(Next());
    return std::move(out_);
  }

 private:
  Status Error(std::string_view what) const {
    return FailedPreconditionError("regular expression at byte " + std::to_string(at_) + ": " +
                                   std::string(what));
  }
  bool Sees(std::string_view text) const { return in_.substr(at_).starts_with(text); }
  void Copy(size_t count) {
    out_.append(in_.substr(at_, count));
    at_ += count;
  }

  Status Next() {
    switch (in_[at_]) {
      case '\\':
        atom_ = out_.size();
        return Escape(/*in_class=*/false);
      case '[':
        atom_ = out_.size();
        return Class();
      case '(':
        return OpenGroup();
      case ')':
        if (!groups_.empty()) {
          atom_ = groups_.back();
          groups_.pop_back();
        }
        Copy(1);
        return OkStatus();
      case '{':
        return Interval();
      case '*':
      case '+':
      case '?':
        // Possessive and reluctant suffixes mean the same on both sides.
        Copy(1);
        if (at_ < in_.size() && (in_[at_] == '+' || in_[at_] == '?')) Copy(1);
        return OkStatus();
      default:
        atom_ = out_.size();
        Copy(1);
        while (at_ < in_.size() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80) Copy(1);
        return OkStatus();
    }
  }

  Status OpenGroup() {
    groups_.push_back(out_.size());
    if (Sees("(?")) {
      size_t end = at_ + 2;
      while (end < in_.size() && ((in_[end] >= 'a' && in_[end] <= 'z') || in_[end] == '-')) ++end;
      const bool is_flags =
          end < in_.size() && end > at_ + 2 && (in_[end] == ':' || in_[end] == ')');
      if (is_flags) {
        for (size_t i = at_ + 2; i < end; ++i) {
          if (in_[i] != 'i' && in_[i] != '-') return Error("only the flag i is supported");
        }
      }
      if (Sees("(?~")) return Error("absent operators are not supported");
      Copy(2);
      // Keeps the punctuation of the group's kind from being read as an atom.
      while (at_ < in_.size() && (in_[at_] == '<' || in_[at_] == '=' || in_[at_] == '!' ||
                                  in_[at_] == ':' || in_[at_] == '>')) {
        Copy(1);
      }
      return OkStatus();
    }
    Copy(1);
    return OkStatus();
  }

  // {n,m}: a following + repeats the whole there, and makes it possessive here.
  Status Interval() {
    size_t end = at_ + 1;
    while (end < in_.size() && ((in_[end] >= '0' && in_[end] <= '9') || in_[end] == ',')) ++end;
    if (end >= in_.size() || in_[end] != '}' || end == at_ + 1) {
      atom_ = out_.size();
      out_ += "\\{";
      ++at_;
      return OkStatus();
    }
    if (in_[at_ + 1] == ',') out_.append("{0"), ++at_;
    Copy(end + 1 - at_);
    if (at_ < in_.size() && in_[at_] == '+') {
      out_.insert(atom_, "(?:");
      out_ += ")+";
      ++at_;
    }
    return OkStatus();
  }

  Status Escape(bool in_class) {
    if (at_ + 1 >= in_.size()) return Error("ends in a backslash");
    const char c = in_[at_ + 1];
    const auto put = [&](std::string_view set, bool negated) -> Status {
      at_ += 2;
      if (!in_class) {
        out_ += negated ? "[^" : "[";
        out_ += set;
        out_ += "]";
        return OkStatus();
      }
      out_ += set;
      return OkStatus();
    };
    switch (c) {
      case 's':
        return put(kSpaceSet, false);
      case 'w':
        return put(kWordSet, false);
      case 'h':
        return put(kHexSet, false);
      case 'S':
      case 'W':
      case 'H':
        if (in_class) {
          if (c == 'S') {
            Copy(2);  // differs from the set above in U+180E only
            return OkStatus();
          }
          return Error("\\W and \\H within a set are not supported");
        }
        return put(c == 'S' ? kSpaceSet : c == 'W' ? kWordSet : kHexSet, true);
      case 'p':
      case 'P':
        return Property();
      case 'u': {
        if (at_ + 6 > in_.size()) return Error("\\u needs four digits");
        out_ += "\\x{";
        out_ += in_.substr(at_ + 2, 4);
        out_ += "}";
        at_ += 6;
        return OkStatus();
      }
      default:
        Copy(2);
        while (at_ < in_.size() && (static_cast<unsigned char>(in_[at_]) & 0xC0) == 0x80) Copy(1);
        return OkStatus();
    }
  }

  Status Property() {
    if (at_ + 2 >= in_.size() || in_[at_ + 2] != '{') {
      Copy(2);
      return OkStatus();
    }
    const size_t end = in_.find('}', at_);
    if (end == std::string_view::npos) return Error("property without }");
    bool negated = in_[at_ + 1] == 'P';
    std::string_view name = in_.substr(at_ + 3, end - at_ - 3);
    if (name.starts_with('^')) {
      negated = !negated;
      name.remove_prefix(1);
    }
    for (const auto& [long_name, short_name] : kCategoryNames) {
      if (name == long_name) name = short_name;
    }
    out_ += negated ? "\\P{" : "\\p{";
    // A bare script name means script extensions there.
    if (name.size() > 2 && name != "Any" && name != "Alphabetic" && name != "Lowercase" &&
        name != "Uppercase" && name != "White_Space" && name != "Emoji" &&
        name.find('_') == std::string_view::npos && name.find(':') == std::string_view::npos) {
      out_ += "sc:";
    }
    out_ += name;
    out_ += "}";
    at_ = end + 1;
    return OkStatus();
  }

  Status Class() {
    Copy(1);
    if (at_ < in_.size() && in_[at_] == '^') Copy(1);
    bool first = true;
    while (at_ < in_.size()) {
      if (in_[at_] == ']' && !first) {
        Copy(1);
        return OkStatus();
      }
      first = false;
      if (in_[at_] == '\\') {
        INFERD_RETURN_IF_ERROR(Escape(/*in_class=*/true));
      } else if (Sees("[:")) {
        const size_t end = in_.find(":]", at_);
        if (end == std::string_view::npos) return Error("[: without :]");
        Copy(end + 2 - at_);
      } else if (in_[at_] == '[') {
        return Error("sets within sets are not supported");
      } else if (Sees("&&")) {
        return Error("intersections of sets are not supported");
      } else {
        Copy(1);
      }
    }
    return Error("set without ]");
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;             // where the last atom begins in out_
  std::vector<size_t> groups_;  // where the open groups begin in out_
};

}  // namespace

StatusOr<std::string> TranslateRegex(std::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace inferd::text
