// Reading a BPE model from tokenizer.json, and the indexes over it.
#include <algorithm>
#include <array>
#include <limits>
#include <string>

#include "inferd/text/utf8.h"
#include "text/bpe.h"

namespace inferd::text {
namespace {

constexpr std::string_view kHex = "0123456789ABCDEF";

std::string ByteToken(size_t byte) {
  return {'<', '0', 'x', kHex[byte >> 4], kHex[byte & 15], '>'};
}

// "model.merges[3]"
std::string At(const std::string& path, size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

}  // namespace

StatusOr<BpeModel> BpeModel::FromJson(const JsonView& view, const TokenizerLimits& limits) {
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
  INFERD_RETURN_IF_ERROR(model.ReadVocab(view, limits));
  model.IndexCharacters();
  if (view.Has("unk_token")) {
    INFERD_ASSIGN_OR_RETURN(const std::string unknown, view.String("unk_token"));
    model.unknown_ = model.Find(unknown);
    if (model.unknown_ < 0) return view.Error("unk_token is not in the vocabulary");
  }
  INFERD_RETURN_IF_ERROR(model.ReadMerges(view));
  model.IndexWholeTokens();
  return model;
}

Status BpeModel::ReadVocab(const JsonView& view, const TokenizerLimits& limits) {
  INFERD_ASSIGN_OR_RETURN(const JsonView vocab, view.Object("vocab"));
  const auto count = static_cast<int64_t>(vocab.json().size());
  if (count > limits.max_vocab_entries) {
    return vocab.Error("more than " + std::to_string(limits.max_vocab_entries) + " entries");
  }
  std::vector<bool> taken;
  for (const auto& item : vocab.json().items()) {
    const std::string& token = item.key();
    const nlohmann::json& id_json = item.value();
    if (static_cast<int64_t>(token.size()) > limits.max_token_bytes) {
      return vocab.Error("a token of more than " + std::to_string(limits.max_token_bytes) +
                         " bytes");
    }
    if (!id_json.is_number_unsigned() ||
        id_json.get<uint64_t>() >= static_cast<uint64_t>(limits.max_vocab_entries)) {
      return vocab.Error("the id of \"" + token + "\" must be an integer from 0 to " +
                         std::to_string(limits.max_vocab_entries - 1));
    }
    const size_t id = id_json.get<size_t>();
    if (id >= taken.size()) {
      taken.resize(id + 1, false);
      tokens_.resize(id + 1);
    }
    if (taken[id]) return vocab.Error("two tokens have the id " + std::to_string(id));
    taken[id] = true;
    tokens_[id] = token;
    vocab_.Insert(token, static_cast<TokenId>(id));
  }
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

Status BpeModel::ReadMerges(const JsonView& view) {
  INFERD_ASSIGN_OR_RETURN(const JsonView merges, view.Member("merges"));
  if (!merges.json().is_array()) return merges.Error("must be an array");
  if (merges.json().size() > std::numeric_limits<int32_t>::max()) return merges.Error("too long");
  int32_t rank = 0;
  for (const nlohmann::json& merge : merges.json()) {
    std::string_view left;
    std::string_view right;
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0].get_ref<const std::string&>();
      right = merge[1].get_ref<const std::string&>();
    } else if (merge.is_string()) {
      const std::string_view both = merge.get_ref<const std::string&>();
      const size_t space = both.find(' ');
      if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos) {
        return FailedPreconditionError(At(merges.path(), static_cast<size_t>(rank)) +
                                       ": must be two tokens with one space between");
      }
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else {
      return FailedPreconditionError(At(merges.path(), static_cast<size_t>(rank)) +
                                     ": must be a string or an array of two strings");
    }
    INFERD_RETURN_IF_ERROR(AddMerge(left, right, merges.path(), rank));
    ++rank;
  }
  return OkStatus();
}

Status BpeModel::AddMerge(std::string_view left, std::string_view right, const std::string& path,
                          int32_t rank) {
  const auto absent = [&](std::string_view token) {
    return FailedPreconditionError(At(path, static_cast<size_t>(rank)) + ": \"" +
                                   std::string(token) + "\" is not in the vocabulary");
  };
  if (left.empty() || right.empty()) {
    return FailedPreconditionError(At(path, static_cast<size_t>(rank)) + ": an empty token");
  }
  const TokenId left_id = vocab_.Find(left);
  const TokenId right_id = vocab_.Find(right);
  if (left_id < 0) return absent(left);
  if (right_id < 0) return absent(right);
  const std::string both = std::string(left) + std::string(right);
  const TokenId merged = vocab_.Find(both);
  if (merged < 0) return absent(both);
  merges_.Insert(left_id, right_id, {rank, merged});

  const auto is_other_symbol = [&](TokenId id, std::string_view token) {
    return id == unknown_ || (token.size() == 6 && token.starts_with("<0x"));
  };
  if (is_other_symbol(left_id, left) || is_other_symbol(right_id, right)) {
    neighbours_known_ = false;  // tokens need not begin and end in a character then
  }
  const TokenId last = vocab_.Find(left.substr(PreviousUtf8(left, left.size())));
  const TokenId first = vocab_.Find(right.substr(0, DecodeUtf8(right, 0).length));
  if (last >= 0 && first >= 0) neighbours_.Insert(last, first, {});
  return OkStatus();
}

void BpeModel::IndexWholeTokens() {
  Scratch scratch;
  std::vector<TokenId> ids;
  std::vector<bool> whole(tokens_.size(), false);
  is_whole_.assign(tokens_.size(), false);  // nothing is taken for granted meanwhile
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (tokens_[id].empty()) continue;
    ids.clear();
    Initialize(tokens_[id], &scratch.symbols_);
    MergeRun(0, scratch.symbols_.size(), &scratch, &ids);
    whole[id] = ids.size() == 1 && ids[0] == static_cast<TokenId>(id);
  }
  is_whole_ = std::move(whole);
}

}  // namespace inferd::text
