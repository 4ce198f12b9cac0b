#include "text/normalizer.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "inferd/text/utf8.h"
#include "text/pattern.h"
#include "text/unicode.h"

namespace inferd::text {
namespace {

// Far above what a text within the limit becomes, far below what would hurt.
constexpr size_t kMaxNormalizedBytes = 256 << 20;

Status TooLong() { return InvalidArgumentError("text: too long after normalisation"); }

bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(NormalizationForm form) : form_(form) {}

  StatusOr<MarkedText> Apply(MarkedText text) const override {
    const std::string& in = text.text;
    MarkedTextBuilder builder(text);
    size_t copied = 0;
    bool changed = false;
    for (size_t i = 0; i < in.size();) {
      if (IsAscii(in[i])) {
        ++i;
        continue;
      }
      // An ASCII character never combines with what precedes it, so the text
      // falls apart before each; it may combine with the marks that follow.
      size_t end = i;
      bool stable = true;
      while (end < in.size() && !IsAscii(in[end])) {
        const CodePoint c = DecodeUtf8(in, end);
        stable = stable && IsStable(c.value);
        end += c.length;
      }
      if (!stable) {
        const size_t begin = i > 0 ? i - 1 : i;
        const std::string_view stretch = std::string_view(in).substr(begin, end - begin);
        const std::string normal = Normalize(stretch, form_);
        if (normal != stretch) {
          builder.Copy(copied, begin);
          Put(text, begin, end, normal, &builder);
          copied = end;
          changed = true;
          if (builder.size() > kMaxNormalizedBytes) return TooLong();
        }
      }
      i = end;
    }
    if (!changed) return text;
    builder.Copy(copied, in.size());
    return builder.Take();
  }

 private:
  // Puts `normal` in place of [begin, end), run by run of the same origin unless
  // characters of two runs combine; then all of it is as trusted as its parts.
  void Put(const MarkedText& text, size_t begin, size_t end, const std::string& normal,
           MarkedTextBuilder* builder) const {
    struct Part {
      size_t begin;
      size_t end;
      std::string normal;
    };
    std::vector<Part> parts;
    std::string joined;
    for (size_t at = begin; at < end;) {
      const size_t stop = std::min(end, text.trust.RunEnd(at));
      parts.push_back({at, stop,
                       at == begin && stop == end
                           ? normal
                           : Normalize(std::string_view(text.text).substr(at, stop - at), form_)});
      joined += parts.back().normal;
      at = stop;
    }
    if (joined != normal) {
      builder->Replace(begin, end, normal);
      return;
    }
    for (const Part& part : parts) builder->Replace(part.begin, part.end, part.normal);
  }

  // Among such characters, none changes under composing forms and none combines
  // with a neighbour.
  bool IsStable(char32_t c) const {
    if (form_ == NormalizationForm::kNfd || form_ == NormalizationForm::kNfkd) return false;
    if (c >= 0x4E00 && c <= 0x9FFF) return true;  // Han
    if (c >= 0xAC00 && c <= 0xD7A3) return true;  // Hangul syllables
    if ((c >= 0x3041 && c <= 0x3096) || (c >= 0x30A1 && c <= 0x30FA)) return true;  // kana
    if (c >= 0x400 && c <= 0x482) return true;                                      // Cyrillic
    return form_ == NormalizationForm::kNfc && c < 0x300;
  }

