#include "text/tokenizer_file.h"

#include <algorithm>
#include <string>
#include <unordered_set>
#include <utility>

#include "text/bpe_lists.h"
#include "text/json_view.h"

namespace inferd::text {
namespace {

constexpr int kMaxDepth = 64;

StatusOr<AddedToken> ParseAddedToken(const JsonView& view, const TokenizerLimits& limits) {
  INFERD_RETURN_IF_ERROR(view.OnlyMembers(
      {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"}));
  AddedToken token;
  INFERD_ASSIGN_OR_RETURN(const int64_t id, view.Integer("id", 0, limits.max_vocab_entries - 1));
  token.id = static_cast<TokenId>(id);
  INFERD_ASSIGN_OR_RETURN(token.content, view.String("content"));
  if (token.content.empty()) return view.Error("content must not be empty");
  if (static_cast<int64_t>(token.content.size()) > limits.max_token_bytes) {
    return view.Error("content is over " + std::to_string(limits.max_token_bytes) + " bytes");
  }
  INFERD_ASSIGN_OR_RETURN(token.special, view.Bool("special"));
  INFERD_ASSIGN_OR_RETURN(token.single_word, view.Bool("single_word"));
  INFERD_ASSIGN_OR_RETURN(token.lstrip, view.Bool("lstrip"));
  INFERD_ASSIGN_OR_RETURN(token.rstrip, view.Bool("rstrip"));
  INFERD_ASSIGN_OR_RETURN(token.normalized, view.Bool("normalized"));
  return token;
}

// An added token is either one of the model's own, under the same id, or has an
// id that the model does not use.
StatusOr<std::vector<AddedToken>> ParseAddedTokens(const JsonView& root, const BpeModel& model,
                                                   const TokenizerLimits& limits) {
  std::vector<AddedToken> tokens;
  if (!root.Has("added_tokens")) return tokens;
  INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> items, root.Array("added_tokens"));
  if (static_cast<int64_t>(items.size()) > limits.max_vocab_entries) {
    return root.Error("added_tokens: more than " + std::to_string(limits.max_vocab_entries) +
                      " entries");
  }
  std::unordered_set<TokenId> ids;
  std::unordered_set<std::string> contents;
  for (const JsonView& item : items) {
    INFERD_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(item, limits));
    const TokenId own = model.Find(token.content);
    if (own >= 0 && own != token.id) {
      return item.Error("\"" + token.content + "\" has the id " + std::to_string(own) +
                        " in the model's vocabulary");
    }
    const auto id = static_cast<size_t>(token.id);
    if (own < 0 && id < model.num_tokens() && !model.Token(id).empty()) {
      return item.Error("the id " + std::to_string(id) + " is taken by \"" +
                        std::string(model.Token(id)) + "\"");
    }
    if (!ids.insert(token.id).second) {
      return item.Error("two added tokens have the id " + std::to_string(id));
    }
    if (!contents.insert(token.content).second) {
      return item.Error("\"" + token.content + "\" is added twice");
    }
    tokens.push_back(std::move(token));
  }
  return tokens;
}

}  // namespace

StatusOr<TokenizerParts> ParseTokenizerFile(std::string_view json, std::string_view name,
                                            const TokenizerLimits& limits) {
  INFERD_ASSIGN_OR_RETURN(const BpeLists lists, ReadBpeLists(json, name, kMaxDepth));
  INFERD_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJson(lists.rest, name, kMaxDepth));
  const JsonView root(document, std::string(name));
  INFERD_RETURN_IF_ERROR(
      root.OnlyMembers({"version", "truncation", "padding", "added_tokens", "normalizer",
                        "pre_tokenizer", "post_processor", "decoder", "model"}));
  INFERD_ASSIGN_OR_RETURN(const std::string version, root.String("version", "1.0"));
  if (version != "1.0") return root.Error("version \"" + version + "\" is not supported");
  TokenizerParts parts;
  INFERD_ASSIGN_OR_RETURN(const JsonView model, root.Object("model"));
  INFERD_ASSIGN_OR_RETURN(parts.model, BpeModel::FromJson(model, lists, limits));
  INFERD_ASSIGN_OR_RETURN(parts.added_tokens, ParseAddedTokens(root, parts.model, limits));
  parts.vocab_size = static_cast<int64_t>(parts.model.num_tokens());
  for (const AddedToken& token : parts.added_tokens) {
    parts.vocab_size = std::max<int64_t>(parts.vocab_size, token.id + 1);
  }
  if (parts.vocab_size == 0) return root.Error("the vocabulary is empty");
  if (root.Has("normalizer")) {
    INFERD_ASSIGN_OR_RETURN(const JsonView view, root.Object("normalizer"));
    INFERD_ASSIGN_OR_RETURN(parts.normalizer, NormalizerChain::FromJson(view));
  }
  if (root.Has("pre_tokenizer")) {
    INFERD_ASSIGN_OR_RETURN(const JsonView view, root.Object("pre_tokenizer"));
    INFERD_ASSIGN_OR_RETURN(parts.pre_tokenizer, PreTokenizerChain::FromJson(view));
  }
  if (root.Has("post_processor")) {
    INFERD_ASSIGN_OR_RETURN(const JsonView view, root.Object("post_processor"));
    INFERD_ASSIGN_OR_RETURN(parts.post_processor, PostProcessor::FromJson(view, parts.vocab_size));
  }
  if (!root.Has("decoder")) {
    return root.Error("decoder: missing; without one, tokens would be joined by spaces");
  }
  INFERD_ASSIGN_OR_RETURN(const JsonView decoder, root.Object("decoder"));
  INFERD_ASSIGN_OR_RETURN(parts.decoder, Decoder::FromJson(decoder));
  return parts;
}

}  // namespace inferd::text
