// A tokenizer of bytes, a chat template and an engine that tests drive by hand.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "inferd/base/bounded_queue.h"
#include "inferd/engine/engine.h"
#include "inferd/text/chat_template.h"
#include "inferd/text/tokenizer.h"

namespace inferd {

// Ids below 256 are bytes; 256 "<bos>" and 257 "<eos>" are special, 258 is the
// word "hello", 259 is 1000 bytes long. Trusted text may contain the specials by name.
class ByteTokenizer final : public Tokenizer {
 public:
  static constexpr TokenId kBos = 256;
  static constexpr TokenId kEos = 257;
  static constexpr TokenId kHello = 258;
  static constexpr TokenId kLong = 259;
  static constexpr int32_t kVocab = 300;

  StatusOr<std::vector<TokenId>> Encode(std::span<const TextSegment> segments,
                                        bool add_special_tokens) const override;
  std::string_view TokenBytes(TokenId id) const override;
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens) const override;
  bool StripsLeadingSpace() const override { return false; }
  bool IsSpecial(TokenId id) const override { return id == kBos || id == kEos; }
  int32_t vocab_size() const override { return kVocab; }
  TokenId bos_id() const override { return kBos; }
  TokenId eos_id() const override { return kEos; }
  TokenId TokenToId(std::string_view content) const override;
};

// "[role]content;" per message, then "[assistant]"; every kwarg as "{name}". The
// kwarg "fail" makes it refuse.
class BracketTemplate final : public ChatTemplate {
 public:
  StatusOr<RenderedPrompt> Render(const nlohmann::ordered_json& messages,
                                  const nlohmann::ordered_json& tools,
                                  const nlohmann::ordered_json& kwargs,
                                  const Options& options) const override;
};

// Records what it is told; tests post the events. Thread-safe.
class FakeEngine final : public Engine {
 public:
  explicit FakeEngine(OutputSink& sink);
  ~FakeEngine() override;

  Status Submit(RequestSpec spec) override;
  void CancelRequest(RequestId id) override;
  void FinishChoice(RequestId id, int32_t choice) override;
  void SetQueueLimits(const QueueLimits&) override {}
  EngineStats Stats() const override;

  // What Submit answers from now on.
  void RefuseWith(Status status);
  // Called on the engine's thread for each request; its events are posted.
  using Script = std::function<std::vector<TokenEvent>(const RequestSpec&)>;
  void Play(Script script);
  // Posts from the engine's thread, as one batch.
  void Post(std::vector<TokenEvent> events);
  void SetStats(const EngineStats& stats);

  // Wait up to ten seconds.
  std::optional<RequestSpec> WaitForRequest();
  bool WaitForCancel(RequestId id);
  bool WaitForFinishChoice(RequestId id, int32_t choice);
  size_t submitted() const;

 private:
  template <typename Predicate>
  bool Wait(std::unique_lock<std::mutex>& lock, Predicate predicate) {
    return changed_.wait_for(lock, std::chrono::seconds(60), predicate);
  }
  OutputSink& sink_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Status refusal_;
  Script script_;
  EngineStats stats_;
  std::vector<RequestSpec> requests_;
  size_t taken_ = 0;
  std::set<RequestId> cancelled_;
  std::set<std::pair<RequestId, int32_t>> finished_choices_;
  BoundedQueue<std::function<void()>> work_{100'000};
  std::thread thread_;
};

TokenEvent Token(RequestId request, TokenId token, int32_t choice = 0);
TokenEvent End(RequestId request, FinishReason reason, TokenId token = -1, int32_t choice = 0);
// One event per byte of `text`, then the end.
std::vector<TokenEvent> TextEvents(RequestId request, const std::string& text, FinishReason reason,
                                   int32_t choice = 0);

}  // namespace inferd