  NormalizationForm form_;
};

class Lowercase final : public Normalizer {
 public:
  StatusOr<MarkedText> Apply(MarkedText text) const override {
    const std::string& in = text.text;
    MarkedTextBuilder builder(text);
    std::string lower;
    for (size_t i = 0; i < in.size();) {
      const CodePoint c = DecodeUtf8(in, i);
      lower.clear();
      AppendLowercase(c.value, lower);
      builder.Replace(i, i + c.length, lower);
      i += c.length;
    }
    return builder.Take();
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  StatusOr<MarkedText> Apply(MarkedText text) const override {
    const std::string& in = text.text;
    size_t begin = 0;
    size_t end = in.size();
    while (left_ && begin < end) {
      const CodePoint c = DecodeUtf8(in, begin);
      if (!IsWhitespace(c.value)) break;
      begin += c.length;
    }
    while (right_ && end > begin) {
      const size_t previous = PreviousUtf8(in, end);
      if (!IsWhitespace(DecodeUtf8(in, previous).value)) break;
      end = previous;
    }
    return text.Slice(begin, end);
  }

 private:
  bool left_;
  bool right_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}

  StatusOr<MarkedText> Apply(MarkedText text) const override {
    if (text.text.empty()) return text;
    MarkedTextBuilder builder(text);
    builder.Replace(0, 0, prefix_);
    builder.Copy(0, text.text.size());
    return builder.Take();
  }

 private:
  std::string prefix_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  StatusOr<MarkedText> Apply(MarkedText text) const override {
    std::vector<Match> matches;
    INFERD_RETURN_IF_ERROR(Pattern::Searcher(pattern_).Run(text.text, &matches));
    MarkedTextBuilder builder(text);
    for (const Match& match : matches) {
      if (match.matched) {
        builder.Replace(match.begin, match.end, content_);
        if (builder.size() > kMaxNormalizedBytes) return TooLong();
      } else {
        builder.Copy(match.begin, match.end);
      }
    }
    return builder.Take();
  }

 private:
  Pattern pattern_;
  std::string content_;
};

StatusOr<std::unique_ptr<const Normalizer>> MakeNormalizer(const JsonView& view) {
  using Step = std::unique_ptr<const Normalizer>;
  INFERD_ASSIGN_OR_RETURN(const std::string type, view.String("type"));
  for (const auto& [name, form] : {std::pair{"NFC", NormalizationForm::kNfc},
                                   {"NFD", NormalizationForm::kNfd},
                                   {"NFKC", NormalizationForm::kNfkc},
                                   {"NFKD", NormalizationForm::kNfkd}}) {
    if (type != name) continue;
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type"}));
    return Step(new UnicodeForm(form));
  }
  if (type == "Lowercase") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type"}));
    return Step(new Lowercase());
  }
  if (type == "Strip") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "strip_left", "strip_right"}));
    INFERD_ASSIGN_OR_RETURN(const bool left, view.Bool("strip_left"));
    INFERD_ASSIGN_OR_RETURN(const bool right, view.Bool("strip_right"));
    return Step(new Strip(left, right));
  }
  if (type == "Prepend") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "prepend"}));
    INFERD_ASSIGN_OR_RETURN(std::string prefix, view.String("prepend"));
    return Step(new Prepend(std::move(prefix)));
  }
  if (type == "Replace") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "pattern", "content"}));
    INFERD_ASSIGN_OR_RETURN(Pattern pattern, Pattern::FromJson(view, "pattern"));
    INFERD_ASSIGN_OR_RETURN(std::string content, view.String("content"));
    return Step(new Replace(std::move(pattern), std::move(content)));
  }
  return view.Error("normalizer \"" + type + "\" is not supported");
}

}  // namespace

StatusOr<NormalizerChain> NormalizerChain::FromJson(const JsonView& view) {
  INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> leaves, FlattenSequence(view, "normalizers"));
  NormalizerChain chain;
  for (const JsonView& leaf : leaves) {
    INFERD_ASSIGN_OR_RETURN(auto step, MakeNormalizer(leaf));
    chain.steps_.push_back(std::move(step));
  }
  return chain;
}

StatusOr<MarkedText> NormalizerChain::Apply(MarkedText text) const {
  for (const auto& step : steps_) {
    INFERD_ASSIGN_OR_RETURN(text, step->Apply(std::move(text)));
  }
  return text;
}

}  // namespace inferd::text
