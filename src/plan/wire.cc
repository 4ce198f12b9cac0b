#include "inferd/plan/wire.h"

#include <utility>

#include "plan/byte_reader.h"
#include "plan/byte_writer.h"

namespace inferd {
namespace {

constexpr uint32_t kPlanMagic = 0x316e'6c70;    // "pln1": the version is part of it
constexpr uint32_t kResultMagic = 0x3173'6572;  // "res1"

// The least that one of each takes.
constexpr size_t kBiasBytes = sizeof(TokenId) + sizeof(float);
constexpr size_t kAdmittedBytes = 76;
constexpr size_t kEntryBytes = 24;
constexpr size_t kOutputBytes = 21;
constexpr size_t kLogprobBytes = 8;
constexpr size_t kMetadataBytes = 16;

bool InRange(int64_t first, int64_t count, size_t size) {
  return first >= 0 && count >= 0 && first + count <= static_cast<int64_t>(size);
}

bool IsFlag(uint8_t value) { return value <= 1; }

void PutSampling(ByteWriter& out, const SamplingParams& sampling) {
  out.Put(sampling.temperature);
  out.Put(sampling.top_k);
  out.Put(sampling.top_p);
  out.Put(sampling.min_p);
  out.Put(sampling.repetition_penalty);
  out.Put(sampling.presence_penalty);
  out.Put(sampling.frequency_penalty);
  out.PutCount(sampling.logit_bias.size());
  for (const auto& [token, bias] : sampling.logit_bias) {
    out.Put(token);
    out.Put(bias);
  }
  out.Put(sampling.min_tokens);
  out.PutAll(sampling.banned_until_min);
  out.Put(sampling.seed);
  out.Put(sampling.logprobs);
}

SamplingParams TakeSampling(ByteReader& in) {
  SamplingParams sampling;
  sampling.temperature = in.Take<float>();
  sampling.top_k = in.Take<int32_t>();
  sampling.top_p = in.Take<float>();
  sampling.min_p = in.Take<float>();
  sampling.repetition_penalty = in.Take<float>();
  sampling.presence_penalty = in.Take<float>();
  sampling.frequency_penalty = in.Take<float>();
  sampling.logit_bias.resize(in.TakeCount(kBiasBytes));
  for (auto& [token, bias] : sampling.logit_bias) {
    token = in.Take<TokenId>();
    bias = in.Take<float>();
  }
  sampling.min_tokens = in.Take<int32_t>();
  sampling.banned_until_min = in.TakeAll<TokenId>();
  sampling.seed = in.Take<uint64_t>();
  sampling.logprobs = in.Take<int32_t>();
  return sampling;
}

void PutEntry(ByteWriter& out, const StepEntry& entry) {
  out.Put(entry.slot);
  out.Put(entry.start);
  out.Put(entry.count);
  out.Put(entry.first_new_block);
  out.Put(entry.num_new_blocks);
  out.Put(entry.sample);
  out.Put(entry.input_on_device);
  out.Put(entry.input_token);
}

StepEntry TakeEntry(ByteReader& in) {
  StepEntry entry;
  entry.slot = in.Take<SlotId>();
  entry.start = in.Take<int32_t>();
  entry.count = in.Take<int32_t>();
  entry.first_new_block = in.Take<int32_t>();
  entry.num_new_blocks = in.Take<uint16_t>();
  entry.sample = in.Take<uint8_t>();
  entry.input_on_device = in.Take<uint8_t>();
  entry.input_token = in.Take<TokenId>();
  in.Require(IsFlag(entry.sample) && IsFlag(entry.input_on_device));
  return entry;
}

void PutStatus(ByteWriter& out, const Status& status) {
  out.Put(static_cast<int32_t>(status.code()));
  out.PutText(status.message());
  const ErrorDetail* const detail = status.detail();
  out.PutBool(detail != nullptr);
  if (detail == nullptr) return;
  out.PutText(detail->reason);
  out.PutText(detail->field);
  out.Put(detail->retry_after_ms);
  out.PutCount(detail->metadata.size());
  for (const auto& [key, value] : detail->metadata) {
    out.PutText(key);
    out.PutText(value);
  }
}

Status TakeStatus(ByteReader& in) {
  const auto code = in.Take<int32_t>();
  in.Require(code >= 0 && code <= static_cast<int32_t>(StatusCode::kUnauthenticated));
  std::string message = in.TakeText();
  const bool has_detail = in.TakeBool();
  ErrorDetail detail;
  if (has_detail) {
    detail.reason = in.TakeText();
    detail.field = in.TakeText();
    detail.retry_after_ms = in.Take<int64_t>();
    detail.metadata.resize(in.TakeCount(kMetadataBytes));
    for (auto& [key, value] : detail.metadata) {
      key = in.TakeText();
      value = in.TakeText();
    }
  }
  // A success says nothing more.
  in.Require(code != 0 || (message.empty() && !has_detail));
  if (!in.ok() || code == 0) return OkStatus();
  const auto status_code = static_cast<StatusCode>(code);
  if (has_detail) return Status(status_code, message, std::move(detail));
  return Status(status_code, message);
}

Status Malformed(const char* what) {
  return Status(StatusCode::kDataLoss, std::string("not the bytes of a ") + what);
}

}  // namespace

void EncodePlan(const BatchPlan& plan, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.Put(kPlanMagic);
  writer.Put(plan.step);
  writer.PutAll(plan.released);
  writer.PutAll(plan.new_blocks);
  writer.PutAll(plan.tokens);
  writer.PutCount(plan.admitted.size());
  for (const AdmittedSequence& admitted : plan.admitted) {
    writer.Put(admitted.slot);
    writer.Put(admitted.first_token);
    writer.Put(admitted.num_tokens);
    writer.Put(admitted.num_prompt);
    PutSampling(writer, admitted.sampling);
  }
  writer.PutCount(plan.entries.size());
  for (const StepEntry& entry : plan.entries) PutEntry(writer, entry);
}

StatusOr<BatchPlan> DecodePlan(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  in.Require(in.Take<uint32_t>() == kPlanMagic);
  BatchPlan plan;
  plan.step = in.Take<StepId>();
  plan.released = in.TakeAll<SlotId>();
  plan.new_blocks = in.TakeAll<BlockId>();
  plan.tokens = in.TakeAll<TokenId>();
  const size_t admitted = in.TakeCount(kAdmittedBytes);
  plan.admitted.reserve(admitted);
  for (size_t i = 0; i < admitted && in.ok(); ++i) {
    AdmittedSequence& sequence = plan.admitted.emplace_back();
    sequence.slot = in.Take<SlotId>();
    sequence.first_token = in.Take<int32_t>();
    sequence.num_tokens = in.Take<int32_t>();
    sequence.num_prompt = in.Take<int32_t>();
    sequence.sampling = TakeSampling(in);
    in.Require(InRange(sequence.first_token, sequence.num_tokens, plan.tokens.size()));
  }
  const size_t entries = in.TakeCount(kEntryBytes);
  plan.entries.reserve(entries);
  for (size_t i = 0; i < entries && in.ok(); ++i) {
    const StepEntry entry = TakeEntry(in);
    in.Require(InRange(entry.first_new_block, entry.num_new_blocks, plan.new_blocks.size()));
    plan.entries.push_back(entry);
  }
  if (!in.AtEnd()) return Malformed("plan");
  return plan;
}

void EncodeResult(const StepResult& result, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.Put(kResultMagic);
  writer.Put(result.step);
  writer.PutCount(result.top.size());
  for (const TokenLogprob& top : result.top) {
    writer.Put(top.token);
    writer.Put(top.logprob);
  }
  writer.PutCount(result.outputs.size());
  for (const StepOutput& output : result.outputs) {
    writer.Put(output.slot);
    writer.Put(output.token);
    writer.Put(output.logprob);
    writer.Put(output.first_top);
    writer.Put(output.num_top);
    writer.PutBool(output.corrupted);
  }
  writer.PutAll(result.stage_us);
  writer.Put(result.device_us);
  PutStatus(writer, result.error);
}

StatusOr<StepResult> DecodeResult(std::span<const std::byte> bytes, TokenId vocab_size) {
  ByteReader in(bytes);
  in.Require(in.Take<uint32_t>() == kResultMagic);
  StepResult result;
  result.step = in.Take<StepId>();
  result.top.resize(in.TakeCount(kLogprobBytes));
  for (TokenLogprob& top : result.top) {
    top.token = in.Take<TokenId>();
    in.Require(top.token < vocab_size);
    top.logprob = in.Take<float>();
  }
  result.outputs.resize(in.TakeCount(kOutputBytes));
  for (StepOutput& output : result.outputs) {
    output.slot = in.Take<SlotId>();
    output.token = in.Take<TokenId>();
    in.Require(output.token < vocab_size);
    output.logprob = in.Take<float>();
    output.first_top = in.Take<int32_t>();
    output.num_top = in.Take<int32_t>();
    output.corrupted = in.TakeBool();
    in.Require(InRange(output.first_top, output.num_top, result.top.size()));
  }
  result.stage_us = in.TakeAll<int64_t>();
  result.device_us = in.Take<int64_t>();
  in.Require(result.device_us >= -1);
  result.error = TakeStatus(in);
  if (!in.AtEnd()) return Malformed("result");
  return result;
}

}  // namespace inferd
