#include "openai/shapes.h"

#include <algorithm>
#include <array>

#include "inferd/v1/chat.pb.h"
#include "inferd/v1/services.pb.h"
#include "openai/fields.h"

namespace inferd::openai {
namespace {

// The owner as the message that the table below says it is.
template <typename T>
T* As(Message* owner) {
  return static_cast<T*>(owner);
}

// The member `name` of an object that stands at `in`, which is not moved. False when
// it is not there or no string.
bool PeekString(const JsonCursor& in, std::string_view wanted, std::string* out) {
  JsonCursor ahead = in;
  if (ahead.Peek() != JsonKind::kObject) return false;
  ahead.EnterObject();
  std::string name;
  while (ahead.NextName(&name)) {
    if (name == wanted && ahead.Peek() == JsonKind::kString) {
      *out = ahead.TakeString();
      return true;
    }
    ahead.TakeRaw();
  }
  return false;
}

Status ReadMember(JsonCursor& in, const std::string& path, Message* owner) {
  const std::string name = path.substr(path.rfind('.') + 1);
  const FieldDescriptor* field = owner->GetDescriptor()->FindFieldByName(name);
  return ReadField(in, path, *field, owner);
}

// Any object, kept as it is written: the order of its names ends up in prompts.
Status ReadJsonText(JsonCursor& in, const std::string& path, Message* owner) {
  if (in.Peek() != JsonKind::kObject) return WrongType(path, "an object");
  const std::string name = path.substr(path.rfind('.') + 1);
  const FieldDescriptor* field = owner->GetDescriptor()->FindFieldByName(name);
  owner->GetReflection()->SetString(owner, field, std::string(in.TakeRaw()));
  return OkStatus();
}

Status ReadFunctionType(JsonCursor& in, const std::string& path, Message*) {
  std::string type;
  INFERD_RETURN_IF_ERROR(ReadString(in, path, &type));
  return type == "function" ? OkStatus() : Unsupported(path, "only functions are known");
}

// One string, or several.
Status ReadStop(JsonCursor& in, const std::string& path, Message* owner) {
  const FieldDescriptor* field = owner->GetDescriptor()->FindFieldByName("stop");
  if (in.Peek() == JsonKind::kArray) return ReadField(in, path, *field, owner);
  std::string stop;
  if (in.Peek() != JsonKind::kString) return WrongType(path, "a string or an array of strings");
  owner->GetReflection()->AddString(owner, field, in.TakeString());
  return OkStatus();
}

// --- messages[].content

Status ReadPart(JsonCursor& in, const std::string& path, v1::ContentPart* part) {
  std::string type;
  if (in.Peek() == JsonKind::kString) {  // as vLLM takes it
    part->set_text(in.TakeString());
    return OkStatus();
  }
  if (!PeekString(in, "type", &type)) return WrongType(path, "a content part with a type");
  const bool known =
      type == "text" || type == "refusal" || type == "image_url" || type == "input_audio";
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    const std::string at = Member(path, name);
    if (!known || name != type || in.Peek() == JsonKind::kNull) {
      in.TakeRaw();
    } else if (type == "text") {
      INFERD_RETURN_IF_ERROR(ReadString(in, at, part->mutable_text()));
    } else if (type == "refusal") {
      INFERD_RETURN_IF_ERROR(ReadString(in, at, part->mutable_refusal()));
    } else if (type == "image_url") {
      INFERD_RETURN_IF_ERROR(ReadObject(in, at, part->mutable_image_url()));
    } else {
      INFERD_RETURN_IF_ERROR(ReadObject(in, at, part->mutable_input_audio()));
    }
  }
  if (part->part_case() != v1::ContentPart::PART_NOT_SET) return OkStatus();
  if (!known) return Unsupported(path, "only text parts are available on this server");
  return WrongType(path, "a content part with a " + type);
}

Status ReadContent(JsonCursor& in, const std::string& path, Message* owner) {
  auto* message = As<v1::ChatMessage>(owner);
  if (in.Peek() == JsonKind::kString) {
    message->add_content()->set_text(in.TakeString());
    return OkStatus();
  }
  if (in.Peek() != JsonKind::kArray) return WrongType(path, "a string or an array of parts");
  in.EnterArray();
  for (size_t i = 0; in.NextItem(); ++i) {
    INFERD_RETURN_IF_ERROR(ReadPart(in, Item(path, i), message->add_content()));
  }
  return OkStatus();
}

// The bytes stay in the body: no model here takes them.
Status ReadAudioData(JsonCursor& in, const std::string& path, Message*) {
  if (in.Peek() != JsonKind::kString) return WrongType(path, "a string");
  in.TakeRaw();
  return OkStatus();
}

// --- tool_choice

// {"type": "function", "function": {"name": N}}
Status ReadFunctionName(JsonCursor& in, const std::string& path, std::string* out) {
  if (in.Peek() != JsonKind::kObject) return WrongType(path, "an object");
  bool found = false;
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    if (name == "function") found = PeekString(in, "name", out);
    in.TakeRaw();
  }
  return found ? OkStatus() : WrongType(path, "a function with a name");
}

