#include "inferd/text/tokenizer_config.h"

#include "inferd/text/utf8.h"
#include "text/json_view.h"
#include "text/read_file.h"

namespace inferd {
namespace {

constexpr int64_t kMaxFileBytes = 16 << 20;
constexpr int kMaxDepth = 64;

// A token by name: a string, or an object with its content.
StatusOr<std::string> TokenContent(const text::JsonView& view, std::string_view key) {
  if (!view.Has(key)) return std::string();
  INFERD_ASSIGN_OR_RETURN(const text::JsonView member, view.Member(key));
  if (member.json().is_object()) return member.String("content");
  return view.String(key);
}

StatusOr<std::string> ChatTemplateSource(const text::JsonView& view) {
  if (!view.Has("chat_template")) return std::string();
  INFERD_ASSIGN_OR_RETURN(const text::JsonView member, view.Member("chat_template"));
  if (!member.json().is_array()) return view.String("chat_template");
  INFERD_ASSIGN_OR_RETURN(const std::vector<text::JsonView> items, view.Array("chat_template"));
  for (const text::JsonView& item : items) {
    INFERD_ASSIGN_OR_RETURN(const std::string name, item.String("name"));
    if (name == "default") return item.String("template");
  }
  return member.Error("no template is named \"default\"");
}

}  // namespace

StatusOr<TokenizerConfig> LoadTokenizerConfig(const std::filesystem::path& directory) {
  TokenizerConfig config;
  const std::filesystem::path path = directory / "tokenizer_config.json";
  StatusOr<std::string> file = text::ReadFile(path, kMaxFileBytes);
  if (file.ok()) {
    INFERD_ASSIGN_OR_RETURN(const nlohmann::json json,
                            text::ParseJson(*file, path.string(), kMaxDepth));
    const text::JsonView view(json, path.string());
    if (!json.is_object()) return view.Error("must be an object");
    INFERD_ASSIGN_OR_RETURN(config.bos_token, TokenContent(view, "bos_token"));
    INFERD_ASSIGN_OR_RETURN(config.eos_token, TokenContent(view, "eos_token"));
    INFERD_ASSIGN_OR_RETURN(config.unk_token, TokenContent(view, "unk_token"));
    INFERD_ASSIGN_OR_RETURN(config.pad_token, TokenContent(view, "pad_token"));
    INFERD_ASSIGN_OR_RETURN(config.chat_template, ChatTemplateSource(view));
  } else if (file.status().code() != StatusCode::kNotFound) {
    return std::move(file).status();
  }
  StatusOr<std::string> jinja = text::ReadFile(directory / "chat_template.jinja", kMaxFileBytes);
  if (jinja.ok()) {
    if (!text::IsValidUtf8(*jinja)) {
      return FailedPreconditionError((directory / "chat_template.jinja").string() + ": not UTF-8");
    }
    config.chat_template = *std::move(jinja);
  } else if (jinja.status().code() != StatusCode::kNotFound) {
    return std::move(jinja).status();
  }
  return config;
}

}  // namespace inferd
