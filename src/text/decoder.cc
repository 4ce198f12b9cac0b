#include "text/decoder.h"

#include <limits>
#include <utility>

#include "inferd/text/utf8.h"
#include "text/byte_level.h"

namespace inferd::text {
namespace {

bool IsOneCharacter(std::string_view text) {
  return !text.empty() && DecodeUtf8(text, 0).length == text.size();
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// "<0x0A>" is the byte 0x0A.
std::string ByteFallback(std::string token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return token;
  const int high = HexDigit(token[3]);
  const int low = HexDigit(token[4]);
  if (low < 0 || (high < 0 && token[3] != '+')) return token;
  return std::string(1, static_cast<char>(high < 0 ? low : high * 16 + low));
}

std::string Strip(std::string token, std::string_view content, int64_t start, int64_t stop) {
  std::string_view rest = token;
  for (int64_t i = 0; i < start && rest.starts_with(content); ++i) {
    rest.remove_prefix(content.size());
  }
  for (int64_t i = 0; i < stop && rest.ends_with(content); ++i) {
    rest.remove_suffix(content.size());
  }
  return std::string(rest);
}

std::string ReplaceAll(std::string_view text, std::string_view what, std::string_view by) {
  std::string out;
  while (true) {
    const size_t found = text.find(what);
    out.append(text.substr(0, found));
    if (found == std::string_view::npos) return out;
    out.append(by);
    text.remove_prefix(found + what.size());
  }
}

}  // namespace

Status Decoder::AddStep(const JsonView& view, bool* fused) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max();
  INFERD_ASSIGN_OR_RETURN(const std::string type, view.String("type"));
  const Status after_fuse = view.Error("decoder \"" + type + "\" is not supported after Fuse");
  Step step{};
  if (type == "Fuse") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type"}));
    *fused = true;
    return OkStatus();
  }
  if (type == "ByteLevel") {
    INFERD_RETURN_IF_ERROR(
        view.OnlyMembers({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    if (*fused) return after_fuse;
    step.kind = Step::Kind::kByteLevel;
    *fused = true;
  } else if (type == "ByteFallback") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type"}));
    if (*fused) return after_fuse;
    step.kind = Step::Kind::kByteFallback;
  } else if (type == "Strip") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "content", "start", "stop"}));
    step.kind = Step::Kind::kStrip;
    INFERD_ASSIGN_OR_RETURN(step.content, view.String("content"));
    INFERD_ASSIGN_OR_RETURN(step.start, view.Integer("start", 0, kMax));
    INFERD_ASSIGN_OR_RETURN(step.stop, view.Integer("stop", 0, kMax));
    if (!IsOneCharacter(step.content)) return view.Error("content must be one character");
    if (*fused) {
      if (step.start == 0 && step.stop == 0) return OkStatus();
      if (step.content != " " || step.start != 1 || step.stop != 0 || strips_leading_space_) {
        return view.Error("after Fuse only one leading space may be stripped");
      }
      strips_leading_space_ = true;
      return OkStatus();
    }
  } else if (type == "Replace") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "pattern", "content"}));
    step.kind = Step::Kind::kReplace;
    INFERD_ASSIGN_OR_RETURN(Pattern pattern, Pattern::FromJson(view, "pattern"));
    INFERD_ASSIGN_OR_RETURN(step.content, view.String("content"));
    // A longer match could reach across tokens.
    if (*fused &&
        (pattern.is_regex() || !IsOneCharacter(pattern.literal()) || strips_leading_space_)) {
      return after_fuse;
    }
    step.pattern.push_back(std::move(pattern));
  } else if (type == "Metaspace") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers(
        {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"}));
    if (*fused) return after_fuse;
    step.kind = Step::Kind::kMetaspace;
    INFERD_ASSIGN_OR_RETURN(step.content, view.String("replacement"));
    if (!IsOneCharacter(step.content)) return view.Error("replacement must be one character");
    INFERD_ASSIGN_OR_RETURN(const bool legacy, view.Bool("add_prefix_space", true));
    INFERD_ASSIGN_OR_RETURN(const std::string scheme,
                            view.String("prepend_scheme", legacy ? "always" : "never"));
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      return view.Error("prepend_scheme \"" + scheme + "\" is not supported");
    }
    step.drops_leading = scheme != "never";
    has_leading_rule_ = has_leading_rule_ || step.drops_leading;
  } else {
    return view.Error("decoder \"" + type + "\" is not supported");
  }
  steps_.push_back(std::move(step));
  return OkStatus();
}

StatusOr<Decoder> Decoder::FromJson(const JsonView& view) {
  INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> leaves, FlattenSequence(view, "decoders"));
  Decoder decoder;
  bool fused = false;
  for (const JsonView& leaf : leaves) INFERD_RETURN_IF_ERROR(decoder.AddStep(leaf, &fused));
  return decoder;
}

Status Decoder::AppendBytes(std::string_view token, std::string* out) const {
  if (steps_.size() == 1 && steps_[0].kind == Step::Kind::kByteLevel) {
    AppendBytesOfByteLevel(token, *out);
    return OkStatus();
  }
  INFERD_ASSIGN_OR_RETURN(const std::string bytes, Run(token, /*leading=*/false));
  out->append(bytes);
  return OkStatus();
}

StatusOr<std::string> Decoder::Run(std::string_view token, bool leading) const {
  std::string text(token);
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::kByteLevel:
        // The byte of a byte-fallback token stays as it is.
        if (IsValidUtf8(text)) {
          std::string bytes;
          AppendBytesOfByteLevel(text, bytes);
          text = std::move(bytes);
        }
        break;
      case Step::Kind::kByteFallback:
        text = ByteFallback(std::move(text));
        break;
      case Step::Kind::kStrip:
        text = Strip(std::move(text), step.content, step.start, step.stop);
        break;
      case Step::Kind::kMetaspace:
        text = ReplaceAll(text, step.content, leading && step.drops_leading ? "" : " ");
        break;
      case Step::Kind::kReplace: {
        if (!step.pattern[0].is_regex()) {
          text = ReplaceAll(text, step.pattern[0].literal(), step.content);
          break;
        }
        // A byte of a byte-fallback token is no text to search.
        if (!IsValidUtf8(text)) break;
        std::vector<Match> matches;
        INFERD_RETURN_IF_ERROR(Pattern::Searcher(step.pattern[0]).Run(text, &matches));
        std::string out;
        for (const Match& match : matches) {
          out += match.matched
                     ? std::string_view(step.content)
                     : std::string_view(text).substr(match.begin, match.end - match.begin);
        }
        text = std::move(out);
        break;
      }
    }
  }
  return text;
}

}  // namespace inferd::text
