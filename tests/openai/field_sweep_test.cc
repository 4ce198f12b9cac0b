// Every field of every message a body can hold, found by reflection: it is set from
// JSON under its own name, or listed here with the name it has instead. A field added
// to the proto without either fails the test.
#include <google/protobuf/descriptor.h>

#include <map>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "inferd/openai/openai.h"
#include "openai/fields.h"
#include "openai/shapes.h"

namespace inferd::openai {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;

// Fields that JSON writes in another way, and how; requests_test has their cases.
const std::map<std::string, std::string> kElsewhere = {
    {"ContentPart.text", "a string, or a part of type text"},
    {"ContentPart.image_url", "a part of type image_url"},
    {"ContentPart.input_audio", "a part of type input_audio"},
    {"ContentPart.refusal", "a part of type refusal"},
    {"ImageUrl.data", "not at all: url takes data: URLs"},
    {"InputAudio.data", "read over: no model here takes it"},
    {"ToolChoice.mode", "the string itself"},
    {"ToolChoice.function_name", "type function"},
    {"ToolChoice.allowed_tools", "type allowed_tools"},
    {"AllowedTools.mode", "tool_choice.allowed_tools.mode"},
    {"AllowedTools.function_names", "tool_choice.allowed_tools.tools"},
    {"ResponseFormat.text", "type text"},
    {"ResponseFormat.json_object", "type json_object"},
    {"ResponseFormat.json_schema", "type json_schema"},
    {"ResponseFormat.regex", "type regex"},
    {"ResponseFormat.grammar", "type grammar"},
    {"ResponseFormat.choice", "type choice"},
    {"ResponseFormat.structural_tag", "type structural_tag"},
    {"Choice.choices", "response_format.choice"},
    {"CompletionRequest.text", "prompt"},
    {"CompletionRequest.token_ids", "prompt"},
    {"TokenIds.ids", "prompt"},
    {"DetokenizeRequest.token_ids", "tokens, too"},
};

// A JSON value that such a field takes; empty when only its own reader knows.
std::string SampleOf(const FieldDescriptor& field) {
  const std::string key = field.containing_type()->name() + "." + field.name();
  static const std::map<std::string, std::string> kSamples = {
      {"ChatCompletionRequest.messages", R"([{"role": "user"}])"},
      {"ChatCompletionRequest.tool_choice", R"("auto")"},
      {"ChatCompletionRequest.response_format", R"({"type": "text"})"},
      {"CompletionRequest.response_format", R"({"type": "text"})"},
      {"ChatCompletionRequest.chat_template_kwargs", "{}"},
      {"ChatMessage.content", R"("x")"},
      {"FunctionDefinition.parameters", "{}"},
      {"JsonSchema.schema", "{}"},
  };
  if (const auto it = kSamples.find(key); it != kSamples.end()) return it->second;
  if (field.is_map()) {
    return field.message_type()->map_value()->cpp_type() == FieldDescriptor::CPPTYPE_STRING
               ? R"({"1": "x"})"
               : R"({"1": 1})";
  }
  std::string one;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      one = "true";
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      one = R"("x")";
      break;
    case FieldDescriptor::CPPTYPE_MESSAGE:
      one = "{}";
      break;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* last =
          field.enum_type()->value(field.enum_type()->value_count() - 1);
      std::string name = last->name().substr(last->type()->value(0)->name().size() - 11);
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      one = "\"" + name + "\"";
      break;
    }
    default:
      one = "1";
  }
  return field.is_repeated() ? "[" + one + "]" : one;
}

void Sweep(const Descriptor& type, std::set<const Descriptor*>* seen) {
  if (!seen->insert(&type).second) return;
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !field.is_map()) {
      Sweep(*field.message_type(), seen);
    }
    const std::string key = type.name() + "." + field.name();
    if (kElsewhere.count(key) > 0) continue;
    SCOPED_TRACE(key);
    const std::string body = "{\"" + field.name() + "\": " + SampleOf(field) + "}";
    std::unique_ptr<Message> message(
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(&type)->New());
    JsonCursor in(body);
    const Status status = ReadObject(in, "", message.get());
    EXPECT_TRUE(status.ok()) << body << " " << status.ToString();
    const auto* reflection = message->GetReflection();
    EXPECT_TRUE(field.is_repeated() ? reflection->FieldSize(*message, &field) == 1
                                    : reflection->HasField(*message, &field))
        << body;
    // A wrong type is refused by the field's name.
    const std::string wrong =
        "{\"" + field.name() + "\": " + (SampleOf(field)[0] == '{' ? "1" : "{}") + "}";
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && SampleOf(field)[0] != '{') continue;
    JsonCursor wrong_in(wrong);
    const Status refused = ReadObject(wrong_in, "", message.get());
    ASSERT_FALSE(refused.ok()) << wrong;
    EXPECT_EQ(refused.detail()->field, field.name());
  }
}

TEST(FieldSweepTest, EveryFieldIsReachable) {
  std::set<const Descriptor*> seen;
  Sweep(*v1::ChatCompletionRequest::descriptor(), &seen);
  Sweep(*v1::CompletionRequest::descriptor(), &seen);
  Sweep(*v1::TokenizeRequest::descriptor(), &seen);
  Sweep(*v1::DetokenizeRequest::descriptor(), &seen);
  EXPECT_GT(seen.size(), 15U);
  // No row of the table is stale.
  std::set<std::string> names;
  for (const Descriptor* type : seen) {
    for (int i = 0; i < type->field_count(); ++i) {
      names.insert(type->name() + "." + type->field(i)->name());
    }
  }
  for (const auto& [key, how] : kElsewhere) EXPECT_EQ(names.count(key), 1U) << key << ": " << how;
}

}  // namespace
}  // namespace inferd::openai
