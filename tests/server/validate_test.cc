#include "server/validate.h"

#include <functional>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "fakes.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/prepare.h"

namespace inferd {
namespace {

using Chat = v1::ChatCompletionRequest;
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int32_t kMax32 = std::numeric_limits<int32_t>::max();
constexpr int32_t kMin32 = std::numeric_limits<int32_t>::min();

ServedModel Model() {
  ServedModel model;
  model.id = "m";
  model.aliases = {"alias"};
  model.max_model_len = 1000;
  model.vocab_size = ByteTokenizer::kVocab;
  model.eos_tokens = {ByteTokenizer::kEos};
  model.tokenizer = std::make_shared<ByteTokenizer>();
  model.chat_template = std::make_shared<BracketTemplate>();
  return model;
}

Chat Valid() {
  Chat request;
  auto* message = request.add_messages();
  message->set_role(v1::ROLE_USER);
  message->add_content()->set_text("hi");
  return request;
}

StatusOr<GenerationRequest> Check(const Chat& request, bool streaming = true) {
  static const ServedModel model = Model();
  return ValidateChat(request, {model, RequestLimits{}, streaming});
}

struct Case {
  const char* name;
  std::function<void(Chat&)> change;
  const char* reason;  // null: valid
  const char* field = "";
};

class ChatFieldTest : public testing::TestWithParam<Case> {};

TEST_P(ChatFieldTest, IsAcceptedOrRefusedByName) {
  Chat request = Valid();
  GetParam().change(request);
  const auto result = Check(request);
  if (GetParam().reason == nullptr) {
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return;
  }
  ASSERT_FALSE(result.ok());
  ASSERT_NE(result.status().detail(), nullptr);
  EXPECT_EQ(result.status().detail()->reason, GetParam().reason) << result.status().ToString();
  EXPECT_EQ(result.status().detail()->field, GetParam().field);
}

constexpr char kRange[] = "INVALID_PARAMETER";
constexpr char kUnsupported[] = "UNSUPPORTED_PARAMETER";
constexpr char kMessage[] = "INVALID_MESSAGE";
constexpr char kToken[] = "INVALID_TOKEN_ID";

std::string Long(size_t size) { return std::string(size, 'x'); }

// clang-format off
const Case kNumbers[] = {
    {"TemperatureZero", [](Chat& r) { r.set_temperature(0); }, nullptr},
    {"TemperatureMax", [](Chat& r) { r.set_temperature(2); }, nullptr},
    {"TemperatureOver", [](Chat& r) { r.set_temperature(2.001F); }, kRange, "temperature"},
    {"TemperatureNegative", [](Chat& r) { r.set_temperature(-0.001F); }, kRange, "temperature"},
    {"TemperatureNaN", [](Chat& r) { r.set_temperature(kNaN); }, kRange, "temperature"},
    {"TemperatureInf", [](Chat& r) { r.set_temperature(kInf); }, kRange, "temperature"},
    {"TopPOne", [](Chat& r) { r.set_top_p(1); }, nullptr},
    {"TopPZero", [](Chat& r) { r.set_top_p(0); }, kRange, "top_p"},
    {"TopPMinusZero", [](Chat& r) { r.set_top_p(-0.0F); }, kRange, "top_p"},
    {"TopPOver", [](Chat& r) { r.set_top_p(1.0001F); }, kRange, "top_p"},
    {"TopPNaN", [](Chat& r) { r.set_top_p(kNaN); }, kRange, "top_p"},
    {"NOne", [](Chat& r) { r.set_n(1); }, nullptr},
    {"NMax", [](Chat& r) { r.set_n(8); }, nullptr},
    {"NZero", [](Chat& r) { r.set_n(0); }, kRange, "n"},
    {"NNine", [](Chat& r) { r.set_n(9); }, kRange, "n"},
    {"NHuge", [](Chat& r) { r.set_n(kMax32); }, kRange, "n"},
    {"NNegative", [](Chat& r) { r.set_n(kMin32); }, kRange, "n"},
    {"MaxTokensZero", [](Chat& r) { r.set_max_tokens(0); }, kRange, "max_tokens"},
    {"MaxCompletionTokensZero", [](Chat& r) { r.set_max_completion_tokens(0); }, kRange, "max_completion_tokens"},
    {"MaxCompletionTokensWins", [](Chat& r) { r.set_max_completion_tokens(1); r.set_max_tokens(-5); }, nullptr},
    {"MaxCompletionTokensNegative", [](Chat& r) { r.set_max_completion_tokens(-1); }, kRange, "max_completion_tokens"},
    {"PresenceLow", [](Chat& r) { r.set_presence_penalty(-2); }, nullptr},
    {"PresenceUnder", [](Chat& r) { r.set_presence_penalty(-2.01F); }, kRange, "presence_penalty"},
    {"PresenceNaN", [](Chat& r) { r.set_presence_penalty(kNaN); }, kRange, "presence_penalty"},
    {"FrequencyHigh", [](Chat& r) { r.set_frequency_penalty(2); }, nullptr},
    {"FrequencyOver", [](Chat& r) { r.set_frequency_penalty(3); }, kRange, "frequency_penalty"},
    {"RepetitionZero", [](Chat& r) { r.set_repetition_penalty(0); }, kRange, "repetition_penalty"},
    {"RepetitionTiny", [](Chat& r) { r.set_repetition_penalty(1e-45F); }, kRange, "repetition_penalty"},
    {"RepetitionUsual", [](Chat& r) { r.set_repetition_penalty(1.1F); }, nullptr},
    {"RepetitionInf", [](Chat& r) { r.set_repetition_penalty(kInf); }, kRange, "repetition_penalty"},
    {"MinPOne", [](Chat& r) { r.set_min_p(1); }, nullptr},
    {"MinPOver", [](Chat& r) { r.set_min_p(1.01F); }, kRange, "min_p"},
    {"MinPNegative", [](Chat& r) { r.set_min_p(-0.01F); }, kRange, "min_p"},
    {"TopKOff", [](Chat& r) { r.set_top_k(-1); }, nullptr},
    {"TopKZero", [](Chat& r) { r.set_top_k(0); }, nullptr},
    {"TopKHuge", [](Chat& r) { r.set_top_k(kMax32); }, nullptr},
    {"TopKUnder", [](Chat& r) { r.set_top_k(-2); }, kRange, "top_k"},
    {"MinTokensZero", [](Chat& r) { r.set_min_tokens(0); }, nullptr},
    {"MinTokensNegative", [](Chat& r) { r.set_min_tokens(-1); }, kRange, "min_tokens"},
    {"MinTokensOver", [](Chat& r) { r.set_min_tokens(1001); }, kRange, "min_tokens"},
    {"StreamIntervalZero", [](Chat& r) { r.set_stream_interval(0); }, kRange, "stream_interval"},
    {"StreamIntervalOne", [](Chat& r) { r.set_stream_interval(1); }, nullptr},
    {"TimeLimitZero", [](Chat& r) { r.set_time_limit_ms(0); }, kRange, "time_limit_ms"},
    {"TimeLimitMax", [](Chat& r) { r.set_time_limit_ms(3'600'000); }, nullptr},
    {"TimeLimitOver", [](Chat& r) { r.set_time_limit_ms(3'600'001); }, kRange, "time_limit_ms"},
    {"TimeLimitHuge", [](Chat& r) { r.set_time_limit_ms(std::numeric_limits<int64_t>::max()); }, kRange, "time_limit_ms"},
    {"PriorityLowest", [](Chat& r) { r.set_priority(kMin32); }, nullptr},
    {"SeedNegative", [](Chat& r) { r.set_seed(-1); }, nullptr},
    {"LogprobsAlone", [](Chat& r) { r.set_logprobs(true); }, nullptr},
    {"TopLogprobsMax", [](Chat& r) { r.set_logprobs(true); r.set_top_logprobs(20); }, nullptr},
    {"TopLogprobsOver", [](Chat& r) { r.set_logprobs(true); r.set_top_logprobs(21); }, kRange, "top_logprobs"},
    {"TopLogprobsNegative", [](Chat& r) { r.set_logprobs(true); r.set_top_logprobs(-1); }, kRange, "top_logprobs"},
    {"TopLogprobsWithoutLogprobs", [](Chat& r) { r.set_top_logprobs(0); }, kRange, "top_logprobs"},
    {"BiasEdges", [](Chat& r) { (*r.mutable_logit_bias())[299] = 100; (*r.mutable_logit_bias())[0] = -100; }, nullptr},
    {"BiasOver", [](Chat& r) { (*r.mutable_logit_bias())[5] = 100.1F; }, kRange, "logit_bias[5]"},
    {"BiasNaN", [](Chat& r) { (*r.mutable_logit_bias())[5] = kNaN; }, kRange, "logit_bias[5]"},
    {"BiasVocab", [](Chat& r) { (*r.mutable_logit_bias())[300] = 1; }, kToken, "logit_bias[300]"},
    {"BiasHugeId", [](Chat& r) { (*r.mutable_logit_bias())[0xFFFFFFFF] = 1; }, kToken, "logit_bias[4294967295]"},
    {"BiasMax", [](Chat& r) { for (uint32_t i = 0; i < 300; ++i) (*r.mutable_logit_bias())[i] = 1; }, nullptr},
    {"BiasTooMany", [](Chat& r) { for (uint32_t i = 0; i < 301; ++i) (*r.mutable_logit_bias())[i] = 1; }, kRange, "logit_bias"},
    {"StopIdsVocab", [](Chat& r) { r.add_stop_token_ids(300); }, kToken, "stop_token_ids[0]"},
    {"StopIdsMax", [](Chat& r) { for (int i = 0; i < 64; ++i) r.add_stop_token_ids(1); }, nullptr},
    {"StopIdsTooMany", [](Chat& r) { for (int i = 0; i < 65; ++i) r.add_stop_token_ids(1); }, kRange, "stop_token_ids"},
};
const Case kStrings[] = {
    {"StopMax", [](Chat& r) { for (int i = 0; i < 4; ++i) r.add_stop(Long(256)); }, nullptr},
    {"StopFive", [](Chat& r) { for (int i = 0; i < 5; ++i) r.add_stop("x"); }, kRange, "stop"},
    {"StopEmpty", [](Chat& r) { r.add_stop(""); }, kRange, "stop[0]"},
    {"StopLong", [](Chat& r) { r.add_stop("x"); r.add_stop(Long(257)); }, kRange, "stop[1]"},
    {"ModelOwn", [](Chat& r) { r.set_model("m"); }, nullptr},
    {"ModelAlias", [](Chat& r) { r.set_model("alias"); }, nullptr},
    {"ModelOther", [](Chat& r) { r.set_model("../m"); }, "MODEL_NOT_FOUND"},
    {"SaltEmpty", [](Chat& r) { r.set_cache_salt(""); }, kRange, "cache_salt"},
    {"SaltMax", [](Chat& r) { r.set_cache_salt(Long(256)); }, nullptr},
    {"SaltLong", [](Chat& r) { r.set_cache_salt(Long(257)); }, kRange, "cache_salt"},
    {"KwargsObject", [](Chat& r) { r.set_chat_template_kwargs(R"({"enable_thinking": false})"); }, nullptr},
    {"KwargsArray", [](Chat& r) { r.set_chat_template_kwargs("[]"); }, kRange, "chat_template_kwargs"},
    {"KwargsBroken", [](Chat& r) { r.set_chat_template_kwargs("{\"a\": NaN}"); }, kRange, "chat_template_kwargs"},
    {"KwargsTwice", [](Chat& r) { r.set_chat_template_kwargs(R"({"a": 1, "a": 2})"); }, kRange, "chat_template_kwargs"},
    {"KwargsReserved", [](Chat& r) { r.set_chat_template_kwargs(R"({"messages": []})"); }, kRange, "chat_template_kwargs"},
    {"KwargsDeep", [](Chat& r) { r.set_chat_template_kwargs("{\"a\":" + std::string(8000, '[') + std::string(8000, ']') + "}"); }, kRange, "chat_template_kwargs"},
    {"KwargsLong", [](Chat& r) { r.set_chat_template_kwargs("{\"a\":\"" + Long(16 << 10) + "\"}"); }, kRange, "chat_template_kwargs"},
    {"MetadataMax", [](Chat& r) { for (int i = 0; i < 16; ++i) (*r.mutable_metadata())[std::to_string(i)] = Long(512); }, nullptr},
    {"MetadataTooMany", [](Chat& r) { for (int i = 0; i < 17; ++i) (*r.mutable_metadata())[std::to_string(i)] = "x"; }, kRange, "metadata"},
    {"MetadataLong", [](Chat& r) { (*r.mutable_metadata())["k"] = Long(513); }, kRange, "metadata"},
    {"NoEffect", [](Chat& r) { r.set_user("u"); r.set_safety_identifier("s"); r.set_verbosity("low"); r.set_service_tier("x"); r.set_prompt_cache_key("k"); r.set_parallel_tool_calls(true); }, nullptr},
};
const Case kRefused[] = {
    {"Tools", [](Chat& r) { r.add_tools()->mutable_function()->set_name("f"); }, kUnsupported, "tools"},
    {"ToolChoiceNone", [](Chat& r) { r.mutable_tool_choice()->set_mode(v1::TOOL_CHOICE_MODE_NONE); }, nullptr},
    {"ToolChoiceRequired", [](Chat& r) { r.mutable_tool_choice()->set_mode(v1::TOOL_CHOICE_MODE_REQUIRED); }, kUnsupported, "tool_choice"},
    {"ToolChoiceFunction", [](Chat& r) { r.mutable_tool_choice()->set_function_name("f"); }, kUnsupported, "tool_choice"},
    {"FormatText", [](Chat& r) { r.mutable_response_format()->mutable_text(); }, nullptr},
    {"FormatJson", [](Chat& r) { r.mutable_response_format()->mutable_json_object(); }, kUnsupported, "response_format"},
    {"FormatRegex", [](Chat& r) { r.mutable_response_format()->set_regex("a*"); }, kUnsupported, "response_format"},
    {"ReasoningEffort", [](Chat& r) { r.set_reasoning_effort(v1::REASONING_EFFORT_LOW); }, kUnsupported, "reasoning_effort"},
    {"StoreTrue", [](Chat& r) { r.set_store(true); }, kUnsupported, "store"},
    {"StoreFalse", [](Chat& r) { r.set_store(false); }, nullptr},
    {"PromptLogprobs", [](Chat& r) { r.set_prompt_logprobs(0); }, kUnsupported, "prompt_logprobs"},
    {"AllowedTokenIds", [](Chat& r) { r.add_allowed_token_ids(1); }, kUnsupported, "allowed_token_ids"},
    {"BadWords", [](Chat& r) { r.add_bad_words("x"); }, kUnsupported, "bad_words"},
    {"ChatTemplate", [](Chat& r) { r.set_chat_template("x"); }, kUnsupported, "chat_template"},
    {"TruncatePrompt", [](Chat& r) { r.set_truncate_prompt_tokens(5); }, kUnsupported, "truncate_prompt_tokens"},
    {"Image", [](Chat& r) { r.mutable_messages(0)->add_content()->mutable_image_url()->set_url("http://169.254.169.254/"); }, kUnsupported, "messages[0].content[1]"},
    {"Audio", [](Chat& r) { r.mutable_messages(0)->add_content()->mutable_input_audio(); }, kUnsupported, "messages[0].content[1]"},
    {"Refusal", [](Chat& r) { r.mutable_messages(0)->set_refusal("no"); }, kUnsupported, "messages[0].refusal"},
    {"StreamFalseOnStream", [](Chat& r) { r.set_stream(false); }, "STREAM_MISMATCH", "stream"},
    {"StreamTrueOnStream", [](Chat& r) { r.set_stream(true); }, nullptr},
};
const Case kMessages[] = {
    {"None", [](Chat& r) { r.clear_messages(); }, kMessage, "messages"},
    {"Max", [](Chat& r) { for (int i = 0; i < 2047; ++i) *r.add_messages() = r.messages(0); }, nullptr},
    {"TooMany", [](Chat& r) { for (int i = 0; i < 2048; ++i) *r.add_messages() = r.messages(0); }, kMessage, "messages"},
    {"NoRole", [](Chat& r) { r.mutable_messages(0)->clear_role(); }, kMessage, "messages[0].role"},
    {"UnknownRole", [](Chat& r) { r.mutable_messages(0)->set_role(static_cast<v1::Role>(77)); }, kMessage, "messages[0].role"},
    {"Developer", [](Chat& r) { r.mutable_messages(0)->set_role(v1::ROLE_DEVELOPER); }, nullptr},
    {"NoContent", [](Chat& r) { r.mutable_messages(0)->clear_content(); }, kMessage, "messages[0].content"},
    {"EmptyText", [](Chat& r) { r.mutable_messages(0)->mutable_content(0)->set_text(""); }, nullptr},
    {"EmptyPart", [](Chat& r) { r.mutable_messages(0)->add_content(); }, kMessage, "messages[0].content[1]"},
    {"PartsMax", [](Chat& r) { for (int i = 0; i < 255; ++i) r.mutable_messages(0)->add_content()->set_text("x"); }, nullptr},
    {"PartsTooMany", [](Chat& r) { for (int i = 0; i < 256; ++i) r.mutable_messages(0)->add_content()->set_text("x"); }, kMessage, "messages[0].content"},
    {"TextMax", [](Chat& r) { r.mutable_messages(0)->mutable_content(0)->set_text(Long(8 << 20)); }, nullptr},
    {"TextTooLong", [](Chat& r) { r.mutable_messages(0)->mutable_content(0)->set_text(Long((8 << 20) + 1)); }, kMessage, "messages"},
    {"ToolWithoutCall", [](Chat& r) { r.mutable_messages(0)->set_role(v1::ROLE_TOOL); }, kMessage, "messages[0].tool_call_id"},
    {"ToolAnswer", [](Chat& r) { r.mutable_messages(0)->set_role(v1::ROLE_TOOL); r.mutable_messages(0)->set_tool_call_id("c"); }, kUnsupported, "messages[0].role"},
    {"CallIdOfUser", [](Chat& r) { r.mutable_messages(0)->set_tool_call_id("c"); }, kMessage, "messages[0].tool_call_id"},
    {"ToolCallsOfUser", [](Chat& r) { r.mutable_messages(0)->add_tool_calls(); }, kMessage, "messages[0].tool_calls"},
    {"ReasoningOfUser", [](Chat& r) { r.mutable_messages(0)->set_reasoning_content("x"); }, kMessage, "messages[0].reasoning_content"},
    {"ContinueWithoutAssistant", [](Chat& r) { r.set_continue_final_message(true); }, kMessage, "messages"},
    {"ContinueAndGenerate", [](Chat& r) { r.mutable_messages(0)->set_role(v1::ROLE_ASSISTANT); r.set_continue_final_message(true); r.set_add_generation_prompt(true); }, kRange, "continue_final_message"},
    {"Continue", [](Chat& r) { r.mutable_messages(0)->set_role(v1::ROLE_ASSISTANT); r.set_continue_final_message(true); }, nullptr},
};
// clang-format on

std::string CaseName(const testing::TestParamInfo<Case>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Numbers, ChatFieldTest, testing::ValuesIn(kNumbers), CaseName);
INSTANTIATE_TEST_SUITE_P(Strings, ChatFieldTest, testing::ValuesIn(kStrings), CaseName);
INSTANTIATE_TEST_SUITE_P(Refused, ChatFieldTest, testing::ValuesIn(kRefused), CaseName);
INSTANTIATE_TEST_SUITE_P(Messages, ChatFieldTest, testing::ValuesIn(kMessages), CaseName);

TEST(ValidateChatTest, UnsetTakesTheModelsDefaultsAndZeroIsZero) {
  ServedModel model = Model();
  model.defaults = {0.7F, 0.9F, 40, 1.2F};
  Chat request = Valid();
  auto unset = ValidateChat(request, {model, RequestLimits{}, true});
  ASSERT_TRUE(unset.ok());
  EXPECT_FLOAT_EQ(unset->sampling.temperature, 0.7F);
  EXPECT_FLOAT_EQ(unset->sampling.top_p, 0.9F);
  EXPECT_EQ(unset->sampling.top_k, 40);
  EXPECT_FLOAT_EQ(unset->sampling.repetition_penalty, 1.2F);
  EXPECT_EQ(unset->sampling.logprobs, -1);
  EXPECT_FALSE(unset->seed.has_value());
  EXPECT_FALSE(unset->max_new_tokens.has_value());
  EXPECT_TRUE(unset->include_usage);
  EXPECT_TRUE(unset->skip_special_tokens);

  request.set_temperature(0);
  request.set_top_k(0);
  request.set_seed(0);
  request.set_logprobs(true);
  request.set_skip_special_tokens(false);
  request.mutable_stream_options()->set_include_usage(false);
  auto zero = ValidateChat(request, {model, RequestLimits{}, true});
  ASSERT_TRUE(zero.ok());
  EXPECT_EQ(zero->sampling.temperature, 0.0F);
  EXPECT_EQ(zero->sampling.top_k, 0);
  EXPECT_EQ(zero->seed, 0U);
  EXPECT_EQ(zero->sampling.logprobs, 0);
  EXPECT_FALSE(zero->skip_special_tokens);
  EXPECT_FALSE(zero->include_usage);
}

TEST(ValidateChatTest, TinyTemperatureIsGreedyAndWholeVocabularyIsNoTopK) {
  Chat request = Valid();
  request.set_temperature(1e-45F);
  request.set_top_k(ByteTokenizer::kVocab);
  const auto result = Check(request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->sampling.temperature, 0.0F);
  EXPECT_EQ(result->sampling.top_k, 0);
}

TEST(ValidateChatTest, StreamOptionsAreOnlyForStreams) {
  Chat request = Valid();
  request.mutable_stream_options();
  EXPECT_TRUE(Check(request, true).ok());
  EXPECT_EQ(Check(request, false).status().detail()->field, "stream_options");
}

TEST(ValidateChatTest, WithoutTemplateThereIsNoChat) {
  ServedModel model = Model();
  model.chat_template = nullptr;
  const auto result = ValidateChat(Valid(), {model, RequestLimits{}, true});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().detail()->reason, "UNSUPPORTED_PARAMETER");
}

TEST(ValidateChatTest, ErrorsEchoAtMost64BytesOfInput) {
  Chat request = Valid();
  request.set_model(Long(1 << 20));
  const auto result = Check(request);
  ASSERT_FALSE(result.ok());
  EXPECT_LT(result.status().message().size(), 200U);
  for (const auto& [key, value] : result.status().detail()->metadata) EXPECT_LE(value.size(), 64U);
}

StatusOr<GenerationRequest> CheckCompletion(const v1::CompletionRequest& request) {
  static const ServedModel model = Model();
  return ValidateCompletion(request, {model, RequestLimits{}, false});
}

TEST(ValidateCompletionTest, PromptKinds) {
  v1::CompletionRequest request;
  EXPECT_EQ(CheckCompletion(request).status().detail()->field, "text");
  request.set_text("");
  EXPECT_TRUE(CheckCompletion(request).ok());
  request.mutable_token_ids();
  EXPECT_EQ(CheckCompletion(request).status().detail()->field, "token_ids");
  request.mutable_token_ids()->add_ids(299);
  EXPECT_TRUE(CheckCompletion(request).ok());
  request.mutable_token_ids()->add_ids(300);
  EXPECT_EQ(CheckCompletion(request).status().detail()->reason, "INVALID_TOKEN_ID");
  request.mutable_token_ids()->clear_ids();
  for (int i = 0; i < 1000; ++i) request.mutable_token_ids()->add_ids(1);
  EXPECT_EQ(CheckCompletion(request).status().detail()->reason, "CONTEXT_LENGTH_EXCEEDED");
}

TEST(ValidateCompletionTest, LegacyFields) {
  v1::CompletionRequest request;
  request.set_text("x");
  request.set_logprobs(5);
  EXPECT_EQ(CheckCompletion(request)->sampling.logprobs, 5);
  request.set_logprobs(6);
  EXPECT_EQ(CheckCompletion(request).status().detail()->field, "logprobs");
  request.set_logprobs(0);
  request.set_echo(true);
  EXPECT_EQ(CheckCompletion(request).status().detail()->reason, "UNSUPPORTED_PARAMETER");
  request.clear_logprobs();
  EXPECT_TRUE(CheckCompletion(request)->echo);
  request.set_suffix("");
  EXPECT_EQ(CheckCompletion(request).status().detail()->field, "suffix");
}

TEST(BuildSpecTest, LengthsAtTheEdges) {
  const ServedModel model = Model();
  SystemEntropy entropy;
  GenerationRequest request;
  request.text = "x";
  const auto build = [&](size_t prompt) {
    return BuildSpec(request, std::vector<TokenId>(prompt, 1), model, {HashKey{}, {}}, entropy);
  };
  EXPECT_EQ(build(999)->stop.max_new_tokens, 1);
  const auto over = build(1000);
  ASSERT_FALSE(over.ok());
  EXPECT_EQ(over.status().detail()->reason, "CONTEXT_LENGTH_EXCEEDED");
  EXPECT_THAT(over.status().detail()->metadata,
              testing::Contains(testing::Pair("prompt_tokens", "1000")));
  request.max_new_tokens = 900;
  EXPECT_EQ(build(100)->stop.max_new_tokens, 900);
  EXPECT_EQ(build(101).status().detail()->reason, "CONTEXT_LENGTH_EXCEEDED");
  request.max_new_tokens = kMax32;
  EXPECT_FALSE(build(1).ok());
  request.max_new_tokens.reset();
  request.default_max_new_tokens = 16;
  EXPECT_EQ(build(10)->stop.max_new_tokens, 16);
  EXPECT_EQ(build(990)->stop.max_new_tokens, 10);
  request.min_tokens = 17;
  EXPECT_EQ(build(10).status().detail()->field, "min_tokens");
  EXPECT_FALSE(build(0).ok());
}

TEST(BuildSpecTest, StopTokensSeedAndScope) {
  const ServedModel model = Model();
  SystemEntropy entropy;
  GenerationRequest request;
  request.text = "x";
  request.stop_token_ids = {7, 7, 3};
  request.min_tokens = 2;
  request.seed = 42;
  request.cache_salt = "tenant";
  const HashKey key{1, 2};
  const auto spec = BuildSpec(request, {1, 2}, model, {key, {}}, entropy);
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->stop.stop_tokens, (std::vector<TokenId>{3, 7, ByteTokenizer::kEos}));
  EXPECT_EQ(spec->sampling.banned_until_min, spec->stop.stop_tokens);
  EXPECT_EQ(spec->sampling.seed, 42U);
  EXPECT_NE(spec->cache_scope, Hash128{});
  request.cache_salt = "other";
  EXPECT_NE(BuildSpec(request, {1, 2}, model, {key, {}}, entropy)->cache_scope, spec->cache_scope);
  request.cache_salt.reset();
  request.ignore_eos = true;
  request.seed.reset();
  const auto open = BuildSpec(request, {1, 2}, model, {key, {}}, entropy);
  EXPECT_EQ(open->stop.stop_tokens, (std::vector<TokenId>{3, 7}));
  EXPECT_EQ(open->cache_scope, Hash128{});
  EXPECT_NE(open->sampling.seed,
            BuildSpec(request, {1, 2}, model, {key, {}}, entropy)->sampling.seed);
}

