#include <set>
#include <string>

#include "inferd/openai/openai.h"
#include "openai/json_writer.h"

namespace inferd::openai {
namespace {

void WriteFinishReason(v1::FinishReason reason, JsonWriter* out) {
  out->Name("finish_reason");
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      out->String("stop");
      return;
    case v1::FINISH_REASON_LENGTH:
    case v1::FINISH_REASON_TIME_LIMIT:  // OpenAI's clients know no other
      out->String("length");
      return;
    case v1::FINISH_REASON_TOOL_CALLS:
      out->String("tool_calls");
      return;
    case v1::FINISH_REASON_CONTENT_FILTER:
      out->String("content_filter");
      return;
    default:
      out->Null();
  }
}

// vLLM's name for the string or token that ended a choice.
template <typename Choice>
void WriteStopReason(const Choice& choice, JsonWriter* out) {
  if (!choice.has_matched_stop()) return;
  out->Name("stop_reason");
  if (choice.matched_stop().stop_case() == v1::MatchedStop::kStopString) {
    out->String(choice.matched_stop().stop_string());
  } else {
    out->Int(choice.matched_stop().token_id());
  }
}

template <typename Ids>
void WriteIds(std::string_view name, const Ids& ids, JsonWriter* out) {
  out->Name(name).BeginArray();
  for (const uint32_t id : ids) out->Int(id);
  out->EndArray();
}

void WriteUsage(const v1::Usage& usage, JsonWriter* out) {
  out->Name("usage").BeginObject();
  out->Name("prompt_tokens").Int(usage.prompt_tokens());
  out->Name("completion_tokens").Int(usage.completion_tokens());
  out->Name("total_tokens").Int(usage.total_tokens());
  out->Name("prompt_tokens_details").BeginObject();
  out->Name("cached_tokens").Int(usage.prompt_tokens_details().cached_tokens());
  out->EndObject().EndObject();
}

// A chunk's usage: null where another chunk will have it, absent where none will.
template <typename Chunk>
void WriteChunkUsage(const Chunk& chunk, bool usage_asked, JsonWriter* out) {
  if (chunk.has_usage()) {
    WriteUsage(chunk.usage(), out);
  } else if (usage_asked) {
    out->Name("usage").Null();
  }
}

template <typename Answer>
void WriteHead(std::string_view object, const Answer& answer, JsonWriter* out) {
  out->Name("id").String(answer.id());
  out->Name("object").String(object);
  out->Name("created").Int(answer.created());
  out->Name("model").String(answer.model());
  if (answer.has_system_fingerprint()) {
    out->Name("system_fingerprint").String(answer.system_fingerprint());
  }
}

// --- chat

template <typename Entry>
void WriteLogprob(const Entry& entry, JsonWriter* out) {
  out->Name("token").String(entry.token());
  out->Name("logprob").Float(entry.logprob());
  out->Name("bytes").BeginArray();
  for (const char c : entry.bytes()) out->Int(static_cast<unsigned char>(c));
  out->EndArray();
}

template <typename Choice>
void WriteChatLogprobs(const Choice& choice, JsonWriter* out) {
  out->Name("logprobs");
  if (!choice.has_logprobs()) {
    out->Null();
    return;
  }
  out->BeginObject().Name("content").BeginArray();
  for (const v1::TokenLogprob& entry : choice.logprobs().content()) {
    out->BeginObject();
    WriteLogprob(entry, out);
    out->Name("top_logprobs").BeginArray();
    for (const v1::TopLogprob& top : entry.top_logprobs()) {
      out->BeginObject();
      WriteLogprob(top, out);
      out->EndObject();
    }
    out->EndArray().EndObject();
  }
  out->EndArray().Name("refusal").Null().EndObject();
}

void WriteToolCalls(const v1::AssistantMessage& message, JsonWriter* out) {
  if (message.tool_calls_size() == 0) return;
  out->Name("tool_calls").BeginArray();
  for (const v1::ToolCall& call : message.tool_calls()) {
    out->BeginObject().Name("id").String(call.id()).Name("type").String("function");
    out->Name("function").BeginObject().Name("name").String(call.function().name());
    out->Name("arguments").String(call.function().arguments()).EndObject().EndObject();
  }
  out->EndArray();
}

void WriteToolDeltas(const v1::ChoiceDelta& delta, JsonWriter* out) {
  if (delta.tool_calls_size() == 0) return;
  out->Name("tool_calls").BeginArray();
  for (const v1::ToolCallDelta& call : delta.tool_calls()) {
    out->BeginObject().Name("index").Int(call.index());
    if (call.has_id()) out->Name("id").String(call.id()).Name("type").String("function");
    if (call.has_function()) {
      out->Name("function").BeginObject();
      if (call.function().has_name()) out->Name("name").String(call.function().name());
      if (call.function().has_arguments()) {
        out->Name("arguments").String(call.function().arguments());
      }
      out->EndObject();
    }
    out->EndObject();
  }
  out->EndArray();
}

void WriteMessage(const v1::AssistantMessage& message, JsonWriter* out) {
  out->Name("message").BeginObject().Name("role").String("assistant").Name("content");
  if (message.has_content()) {
    out->String(message.content());
  } else {
    out->Null();
  }
  out->Name("refusal");
  if (message.has_refusal()) {
    out->String(message.refusal());
  } else {
    out->Null();
  }
  if (message.has_reasoning_content()) {
    out->Name("reasoning_content").String(message.reasoning_content());
  }
  WriteToolCalls(message, out);
  out->EndObject();
}

void WriteDelta(const v1::ChoiceDelta& delta, JsonWriter* out) {
  out->Name("delta").BeginObject();
  if (delta.has_role()) out->Name("role").String("assistant");
  if (delta.has_content()) out->Name("content").String(delta.content());
  if (delta.has_refusal()) out->Name("refusal").String(delta.refusal());
  if (delta.has_reasoning_content()) {
    out->Name("reasoning_content").String(delta.reasoning_content());
  }
  WriteToolDeltas(delta, out);
  out->EndObject();
}

template <typename Choice>
void WriteChoiceEnd(const Choice& choice, JsonWriter* out) {
  WriteFinishReason(choice.finish_reason(), out);
  WriteStopReason(choice, out);
  if (choice.token_ids_size() > 0) WriteIds("token_ids", choice.token_ids(), out);
  out->EndObject();
}

// --- completions

// The characters that begin in these bytes.
int64_t CountCharacters(std::string_view bytes) {
  int64_t count = 0;
  for (const char c : bytes) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

// {token: logprob}, the drawn token among them. Two tokens that look the same (pieces
// of characters do) share a name: the first, which is likelier, keeps it.
void WriteTop(const v1::TokenLogprob& entry, JsonWriter* out) {
  std::set<std::string_view> seen;
  out->BeginObject();
  for (const v1::TopLogprob& top : entry.top_logprobs()) {
    if (seen.insert(top.token()).second) out->Name(top.token()).Float(top.logprob());
  }
  if (seen.insert(entry.token()).second) out->Name(entry.token()).Float(entry.logprob());
  out->EndObject();
}

void WriteLegacyLogprobs(const v1::CompletionChoice& choice, TextOffsets* offsets,
                         JsonWriter* out) {
  out->Name("logprobs");
  if (choice.logprobs_size() == 0) {
    out->Null();
    return;
  }
  out->BeginObject().Name("tokens").BeginArray();
  for (const v1::TokenLogprob& entry : choice.logprobs()) out->String(entry.token());
  out->EndArray().Name("token_logprobs").BeginArray();
  for (const v1::TokenLogprob& entry : choice.logprobs()) out->Float(entry.logprob());
  out->EndArray().Name("top_logprobs").BeginArray();
  for (const v1::TokenLogprob& entry : choice.logprobs()) WriteTop(entry, out);
  out->EndArray().Name("text_offset").BeginArray();
  int64_t& offset = offsets->next[choice.index()];
  for (const v1::TokenLogprob& entry : choice.logprobs()) {
    out->Int(offset);
    offset += CountCharacters(entry.bytes());
  }
  out->EndArray().EndObject();
}

template <typename Answer>
void WriteCompletionChoices(const Answer& answer, TextOffsets* offsets, JsonWriter* out) {
  out->Name("choices").BeginArray();
  for (const v1::CompletionChoice& choice : answer.choices()) {
    out->BeginObject().Name("text").String(choice.text());
    out->Name("index").Int(choice.index());
    WriteLegacyLogprobs(choice, offsets, out);
    WriteChoiceEnd(choice, out);
  }
  out->EndArray();
}

}  // namespace

std::string ToJson(const v1::ChatCompletion& answer) {
  JsonWriter out;
  out.BeginObject();
  WriteHead("chat.completion", answer, &out);
  if (answer.has_service_tier()) out.Name("service_tier").String(answer.service_tier());
  out.Name("choices").BeginArray();
  for (const v1::ChatChoice& choice : answer.choices()) {
    out.BeginObject().Name("index").Int(choice.index());
    WriteMessage(choice.message(), &out);
    WriteChatLogprobs(choice, &out);
    WriteChoiceEnd(choice, &out);
  }
  out.EndArray();
  if (answer.prompt_token_ids_size() > 0) {
    WriteIds("prompt_token_ids", answer.prompt_token_ids(), &out);
  }
  WriteUsage(answer.usage(), &out);
  return out.EndObject().Take();
}

std::string ToJson(const v1::ChatCompletionChunk& chunk, bool usage_asked) {
  JsonWriter out;
  out.BeginObject();
  WriteHead("chat.completion.chunk", chunk, &out);
  if (chunk.has_service_tier()) out.Name("service_tier").String(chunk.service_tier());
  out.Name("choices").BeginArray();
  for (const v1::ChunkChoice& choice : chunk.choices()) {
    out.BeginObject().Name("index").Int(choice.index());
    WriteDelta(choice.delta(), &out);
    WriteChatLogprobs(choice, &out);
    WriteChoiceEnd(choice, &out);
  }
  out.EndArray();
  if (chunk.prompt_token_ids_size() > 0) {
    WriteIds("prompt_token_ids", chunk.prompt_token_ids(), &out);
  }
  WriteChunkUsage(chunk, usage_asked, &out);
  return out.EndObject().Take();
}

std::string ToJson(const v1::Completion& answer) {
  JsonWriter out;
  TextOffsets offsets;
  out.BeginObject();
  WriteHead("text_completion", answer, &out);
  WriteCompletionChoices(answer, &offsets, &out);
  WriteUsage(answer.usage(), &out);
  return out.EndObject().Take();
}

std::string ToJson(const v1::CompletionChunk& chunk, bool usage_asked, TextOffsets* offsets) {
  JsonWriter out;
  out.BeginObject();
  WriteHead("text_completion", chunk, &out);
  WriteCompletionChoices(chunk, offsets, &out);
  WriteChunkUsage(chunk, usage_asked, &out);
  return out.EndObject().Take();
}

}  // namespace inferd::openai