Status ReadAllowedTools(JsonCursor& in, const std::string& path,
                        v1::ToolChoice::AllowedTools* out) {
  const FieldDescriptor* mode = out->GetDescriptor()->FindFieldByName("mode");
  if (in.Peek() != JsonKind::kObject) return WrongType(path, "an object");
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    const std::string at = Member(path, name);
    if (name == "mode") {
      INFERD_RETURN_IF_ERROR(ReadField(in, at, *mode, out));
    } else if (name == "tools" && in.Peek() == JsonKind::kArray) {
      in.EnterArray();
      for (size_t i = 0; in.NextItem(); ++i) {
        INFERD_RETURN_IF_ERROR(ReadFunctionName(in, Item(at, i), out->add_function_names()));
      }
    } else {
      return Unsupported(at, "is not a parameter of this server");
    }
  }
  return OkStatus();
}

Status ReadToolChoice(JsonCursor& in, const std::string& path, Message* owner) {
  v1::ToolChoice* choice = As<v1::ChatCompletionRequest>(owner)->mutable_tool_choice();
  if (in.Peek() == JsonKind::kString) {
    return ReadField(in, path, *choice->GetDescriptor()->FindFieldByName("mode"), choice);
  }
  std::string type;
  if (!PeekString(in, "type", &type)) return WrongType(path, "a mode or a tool with a type");
  if (type == "function") return ReadFunctionName(in, path, choice->mutable_function_name());
  if (type != "allowed_tools") return Unsupported(path, "only functions are known");
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    if (name != "allowed_tools") {
      in.TakeRaw();
      continue;
    }
    INFERD_RETURN_IF_ERROR(
        ReadAllowedTools(in, Member(path, name), choice->mutable_allowed_tools()));
  }
  return OkStatus();
}

// --- response_format

Status ReadResponseFormat(JsonCursor& in, const std::string& path, Message* owner) {
  const FieldDescriptor* own = owner->GetDescriptor()->FindFieldByName("response_format");
  auto* format = As<v1::ResponseFormat>(owner->GetReflection()->MutableMessage(owner, own));
  std::string type;
  if (!PeekString(in, "type", &type)) return WrongType(path, "a format with a type");
  if (type == "text") format->mutable_text();
  if (type == "json_object") format->mutable_json_object();
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    const std::string at = Member(path, name);
    const bool known = type == "json_schema" || type == "regex" || type == "grammar" ||
                       type == "structural_tag" || type == "choice";
    if (!known || name != type || in.Peek() == JsonKind::kNull) {
      in.TakeRaw();
    } else if (type == "json_schema") {
      INFERD_RETURN_IF_ERROR(ReadObject(in, at, format->mutable_json_schema()));
    } else if (type == "regex") {
      INFERD_RETURN_IF_ERROR(ReadString(in, at, format->mutable_regex()));
    } else if (type == "grammar") {
      INFERD_RETURN_IF_ERROR(ReadString(in, at, format->mutable_grammar()));
    } else if (type == "structural_tag") {
      format->set_structural_tag(std::string(in.TakeRaw()));
    } else {
      v1::ResponseFormat::Choice* choice = format->mutable_choice();
      INFERD_RETURN_IF_ERROR(
          ReadField(in, at, *choice->GetDescriptor()->FindFieldByName("choices"), choice));
    }
  }
  if (format->format_case() != v1::ResponseFormat::FORMAT_NOT_SET) return OkStatus();
  return WrongType(path + ".type",
                   "text, json_object, or the name of a format that comes with it: json_schema, "
                   "regex, grammar, choice, structural_tag");
}

// --- completions' prompt

// A text, token ids, or one of these in an array: OpenAI takes several prompts, here
// it is one.
Status ReadPrompt(JsonCursor& in, const std::string& path, Message* owner) {
  auto* request = As<v1::CompletionRequest>(owner);
  if (in.Peek() == JsonKind::kString) {
    request->set_text(in.TakeString());
    return OkStatus();
  }
  if (in.Peek() != JsonKind::kArray) return WrongType(path, "a string or an array of token ids");
  JsonCursor ahead = in;
  ahead.EnterArray();
  const bool any = ahead.NextItem();
  const JsonKind first = ahead.Peek();
  v1::TokenIds* ids = request->mutable_token_ids();
  const FieldDescriptor* field = ids->GetDescriptor()->FindFieldByName("ids");
  if (!any || (first != JsonKind::kString && first != JsonKind::kArray)) {
    return ReadField(in, path, *field, ids);
  }
  in.EnterArray();
  in.NextItem();
  if (first == JsonKind::kString) {
    request->set_text(in.TakeString());
  } else {
    INFERD_RETURN_IF_ERROR(ReadField(in, path + "[0]", *field, ids));
  }
  return in.NextItem() ? Unsupported(path, "one prompt per request") : OkStatus();
}

