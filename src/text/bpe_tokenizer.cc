#include "text/bpe_tokenizer.h"

#include <utility>

#include "inferd/text/tokenizer_config.h"
#include "inferd/text/utf8.h"
#include "text/read_file.h"

namespace inferd::text {
namespace {

// All tokens decoded; a decoder that replaces by long strings could exceed it.
constexpr size_t kMaxDecodedBytes = 1 << 30;

}  // namespace

StatusOr<std::unique_ptr<const Tokenizer>> BpeTokenizer::Create(TokenizerParts parts,
                                                                const TokenizerLimits& limits,
                                                                std::string_view bos,
                                                                std::string_view eos) {
  std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(std::move(parts), limits));
  INFERD_RETURN_IF_ERROR(tokenizer->IndexAddedTokens());
  INFERD_RETURN_IF_ERROR(tokenizer->IndexBytes());
  if (!bos.empty()) tokenizer->bos_id_ = tokenizer->TokenToId(bos);
  if (!eos.empty()) tokenizer->eos_id_ = tokenizer->TokenToId(eos);
  return std::unique_ptr<const Tokenizer>(std::move(tokenizer));
}

Status BpeTokenizer::IndexAddedTokens() {
  const auto count = static_cast<size_t>(parts_.vocab_size);
  is_special_.assign(count, false);
  added_places_.assign(count, 0);
  added_contents_.reserve(parts_.added_tokens.size());
  for (const AddedToken& token : parts_.added_tokens) {
    const auto id = static_cast<size_t>(token.id);
    is_special_[id] = token.special;
    added_contents_.push_back(token.content);
    added_places_[id] = static_cast<uint32_t>(added_contents_.size());
    added_ids_.Insert(token.content, token.id);
    if (!token.normalized) {
      raw_matcher_.Add(token.content, token);
      continue;
    }
    // Such a token is looked for in the form that normalisation gives it.
    MarkedText content;
    content.text = token.content;
    content.trust.Append(content.text.size(), true);
    INFERD_ASSIGN_OR_RETURN(content, parts_.normalizer.Apply(std::move(content)));
    if (content.text.empty()) continue;
    normalized_matcher_.Add(content.text, token);
    added_contents_.back() = std::move(content.text);  // decoded in that form, too
  }
  return OkStatus();
}

Status BpeTokenizer::IndexBytes() {
  byte_offsets_.reserve(static_cast<size_t>(vocab_size()) + 1);
  byte_offsets_.push_back(0);
  for (TokenId id = 0; id < vocab_size(); ++id) {
    INFERD_RETURN_IF_ERROR(parts_.decoder.AppendBytes(Content(id), &bytes_));
    if (bytes_.size() > kMaxDecodedBytes) {
      return FailedPreconditionError("tokenizer.json: decoder: tokens become too long");
    }
    byte_offsets_.push_back(bytes_.size());
  }
  return OkStatus();
}

std::string_view BpeTokenizer::Content(TokenId id) const {
  if (id < 0 || id >= vocab_size()) return {};
  const auto index = static_cast<size_t>(id);
  if (const uint32_t place = added_places_[index]; place != 0) return added_contents_[place - 1];
  return index < parts_.model.num_tokens() ? parts_.model.Token(index) : std::string_view();
}

StatusOr<std::vector<TokenId>> BpeTokenizer::Encode(std::span<const TextSegment> segments,
                                                    bool add_special_tokens) const {
  MarkedText all;
  for (const TextSegment& segment : segments) {
    if (static_cast<int64_t>(all.text.size() + segment.text.size()) > limits_.max_text_bytes) {
      return InvalidArgumentError("text: longer than " + std::to_string(limits_.max_text_bytes) +
                                  " bytes");
    }
    if (!IsValidUtf8(segment.text)) return InvalidArgumentError("text: not valid UTF-8");
    all.text += segment.text;
    all.trust.Append(segment.text.size(), segment.trusted);
  }
  std::vector<TokenId> ids;
  const PostProcessor& post = parts_.post_processor;
  if (add_special_tokens) ids.insert(ids.end(), post.before().begin(), post.before().end());
  BpeModel::Scratch scratch;
  for (const TokenSpan& span : raw_matcher_.Split(all)) {
    if (span.id >= 0) {
      ids.push_back(span.id);
    } else {
      INFERD_RETURN_IF_ERROR(
          EncodeStretch(all.Slice(span.begin, span.end), span.begin == 0, &scratch, &ids));
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), post.after().begin(), post.after().end());
  return ids;
}

