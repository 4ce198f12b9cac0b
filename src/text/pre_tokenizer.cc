#include "text/pre_tokenizer.h"

#include <optional>
#include <string_view>
#include <utility>

#include "inferd/text/utf8.h"
#include "text/byte_level.h"
#include "text/pattern.h"
#include "text/splitter.h"
#include "text/unicode.h"

namespace inferd::text {
namespace {

constexpr std::string_view kByteLevelRegex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// The text doubles at most per step that rewrites it; offsets have 32 bits.
constexpr size_t kMaxPieceTextBytes = 1 << 30;

std::string_view View(const PieceList& list, const Piece& piece) {
  return std::string_view(list.text).substr(piece.begin, piece.end - piece.begin);
}

// Rewrites the text piece by piece: `rewrite(index, piece_text, out)`.
template <typename Rewrite>
Status RewritePieces(PieceList* list, Rewrite rewrite) {
  std::string text;
  text.reserve(list->text.size() + list->text.size() / 2);
  for (size_t i = 0; i < list->pieces.size(); ++i) {
    Piece& piece = list->pieces[i];
    const std::string_view old = View(*list, piece);
    piece.begin = static_cast<uint32_t>(text.size());
    rewrite(i, old, text);
    if (text.size() > kMaxPieceTextBytes) return InvalidArgumentError("text: too long");
    piece.end = static_cast<uint32_t>(text.size());
  }
  list->text = std::move(text);
  return OkStatus();
}

// Splits at the characters for which `is_match` holds.
template <typename Predicate>
void SplitAtCharacters(Predicate is_match, SplitBehavior behavior, PieceList* list) {
  std::vector<Match> matches;
  std::vector<Piece> pieces;
  for (const Piece& piece : list->pieces) {
    const std::string_view text = View(*list, piece);
    matches.clear();
    size_t last = 0;
    for (size_t i = 0; i < text.size();) {
      const CodePoint c = DecodeUtf8(text, i);
      if (is_match(c.value)) {
        if (last < i) matches.push_back({last, i, false});
        last = i + c.length;
        matches.push_back({i, last, true});
      }
      i += c.length;
    }
    if (last < text.size()) matches.push_back({last, text.size(), false});
    AppendPieces(matches, behavior, /*inverted=*/false, piece.begin, &pieces);
  }
  list->pieces = std::move(pieces);
}

class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, std::optional<Pattern> split)
      : add_prefix_space_(add_prefix_space), split_(std::move(split)) {}

  Status Apply(PieceList* list) const override {
    if (add_prefix_space_) {
      INFERD_RETURN_IF_ERROR(
          RewritePieces(list, [](size_t, std::string_view piece, std::string& out) {
            if (!piece.starts_with(' ')) out.push_back(' ');
            out.append(piece);
          }));
    }
    if (split_) {
      INFERD_RETURN_IF_ERROR(
          SplitPieces(*split_, SplitBehavior::kIsolated, /*inverted=*/false, list));
    }
    return RewritePieces(list, [](size_t, std::string_view piece, std::string& out) {
      AppendByteLevel(piece, out);
    });
  }

 private:
  bool add_prefix_space_;
  std::optional<Pattern> split_;
};

class Split final : public PreTokenizer {
 public:
  Split(Pattern pattern, SplitBehavior behavior, bool inverted)
      : pattern_(std::move(pattern)), behavior_(behavior), inverted_(inverted) {}

  Status Apply(PieceList* list) const override {
    return SplitPieces(pattern_, behavior_, inverted_, list);
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool inverted_;
};

class CharacterSplit final : public PreTokenizer {
 public:
  CharacterSplit(bool (*is_match)(char32_t), SplitBehavior behavior)
      : is_match_(is_match), behavior_(behavior) {}

  Status Apply(PieceList* list) const override {
    SplitAtCharacters(is_match_, behavior_, list);
    return OkStatus();
  }

 private:
  bool (*is_match_)(char32_t);
  SplitBehavior behavior_;
};

class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(std::string replacement, Prepend prepend, std::optional<Pattern> split)
      : replacement_(std::move(replacement)), prepend_(prepend), split_(std::move(split)) {}

