// Reading a BPE model from tokenizer.json, and the indexes over it.
#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <string>

#include "inferd/text/utf8.h"
#include "text/bpe.h"

namespace inferd::text {
namespace {

// The tables are larger than the processor's nearest caches: how many entries ahead
// of its turn memory is asked for one.
constexpr size_t kAhead = 8;

constexpr std::string_view kHex = "0123456789ABCDEF";

std::string ByteToken(size_t byte) {
  return {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
}

}  // namespace

StatusOr<BpeModel> BpeModel::FromJson(const JsonView& view, const BpeLists& lists,
                                      const TokenizerLimits& limits) {
  INFERD_ASSIGN_OR_RETURN(const std::string type, view.String("type", "BPE"));
  if (type != "BPE") return view.Error("model \"" + type + "\" is not supported");
  INFERD_RETURN_IF_ERROR(view.OnlyMembers(
      {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
       "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"}));
  if (view.Has("dropout") && view.json()["dropout"] != 0.0) {
    return view.Error("dropout must be null");
  }
  for (const char* member : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    INFERD_ASSIGN_OR_RETURN(const std::string value, view.String(member, ""));
    if (!value.empty()) return view.Error(std::string(member) + " is not supported");
  }
  BpeModel model;
  INFERD_ASSIGN_OR_RETURN(model.fuse_unknown_, view.Bool("fuse_unk", false));
  INFERD_ASSIGN_OR_RETURN(model.byte_fallback_, view.Bool("byte_fallback", false));
  INFERD_ASSIGN_OR_RETURN(model.ignore_merges_, view.Bool("ignore_merges", false));
  INFERD_ASSIGN_OR_RETURN(const JsonView vocab, view.Object("vocab"));
  INFERD_RETURN_IF_ERROR(model.ReadVocab(vocab, lists, limits));
  model.IndexCharacters();
  if (view.Has("unk_token")) {
    INFERD_ASSIGN_OR_RETURN(const std::string unknown, view.String("unk_token"));
    model.unknown_ = model.Find(unknown);
    if (model.unknown_ < 0) return view.Error("unk_token is not in the vocabulary");
  }
  INFERD_ASSIGN_OR_RETURN(const JsonView merges, view.Member("merges"));
  if (!merges.json().is_array()) return merges.Error("must be an array");
  INFERD_RETURN_IF_ERROR(model.ReadMerges(merges, lists));
  return model;
}

Status BpeModel::ReadVocab(const JsonView& vocab, const BpeLists& lists,
                           const TokenizerLimits& limits) {
  const auto count = std::min<int64_t>(std::ssize(lists.vocab), limits.max_vocab_entries + 1);
  size_t bytes = 0;
  for (const BpeLists::Token& token : lists.vocab) bytes += token.content.size();
  vocab_.Reserve(static_cast<size_t>(count), bytes);
  // The last of equal tokens counts, so it comes first here.
  for (size_t i = lists.vocab.size(); i-- > 0;) {
    if (i >= kAhead) vocab_.Prefetch(lists.vocab[i - kAhead].content);
    const auto& [token, id] = lists.vocab[i];
    if (!vocab_.Insert(token, static_cast<TokenId>(id))) continue;
    if (static_cast<int64_t>(vocab_.size()) > limits.max_vocab_entries) {
      return vocab.Error("more than " + std::to_string(limits.max_vocab_entries) + " entries");
    }
    if (static_cast<int64_t>(token.size()) > limits.max_token_bytes) {
      return vocab.Error("a token of more than " + std::to_string(limits.max_token_bytes) +
                         " bytes");
    }
    if (id < 0 || id >= limits.max_vocab_entries) {
      return vocab.Error("the id of \"" + std::string(token) + "\" must be an integer from 0 to " +
                         std::to_string(limits.max_vocab_entries - 1));
    }
    if (id >= std::ssize(places_)) places_.resize(static_cast<size_t>(id) + 1, 0);
    uint32_t& place = places_[static_cast<size_t>(id)];
    if (place != 0) return vocab.Error("two tokens have the id " + std::to_string(id));
    place = static_cast<uint32_t>(vocab_.size());
  }
  whole_ = std::make_unique<std::atomic<uint8_t>[]>(places_.size());
  return OkStatus();
}

void BpeModel::IndexCharacters() {
  for (size_t c = 0; c < characters_.size(); ++c) {
    std::string character;
    AppendUtf8(static_cast<char32_t>(c), character);
    characters_[c] = vocab_.Find(character);
  }
  for (size_t byte = 0; byte < bytes_.size(); ++byte) bytes_[byte] = vocab_.Find(ByteToken(byte));
}

Status BpeModel::ReadMerges(const JsonView& merges, const BpeLists& lists) {
  if (lists.merges.size() > std::numeric_limits<int32_t>::max()) return merges.Error("too long");
  std::vector<Pair> pairs;
  pairs.reserve(lists.merges.size());
  for (const BpeLists::Merge& merge : lists.merges) {
    // Ids mostly follow the order in which tokens were learnt.
    StatusOr<Pair> pair = ReadMerge(merge, pairs.empty() ? -1 : pairs.back().merged + 1);
    if (!pair.ok()) {
      return pair.status().WithPrefix(merges.path() + "[" + std::to_string(pairs.size()) + "]");
    }
    pairs.push_back(*pair);
  }
  merges_.Reserve(pairs.size());
  for (size_t i = 0; i < pairs.size(); ++i) {
    if (i + kAhead < pairs.size())
      merges_.Prefetch(pairs[i + kAhead].left, pairs[i + kAhead].right);
    merges_.Insert(pairs[i].left, pairs[i].right, {static_cast<int32_t>(i), pairs[i].merged});
  }
  return OkStatus();
}

bool BpeModel::IsJoined(TokenId id, std::string_view left, std::string_view right) const {
  if (id < 0 || static_cast<size_t>(id) >= places_.size()) return false;
  const std::string_view token = Token(static_cast<size_t>(id));
  return token.size() == left.size() + right.size() && token.starts_with(left) &&
         token.ends_with(right);
}

StatusOr<BpeModel::Pair> BpeModel::ReadMerge(BpeLists::Merge merge, TokenId guess) {
  auto& [left, right] = merge;
  if (left.data() == nullptr) {
    return FailedPreconditionError("must be a string or an array of two strings");
  }
  if (right.data() == nullptr) {
    const size_t space = left.find(' ');
    if (space == std::string_view::npos || left.find(' ', space + 1) != std::string_view::npos) {
      return FailedPreconditionError("must be two tokens with one space between");
    }
    right = left.substr(space + 1);
    left = left.substr(0, space);
  }
  if (left.empty() || right.empty()) return FailedPreconditionError("an empty token");
  const auto absent = [](std::string_view token) {
    return FailedPreconditionError("\"" + std::string(token) + "\" is not in the vocabulary");
  };
  const TokenId left_id = vocab_.Find(left);
  if (left_id < 0) return absent(left);
  const TokenId right_id = vocab_.Find(right);
  if (right_id < 0) return absent(right);
  TokenId merged = guess;
  if (!IsJoined(merged, left, right)) {
    const std::string both = std::string(left).append(right);
    merged = vocab_.Find(both);
    if (merged < 0) return absent(both);
  }

  const auto is_other_symbol = [&](TokenId id, std::string_view token) {
    return id == unknown_ || (token.size() == 6 && token.starts_with("<0x"));
  };
  if (is_other_symbol(left_id, left) || is_other_symbol(right_id, right)) {
    neighbours_known_ = false;  // tokens need not begin and end in a character then
  }
  const TokenId last = CharacterId(left.substr(PreviousUtf8(left, left.size())));
  const TokenId first = CharacterId(right.substr(0, DecodeUtf8(right, 0).length));
  if (last >= 0 && first >= 0) neighbours_.Insert(last, first, {});
  return Pair{left_id, right_id, merged};
}

}  // namespace inferd::text