TEST(BuildSpecTest, TenantsShareNoScope) {
  const ServedModel model = Model();
  SystemEntropy entropy;
  GenerationRequest request;
  request.text = "x";
  const HashKey key{1, 2};
  std::set<Hash128> scopes;
  // Each pair is another scope, however the two are put together.
  const std::vector<std::pair<std::string, std::optional<std::string>>> pairs = {
      {"", std::nullopt}, {"", ""},    {"", "a"},           {"a", std::nullopt},
      {"a", ""},          {"a", "a"},  {"a", "b"},          {"ab", ""},
      {"1:a", ""},        {"", "a:b"}, {"b", std::nullopt}, {"a:", "b"}};
  for (const auto& [tenant, salt] : pairs) {
    request.cache_salt = salt;
    const auto spec = BuildSpec(request, {1, 2}, model, {key, tenant}, entropy);
    ASSERT_TRUE(spec.ok());
    EXPECT_TRUE(scopes.insert(spec->cache_scope).second) << tenant << "/" << salt.value_or("-");
    EXPECT_EQ(BuildSpec(request, {1, 2}, model, {key, tenant}, entropy)->cache_scope,
              spec->cache_scope);
  }
}

TEST(RenderTest, ContinuesTheFinalMessage) {
  const ServedModel model = Model();
  const SystemClock clock;
  Chat chat = Valid();
  auto* last = chat.add_messages();
  last->set_role(v1::ROLE_ASSISTANT);
  last->add_content()->set_text("I was say");
  chat.set_continue_final_message(true);
  const auto request = Check(chat);
  ASSERT_TRUE(request.ok());
  const auto rendered = RenderAndEncode(*request, model, clock);
  ASSERT_TRUE(rendered.ok());
  std::string text;
  for (const TextSegment& segment : rendered->segments) text += segment.text;
  EXPECT_EQ(text, "[user]hi;[assistant]I was say");
}

TEST(RenderTest, UserTextIsNeverASpecialToken) {
  const ServedModel model = Model();
  const SystemClock clock;
  Chat chat = Valid();
  chat.mutable_messages(0)->mutable_content(0)->set_text("<eos>");
  const auto rendered = RenderAndEncode(*Check(chat), model, clock);
  ASSERT_TRUE(rendered.ok());
  EXPECT_THAT(rendered->tokens, testing::Not(testing::Contains(ByteTokenizer::kEos)));
}

}  // namespace
}  // namespace inferd