Status BpeTokenizer::EncodeStretch(MarkedText stretch, bool at_start, BpeModel::Scratch* scratch,
                                   std::vector<TokenId>* ids) const {
  INFERD_ASSIGN_OR_RETURN(const MarkedText normal, parts_.normalizer.Apply(std::move(stretch)));
  for (const TokenSpan& span : normalized_matcher_.Split(normal)) {
    if (span.id >= 0) {
      ids->push_back(span.id);
      continue;
    }
    PieceList list;
    list.text = normal.text.substr(span.begin, span.end - span.begin);
    list.pieces.push_back({0, static_cast<uint32_t>(list.text.size())});
    list.at_start = at_start && span.begin == 0;
    INFERD_RETURN_IF_ERROR(parts_.pre_tokenizer.Apply(&list));
    const std::string_view text = list.text;
    for (const Piece& piece : list.pieces) {
      parts_.model.Encode(text.substr(piece.begin, piece.end - piece.begin), scratch, ids);
    }
  }
  return OkStatus();
}

std::string_view BpeTokenizer::TokenBytes(TokenId id) const {
  if (id < 0 || id >= vocab_size()) return {};
  const auto index = static_cast<size_t>(id);
  return std::string_view(bytes_).substr(byte_offsets_[index],
                                         byte_offsets_[index + 1] - byte_offsets_[index]);
}

std::string BpeTokenizer::LeadingTokenBytes(TokenId id) const {
  if (parts_.decoder.has_leading_rule()) {
    StatusOr<std::string> bytes = parts_.decoder.LeadingBytes(Content(id));
    if (bytes.ok()) return *std::move(bytes);
  }
  return std::string(TokenBytes(id));
}

std::string BpeTokenizer::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string bytes;
  bool leading = true;
  for (const TokenId id : ids) {
    if (Content(id).empty() || (skip_special_tokens && IsSpecial(id))) continue;
    if (leading) {
      bytes += LeadingTokenBytes(id);
    } else {
      bytes += TokenBytes(id);
    }
    leading = false;
  }
  if (StripsLeadingSpace() && bytes.starts_with(' ')) bytes.erase(0, 1);
  std::string text;
  const size_t incomplete = AppendLossyUtf8(bytes, text);
  text.append(bytes, bytes.size() - incomplete, incomplete);
  return text;
}

bool BpeTokenizer::IsSpecial(TokenId id) const {
  return id >= 0 && id < vocab_size() && is_special_[static_cast<size_t>(id)];
}

TokenId BpeTokenizer::TokenToId(std::string_view content) const {
  const TokenId added = added_ids_.Find(content);
  return added >= 0 ? added : parts_.model.Find(content);
}

}  // namespace inferd::text

namespace inferd {

StatusOr<std::unique_ptr<const Tokenizer>> Tokenizer::Load(const std::filesystem::path& directory,
                                                           const TokenizerLimits& limits) {
  const std::filesystem::path path = directory / "tokenizer.json";
  INFERD_ASSIGN_OR_RETURN(const std::string json, text::ReadFile(path, limits.max_file_bytes));
  INFERD_ASSIGN_OR_RETURN(text::TokenizerParts parts,
                          text::ParseTokenizerFile(json, path.string(), limits));
  INFERD_ASSIGN_OR_RETURN(const TokenizerConfig config, LoadTokenizerConfig(directory));
  return text::BpeTokenizer::Create(std::move(parts), limits, config.bos_token, config.eos_token);
}

}  // namespace inferd
