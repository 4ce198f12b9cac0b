// Every scalar field of a generation request, found by reflection: explicit zero, the lowest and
// the highest value of its type, and NaN are accepted, refused by name, or unsupported as the table
// says. A field added to the proto without a row fails the test.
#include <google/protobuf/descriptor.h>

#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "fakes.h"
#include "gtest/gtest.h"
#include "server/validate.h"

namespace inferd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Verdicts: y accepted; r out of range; u unsupported; s contradicts the rpc; m malformed message;
// n no such model; - the type has no such value.
struct Row {
  char zero;     // 0, false, "", the enum's first value
  char lowest;   // numbers only
  char highest;  // true, "x", the enum's last value
};

const std::map<std::string, Row> kShared = {
    {"model", {'y', '-', 'n'}},
    {"temperature", {'y', 'r', 'r'}},
    {"top_p", {'r', 'r', 'r'}},
    {"n", {'r', 'r', 'r'}},
    {"max_tokens", {'r', 'r', 'y'}},  // the context decides later
    {"presence_penalty", {'y', 'r', 'r'}},
    {"frequency_penalty", {'y', 'r', 'r'}},
    {"seed", {'y', 'y', 'y'}},
    {"user", {'y', '-', 'y'}},
    {"top_k", {'y', 'r', 'y'}},
    {"min_p", {'y', 'r', 'r'}},
    {"repetition_penalty", {'r', 'r', 'r'}},
    {"min_tokens", {'y', 'r', 'r'}},
    {"ignore_eos", {'y', '-', 'y'}},
    {"include_stop_str_in_output", {'y', '-', 'y'}},
    {"skip_special_tokens", {'y', '-', 'y'}},
    {"return_token_ids", {'y', '-', 'y'}},
    {"priority", {'y', 'y', 'y'}},
    {"cache_salt", {'r', '-', 'y'}},
    {"stream_interval", {'r', 'r', 'y'}},
};

const std::map<std::string, Row> kChat = {
    {"stream", {'s', '-', 'y'}},
    {"max_completion_tokens", {'r', 'r', 'y'}},
    {"logprobs", {'y', '-', 'y'}},
    {"top_logprobs", {'r', 'r', 'r'}},  // needs logprobs
    {"parallel_tool_calls", {'y', '-', 'y'}},
    {"reasoning_effort", {'y', '-', 'u'}},
    {"safety_identifier", {'y', '-', 'y'}},
    {"prompt_cache_key", {'y', '-', 'y'}},
    {"service_tier", {'y', '-', 'y'}},
    {"verbosity", {'y', '-', 'y'}},
    {"store", {'y', '-', 'u'}},
    {"prompt_logprobs", {'u', 'u', 'u'}},
    {"chat_template", {'u', '-', 'u'}},
    {"chat_template_kwargs", {'y', '-', 'r'}},
    {"add_generation_prompt", {'y', '-', 'y'}},
    {"continue_final_message", {'y', '-', 'm'}},  // the last message is the user's
    {"truncate_prompt_tokens", {'u', 'u', 'u'}},
    {"time_limit_ms", {'r', 'r', 'r'}},
};

const std::map<std::string, Row> kCompletion = {
    {"text", {'y', '-', 'y'}}, {"stream", {'y', '-', 's'}}, {"logprobs", {'y', 'r', 'r'}},
    {"echo", {'y', '-', 'y'}}, {"suffix", {'u', '-', 'u'}},
};

// Lists, maps and messages: validate_test has their cases.
const std::set<std::string> kCompound = {
    "messages",        "stream_options", "stop",           "logit_bias",        "tools",
    "tool_choice",     "metadata",       "stop_token_ids", "allowed_token_ids", "bad_words",
    "response_format", "token_ids",
};

ServedModel Model() {
  ServedModel model;
  model.id = "m";
  model.max_model_len = 1000;
  model.vocab_size = ByteTokenizer::kVocab;
  model.tokenizer = std::make_shared<ByteTokenizer>();
  model.chat_template = std::make_shared<BracketTemplate>();
  return model;
}