// --- tokenize and detokenize, under vLLM's names

Status ReadTokenizeText(JsonCursor& in, const std::string& path, Message* owner) {
  return ReadString(in, path, As<v1::TokenizeRequest>(owner)->mutable_text());
}
Status ReadTokenStrings(JsonCursor& in, const std::string& path, Message* owner) {
  return ReadField(in, path, *owner->GetDescriptor()->FindFieldByName("return_token_strings"),
                   owner);
}
Status ReadTokens(JsonCursor& in, const std::string& path, Message* owner) {
  return ReadField(in, path, *owner->GetDescriptor()->FindFieldByName("token_ids"), owner);
}

struct Shape {
  std::string_view message;
  std::string_view name;
  ShapeReader read;
};

constexpr std::array<Shape, 19> kShapes = {{
    {"ChatCompletionRequest", "stop", ReadStop},
    {"ChatCompletionRequest", "tool_choice", ReadToolChoice},
    {"ChatCompletionRequest", "response_format", ReadResponseFormat},
    {"ChatCompletionRequest", "chat_template_kwargs", ReadJsonText},
    {"ChatMessage", "content", ReadContent},
    {"ImageUrl", "url", ReadMember},
    {"InputAudio", "data", ReadAudioData},
    {"Tool", "type", ReadFunctionType},
    {"Tool", "function", ReadMember},
    {"ToolCall", "type", ReadFunctionType},
    {"ToolCall", "function", ReadMember},
    {"FunctionDefinition", "parameters", ReadJsonText},
    {"JsonSchema", "schema", ReadJsonText},
    {"CompletionRequest", "stop", ReadStop},
    {"CompletionRequest", "prompt", ReadPrompt},
    {"CompletionRequest", "response_format", ReadResponseFormat},
    {"TokenizeRequest", "prompt", ReadTokenizeText},
    {"TokenizeRequest", "return_token_strs", ReadTokenStrings},
    {"DetokenizeRequest", "tokens", ReadTokens},
}};

constexpr std::array<NeutralName, 27> kNeutral = {{
    {"ChatCompletionRequest", "prediction", ""},
    {"ChatCompletionRequest", "prompt_cache_retention", ""},
    {"ChatCompletionRequest", "request_id", ""},
    {"ChatCompletionRequest", "spaces_between_special_tokens", ""},
    {"ChatCompletionRequest", "modalities", "[\"text\"]"},
    {"ChatCompletionRequest", "functions", "[]"},
    {"ChatCompletionRequest", "function_call", "\"none\""},
    {"ChatCompletionRequest", "best_of", "1"},
    {"ChatCompletionRequest", "use_beam_search", "false"},
    {"ChatCompletionRequest", "echo", "false"},
    {"ChatCompletionRequest", "add_special_tokens", "false"},
    {"ChatCompletionRequest", "return_token_strs", "false"},
    {"ChatCompletionRequest", "return_tokens_as_token_ids", "false"},
    {"ChatCompletionRequest", "include_reasoning", "true"},
    {"ChatMessage", "annotations", ""},
    {"ToolCall", "index", ""},
    {"StreamOptions", "include_obfuscation", ""},
    {"CompletionRequest", "safety_identifier", ""},
    {"CompletionRequest", "prompt_cache_key", ""},
    {"CompletionRequest", "request_id", ""},
    {"CompletionRequest", "spaces_between_special_tokens", ""},
    {"CompletionRequest", "best_of", "1"},
    {"CompletionRequest", "use_beam_search", "false"},
    {"CompletionRequest", "add_special_tokens", "true"},
    {"CompletionRequest", "return_tokens_as_token_ids", "false"},
    {"CompletionRequest", "service_tier", ""},
    {"CompletionRequest", "store", "false"},
}};

template <typename Row, size_t kRows>
const Row* Find(const std::array<Row, kRows>& rows, const google::protobuf::Descriptor& type,
                std::string_view name) {
  const auto row = std::find_if(rows.begin(), rows.end(), [&](const Row& candidate) {
    return candidate.message == type.name() && candidate.name == name;
  });
  return row == rows.end() ? nullptr : &*row;
}

}  // namespace

ShapeReader ShapeOf(const google::protobuf::Descriptor& type, std::string_view name) {
  const Shape* shape = Find(kShapes, type, name);
  return shape == nullptr ? nullptr : shape->read;
}

const NeutralName* FindNeutral(const google::protobuf::Descriptor& type, std::string_view name) {
  return Find(kNeutral, type, name);
}

}  // namespace inferd::openai