  Status Apply(PieceList* list) const override {
    INFERD_RETURN_IF_ERROR(
        RewritePieces(list, [&](size_t index, std::string_view piece, std::string& out) {
          const bool wanted = prepend_ == Prepend::kAlways ||
                              (prepend_ == Prepend::kFirst && index == 0 && list->at_start);
          if (wanted && !piece.starts_with(' ') && !piece.starts_with(replacement_)) {
            out.append(replacement_);
          }
          for (const char c : piece) {
            if (c == ' ') {
              out.append(replacement_);
            } else {
              out.push_back(c);
            }
          }
        }));
    if (!split_) return OkStatus();
    return SplitPieces(*split_, SplitBehavior::kMergedWithNext, /*inverted=*/false, list);
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  std::optional<Pattern> split_;
};

using Step = std::unique_ptr<const PreTokenizer>;

StatusOr<Step> MakeByteLevel(const JsonView& view) {
  INFERD_RETURN_IF_ERROR(
      view.OnlyMembers({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
  INFERD_ASSIGN_OR_RETURN(const bool add_prefix_space, view.Bool("add_prefix_space"));
  INFERD_RETURN_IF_ERROR(view.Bool("trim_offsets", true).status());
  INFERD_ASSIGN_OR_RETURN(const bool use_regex, view.Bool("use_regex", true));
  std::optional<Pattern> split;
  if (use_regex) {
    INFERD_ASSIGN_OR_RETURN(split, Pattern::Regex(kByteLevelRegex));
  }
  return Step(new ByteLevel(add_prefix_space, std::move(split)));
}

StatusOr<Step> MakeSplit(const JsonView& view) {
  INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "pattern", "behavior", "invert"}));
  INFERD_ASSIGN_OR_RETURN(Pattern pattern, Pattern::FromJson(view, "pattern"));
  INFERD_ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseSplitBehavior(view, "behavior"));
  INFERD_ASSIGN_OR_RETURN(const bool invert, view.Bool("invert"));
  return Step(new Split(std::move(pattern), behavior, invert));
}

StatusOr<Step> MakeMetaspace(const JsonView& view) {
  INFERD_RETURN_IF_ERROR(view.OnlyMembers(
      {"type", "replacement", "prepend_scheme", "add_prefix_space", "split", "str_rep"}));
  INFERD_ASSIGN_OR_RETURN(std::string replacement, view.String("replacement"));
  if (replacement.empty() || DecodeUtf8(replacement, 0).length != replacement.size()) {
    return view.Error("replacement must be one character");
  }
  // Files of before prepend_scheme say add_prefix_space.
  INFERD_ASSIGN_OR_RETURN(const bool legacy, view.Bool("add_prefix_space", true));
  INFERD_ASSIGN_OR_RETURN(const std::string scheme,
                          view.String("prepend_scheme", legacy ? "always" : "never"));
  INFERD_ASSIGN_OR_RETURN(const bool split, view.Bool("split", true));
  Metaspace::Prepend prepend;
  if (scheme == "always") {
    prepend = Metaspace::Prepend::kAlways;
  } else if (scheme == "first") {
    prepend = Metaspace::Prepend::kFirst;
  } else if (scheme == "never") {
    prepend = Metaspace::Prepend::kNever;
  } else {
    return view.Error("prepend_scheme \"" + scheme + "\" is not supported");
  }
  std::optional<Pattern> pattern;
  if (split) {
    INFERD_ASSIGN_OR_RETURN(pattern, Pattern::Literal(replacement));
  }
  return Step(new Metaspace(std::move(replacement), prepend, std::move(pattern)));
}

StatusOr<Step> MakePreTokenizer(const JsonView& view) {
  INFERD_ASSIGN_OR_RETURN(const std::string type, view.String("type"));
  if (type == "ByteLevel") return MakeByteLevel(view);
  if (type == "Split") return MakeSplit(view);
  if (type == "Metaspace") return MakeMetaspace(view);
  if (type == "Digits") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "individual_digits"}));
    INFERD_ASSIGN_OR_RETURN(const bool individual, view.Bool("individual_digits"));
    return Step(new CharacterSplit(
        IsNumeric, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous));
  }
  if (type == "Punctuation") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "behavior"}));
    SplitBehavior behavior = SplitBehavior::kIsolated;
    if (view.Has("behavior")) {
      INFERD_ASSIGN_OR_RETURN(behavior, ParseSplitBehavior(view, "behavior"));
    }
    return Step(new CharacterSplit(IsPunctuation, behavior));
  }
  if (type == "WhitespaceSplit") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type"}));
    return Step(new CharacterSplit(IsWhitespace, SplitBehavior::kRemoved));
  }
  if (type == "Whitespace") {
    INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type"}));
    INFERD_ASSIGN_OR_RETURN(Pattern pattern, Pattern::Regex(R"(\w+|[^\w\s]+)"));
    return Step(new Split(std::move(pattern), SplitBehavior::kRemoved, /*inverted=*/true));
  }
  return view.Error("pre-tokenizer \"" + type + "\" is not supported");
}

}  // namespace

StatusOr<PreTokenizerChain> PreTokenizerChain::FromJson(const JsonView& view) {
  INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> leaves,
                          FlattenSequence(view, "pretokenizers"));
  PreTokenizerChain chain;
  for (const JsonView& leaf : leaves) {
    INFERD_ASSIGN_OR_RETURN(auto step, MakePreTokenizer(leaf));
    chain.steps_.push_back(std::move(step));
  }
  return chain;
}

Status PreTokenizerChain::Apply(PieceList* list) const {
  for (const auto& step : steps_) INFERD_RETURN_IF_ERROR(step->Apply(list));
  return OkStatus();
}

}  // namespace inferd::text
