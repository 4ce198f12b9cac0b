#include "text/post_processor.h"

#include <string>

namespace inferd::text {
namespace {

struct Surround {
  std::vector<TokenId> before;
  std::vector<TokenId> after;
};

// The ids that `name` stands for in a template.
StatusOr<std::vector<TokenId>> SpecialIds(const JsonView& view, const std::string& name,
                                          int64_t vocab_size) {
  INFERD_ASSIGN_OR_RETURN(const JsonView table, view.Object("special_tokens"));
  INFERD_ASSIGN_OR_RETURN(const JsonView entry, table.Object(name));
  INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> items, entry.Array("ids"));
  std::vector<TokenId> ids;
  for (const JsonView& item : items) {
    const nlohmann::json& json = item.json();
    if (!json.is_number_unsigned() || json.get<uint64_t>() >= static_cast<uint64_t>(vocab_size)) {
      return item.Error("must be an id of the vocabulary");
    }
    ids.push_back(json.get<TokenId>());
  }
  return ids;
}

StatusOr<Surround> ParseTemplate(const JsonView& view, int64_t vocab_size) {
  INFERD_RETURN_IF_ERROR(view.OnlyMembers({"type", "single", "pair", "special_tokens"}));
  INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> items, view.Array("single"));
  Surround surround;
  bool seen_sequence = false;
  for (const JsonView& item : items) {
    INFERD_RETURN_IF_ERROR(item.OnlyMembers({"SpecialToken", "Sequence"}));
    if (item.Has("SpecialToken") == item.Has("Sequence")) {
      return item.Error("must be one of SpecialToken and Sequence");
    }
    const bool is_sequence = item.Has("Sequence");
    INFERD_ASSIGN_OR_RETURN(const JsonView part,
                            item.Object(is_sequence ? "Sequence" : "SpecialToken"));
    INFERD_ASSIGN_OR_RETURN(const std::string id, part.String("id"));
    if (is_sequence) {
      if (id != "A" || seen_sequence) return item.Error("must name sequence A, once");
      seen_sequence = true;
      continue;
    }
    INFERD_ASSIGN_OR_RETURN(const std::vector<TokenId> ids, SpecialIds(view, id, vocab_size));
    std::vector<TokenId>& side = seen_sequence ? surround.after : surround.before;
    side.insert(side.end(), ids.begin(), ids.end());
  }
  if (!seen_sequence) return view.Error("single does not name sequence A");
  return surround;
}

}  // namespace

StatusOr<PostProcessor> PostProcessor::FromJson(const JsonView& view, int64_t vocab_size) {
  INFERD_ASSIGN_OR_RETURN(const std::vector<JsonView> leaves, FlattenSequence(view, "processors"));
  PostProcessor processor;
  for (const JsonView& leaf : leaves) {
    INFERD_ASSIGN_OR_RETURN(const std::string type, leaf.String("type"));
    if (type == "ByteLevel") {
      INFERD_RETURN_IF_ERROR(
          leaf.OnlyMembers({"type", "add_prefix_space", "trim_offsets", "use_regex"}));
    } else if (type == "TemplateProcessing") {
      INFERD_ASSIGN_OR_RETURN(const Surround surround, ParseTemplate(leaf, vocab_size));
      // Each step wraps what the ones before it made.
      processor.before_.insert(processor.before_.begin(), surround.before.begin(),
                               surround.before.end());
      processor.after_.insert(processor.after_.end(), surround.after.begin(), surround.after.end());
    } else {
      return leaf.Error("post-processor \"" + type + "\" is not supported");
    }
  }
  return processor;
}

}  // namespace inferd::text
