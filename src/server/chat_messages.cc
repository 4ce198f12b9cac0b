#include "server/chat_messages.h"

#include <array>
#include <set>
#include <string>
#include <vector>

#include "inferd/text/json_depth.h"
#include "server/errors.h"

namespace inferd {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxKwargsDepth = 32;
constexpr size_t kMaxNameBytes = 256;

// The role's name in templates; null for none. Developer messages are what used
// to be system messages, and templates know only these.
const char* RoleName(v1::Role role) {
  switch (role) {
    case v1::ROLE_SYSTEM:
    case v1::ROLE_DEVELOPER:
      return "system";
    case v1::ROLE_USER:
      return "user";
    case v1::ROLE_ASSISTANT:
      return "assistant";
    default:
      return nullptr;
  }
}

Status CheckFields(const v1::ChatMessage& message, const std::string& field) {
  if (message.role() == v1::ROLE_TOOL) {
    if (!message.has_tool_call_id()) {
      return InvalidMessage(field + ".tool_call_id", "is required in tool messages");
    }
    return UnsupportedParameter(field + ".role", "tools are not available on this server");
  }
  if (RoleName(message.role()) == nullptr) {
    return InvalidMessage(field + ".role", "must be a known role");
  }
  const bool assistant = message.role() == v1::ROLE_ASSISTANT;
  if (message.has_tool_call_id()) {
    return InvalidMessage(field + ".tool_call_id", "is only for tool messages");
  }
  if (message.tool_calls_size() > 0) {
    if (!assistant) return InvalidMessage(field + ".tool_calls", "is only for assistant messages");
    return UnsupportedParameter(field + ".tool_calls", "tools are not available on this server");
  }
  if (message.has_refusal()) {
    return UnsupportedParameter(field + ".refusal", "refusals are not available on this server");
  }
  if (message.has_reasoning_content() && !assistant) {
    return InvalidMessage(field + ".reasoning_content", "is only for assistant messages");
  }
  if (message.has_name() && message.name().size() > kMaxNameBytes) {
    return InvalidMessage(field + ".name", "must have at most 256 bytes");
  }
  return OkStatus();
}

// The text of all parts, joined by newlines.
StatusOr<std::string> ReadContent(const v1::ChatMessage& message, const std::string& field,
                                  const RequestLimits& limits) {
  if (message.content_size() > limits.max_parts) {
    return InvalidMessage(field + ".content",
                          "must have at most " + std::to_string(limits.max_parts) + " parts");
  }
  if (message.content_size() == 0 && !message.has_reasoning_content()) {
    return InvalidMessage(field + ".content", "must have at least one part");
  }
  std::string text;
  for (int i = 0; i < message.content_size(); ++i) {
    const v1::ContentPart& part = message.content(i);
    const std::string part_field = field + ".content[" + std::to_string(i) + "]";
    switch (part.part_case()) {
      case v1::ContentPart::kText:
        if (i > 0) text += '\n';
        text += part.text();
        break;
      case v1::ContentPart::PART_NOT_SET:
        return InvalidMessage(part_field, "is empty");
      default:
        return UnsupportedParameter(part_field, "only text parts are available on this server");
    }
  }
  return text;
}

}  // namespace

StatusOr<Json> MessagesToJson(const v1::ChatCompletionRequest& request,
                              const ValidationContext& context) {
  const RequestLimits& limits = context.limits;
  if (request.messages_size() == 0) return InvalidMessage("messages", "must not be empty");
  if (request.messages_size() > limits.max_messages) {
    return InvalidMessage("messages",
                          "must have at most " + std::to_string(limits.max_messages) + " messages");
  }
  Json messages = Json::array();
  int64_t text_bytes = 0;
  for (int i = 0; i < request.messages_size(); ++i) {
    const v1::ChatMessage& message = request.messages(i);
    const std::string field = "messages[" + std::to_string(i) + "]";
    INFERD_RETURN_IF_ERROR(CheckFields(message, field));
    INFERD_ASSIGN_OR_RETURN(std::string content, ReadContent(message, field, limits));
    text_bytes += static_cast<int64_t>(content.size() + message.reasoning_content().size());
    if (text_bytes > limits.max_text_bytes) {
      return InvalidMessage(
          "messages",
          "must have at most " + std::to_string(limits.max_text_bytes) + " bytes of text");
    }
    Json object = Json::object();
    object["role"] = RoleName(message.role());
    object["content"] = std::move(content);
    if (message.has_name()) object["name"] = message.name();
    if (message.has_reasoning_content()) object["reasoning_content"] = message.reasoning_content();
    messages.push_back(std::move(object));
  }
  return messages;
}

StatusOr<Json> ParseTemplateKwargs(std::string_view text, int64_t max_bytes) {
  constexpr std::string_view kField = "chat_template_kwargs";
  constexpr std::array<std::string_view, 6> kReserved = {
      "messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"};
  if (text.empty()) return Json::object();
  if (static_cast<int64_t>(text.size()) > max_bytes) {
    return InvalidField(kField, "must have at most " + std::to_string(max_bytes) + " bytes");
  }
  if (!text::JsonDepthWithin(text, kMaxKwargsDepth)) {
    return InvalidField(kField, "must nest at most 32 deep");
  }
  // Names seen in each object that is open, to refuse a name given twice.
  std::vector<std::set<std::string>> open;
  bool duplicate = false;
  const auto callback = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key) {
      duplicate |= !open.back().insert(parsed.get<std::string>()).second;
    }
    return true;
  };
  Json kwargs = Json::parse(text, callback, /*allow_exceptions=*/false);
  if (kwargs.is_discarded() || !kwargs.is_object()) {
    return InvalidField(kField, "must be the text of a JSON object");
  }
  if (duplicate) return InvalidField(kField, "must not have a name twice");
  for (const std::string_view name : kReserved) {
    if (kwargs.contains(name)) {
      return InvalidField(kField, "must not set " + std::string(name));
    }
  }
  return kwargs;
}

}  // namespace inferd