Status Validate(const Message& request) {
  static const ServedModel model = Model();
  if (const auto* chat = dynamic_cast<const v1::ChatCompletionRequest*>(&request)) {
    return ValidateChat(*chat, {model, RequestLimits{}, /*streaming=*/true}).status();
  }
  const auto& completion = dynamic_cast<const v1::CompletionRequest&>(request);
  return ValidateCompletion(completion, {model, RequestLimits{}, /*streaming=*/false}).status();
}

enum class Which { kZero, kLowest, kHighest };

template <typename T>
T Pick(Which which) {
  if (which == Which::kZero) return T{0};
  return which == Which::kLowest ? std::numeric_limits<T>::lowest() : std::numeric_limits<T>::max();
}

void Set(const FieldDescriptor* field, Which which, Message* request) {
  const auto* reflection = request->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection->SetInt32(request, field, Pick<int32_t>(which));
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->SetInt64(request, field, Pick<int64_t>(which));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return reflection->SetFloat(request, field, Pick<float>(which));
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->SetBool(request, field, which == Which::kHighest);
    case FieldDescriptor::CPPTYPE_STRING:
      return reflection->SetString(request, field, which == Which::kHighest ? "x" : "");
    case FieldDescriptor::CPPTYPE_ENUM: {
      const auto* type = field->enum_type();
      return reflection->SetEnum(
          request, field, type->value(which == Which::kHighest ? type->value_count() - 1 : 0));
    }
    default:
      FAIL() << field->name() << " has a type this test does not know";
  }
}

void Expect(char verdict, const std::string& field, const Message& request) {
  SCOPED_TRACE(request.GetDescriptor()->name() + "." + field + ": " + request.ShortDebugString());
  static const std::map<char, std::string> reasons = {{'r', "INVALID_PARAMETER"},
                                                      {'u', "UNSUPPORTED_PARAMETER"},
                                                      {'s', "STREAM_MISMATCH"},
                                                      {'m', "INVALID_MESSAGE"},
                                                      {'n', "MODEL_NOT_FOUND"}};
  const Status status = Validate(request);
  if (verdict == 'y') {
    EXPECT_TRUE(status.ok()) << status.ToString();
    return;
  }
  ASSERT_FALSE(status.ok());
  ASSERT_NE(status.detail(), nullptr);
  EXPECT_EQ(status.detail()->reason, reasons.at(verdict));
  if (verdict == 'r' || verdict == 'u' || verdict == 's') {
    EXPECT_EQ(status.detail()->field, field);
  }
}

void Sweep(const Message& valid, const std::map<std::string, Row>& own) {
  ASSERT_TRUE(Validate(valid).ok());  // unset is fine for every field
  size_t rows = 0;
  for (int i = 0; i < valid.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = valid.GetDescriptor()->field(i);
    if (kCompound.count(field->name()) > 0) continue;
    const auto& table = own.count(field->name()) > 0 ? own : kShared;
    const auto row = table.find(field->name());
    ASSERT_NE(row, table.end()) << field->name() << " has no row";
    ++rows;
    // Without presence an unset number would be a zero.
    EXPECT_TRUE(field->has_presence() || field->name() == "model") << field->name();
    const auto with = [&](Which which) {
      std::unique_ptr<Message> request(valid.New());
      request->CopyFrom(valid);
      Set(field, which, request.get());
      return request;
    };
    Expect(row->second.zero, field->name(), *with(Which::kZero));
    Expect(row->second.highest, field->name(), *with(Which::kHighest));
    if (row->second.lowest != '-') {
      Expect(row->second.lowest, field->name(), *with(Which::kLowest));
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_FLOAT) {
      auto request = with(Which::kZero);
      request->GetReflection()->SetFloat(request.get(), field,
                                         std::numeric_limits<float>::quiet_NaN());
      Expect('r', field->name(), *request);
    }
  }
  EXPECT_EQ(rows, kShared.size() + own.size()) << "a row names a field that is gone";
}

TEST(FieldSweepTest, Chat) {
  v1::ChatCompletionRequest request;
  auto* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_content()->set_text("hi");
  Sweep(request, kChat);
}

TEST(FieldSweepTest, Completion) {
  v1::CompletionRequest request;
  request.set_text("hi");
  Sweep(request, kCompletion);
}

}  // namespace
}  // namespace inferd
