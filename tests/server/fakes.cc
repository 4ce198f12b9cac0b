#include "fakes.h"

#include <array>

namespace inferd {
namespace {

constexpr std::string_view kBosText = "<bos>";
constexpr std::string_view kEosText = "<eos>";
constexpr std::string_view kHelloText = "hello";

const std::array<char, 256>& AllBytes() {
  static const std::array<char, 256> bytes = [] {
    std::array<char, 256> all{};
    for (int i = 0; i < 256; ++i) all[static_cast<size_t>(i)] = static_cast<char>(i);
    return all;
  }();
  return bytes;
}

}  // namespace

StatusOr<std::vector<TokenId>> ByteTokenizer::Encode(std::span<const TextSegment> segments,
                                                     bool add_special_tokens) const {
  std::vector<TokenId> ids;
  if (add_special_tokens) ids.push_back(kBos);
  for (const TextSegment& segment : segments) {
    std::string_view rest = segment.text;
    while (!rest.empty()) {
      if (segment.trusted && rest.substr(0, kEosText.size()) == kEosText) {
        ids.push_back(kEos);
        rest.remove_prefix(kEosText.size());
        continue;
      }
      ids.push_back(static_cast<unsigned char>(rest.front()));
      rest.remove_prefix(1);
    }
  }
  return ids;
}

std::string_view ByteTokenizer::TokenBytes(TokenId id) const {
  if (id >= 0 && id < 256) return {&AllBytes()[static_cast<size_t>(id)], 1};
  if (id == kBos) return kBosText;
  if (id == kEos) return kEosText;
  if (id == kHello) return kHelloText;
  if (id == kLong) {
    static const std::string text(1000, 'y');
    return text;
  }
  return {};
}

std::string ByteTokenizer::Decode(std::span<const TokenId> ids, bool skip_special_tokens) const {
  std::string text;
  for (const TokenId id : ids) {
    if (!(skip_special_tokens && IsSpecial(id))) text += TokenBytes(id);
  }
  return text;
}

TokenId ByteTokenizer::TokenToId(std::string_view content) const {
  if (content == kBosText) return kBos;
  if (content == kEosText) return kEos;
  return content == kHelloText ? kHello : -1;
}

StatusOr<RenderedPrompt> BracketTemplate::Render(const nlohmann::ordered_json& messages,
                                                 const nlohmann::ordered_json&,
                                                 const nlohmann::ordered_json& kwargs,
                                                 const Options& options) const {
  RenderedPrompt prompt;
  if (kwargs.contains("fail")) {
    return InvalidField("messages", "the template refuses", "CHAT_TEMPLATE_ERROR");
  }
  for (const auto& [name, value] : kwargs.items()) prompt.push_back({"{" + name + "}", true});
  for (const auto& message : messages) {
    prompt.push_back({"[" + message["role"].get<std::string>() + "]", true});
    prompt.push_back({message["content"].get<std::string>(), false});
    prompt.push_back({";", true});
  }
  if (options.add_generation_prompt) prompt.push_back({"[assistant]", true});
  return prompt;
}

FakeEngine::FakeEngine(OutputSink& sink) : sink_(sink) {
  thread_ = std::thread([this] {
    while (auto work = work_.Pop()) (*work)();
  });
}

FakeEngine::~FakeEngine() {
  work_.Close();
  thread_.join();
}

Status FakeEngine::Submit(RequestSpec spec) {
  std::lock_guard lock(mutex_);
  if (!refusal_.ok()) return refusal_;
  if (script_) {
    auto play = [this, script = script_, spec] { sink_.Post(script(spec)); };
    if (!work_.TryPush(std::move(play))) return InternalError("the fake's queue is full");
  }
  requests_.push_back(std::move(spec));
  changed_.notify_all();
  return OkStatus();
}

void FakeEngine::CancelRequest(RequestId id) {
  std::lock_guard lock(mutex_);
  cancelled_.insert(id);
  changed_.notify_all();
}

void FakeEngine::FinishChoice(RequestId id, int32_t choice) {
  std::lock_guard lock(mutex_);
  finished_choices_.insert({id, choice});
  changed_.notify_all();
}

EngineStats FakeEngine::Stats() const {
  std::lock_guard lock(mutex_);
  return stats_;
}

void FakeEngine::RefuseWith(Status status) {
  std::lock_guard lock(mutex_);
  refusal_ = std::move(status);
}

void FakeEngine::Play(Script script) {
  std::lock_guard lock(mutex_);
  script_ = std::move(script);
}

void FakeEngine::Post(std::vector<TokenEvent> events) {
  auto shared = std::make_shared<std::vector<TokenEvent>>(std::move(events));
  work_.TryPush([this, shared] { sink_.Post(std::move(*shared)); });
}

void FakeEngine::SetStats(const EngineStats& stats) {
  std::lock_guard lock(mutex_);
  stats_ = stats;
}

std::optional<RequestSpec> FakeEngine::WaitForRequest() {
  std::unique_lock lock(mutex_);
  if (!Wait(lock, [this] { return requests_.size() > taken_; })) return std::nullopt;
  return requests_[taken_++];
}

bool FakeEngine::WaitForCancel(RequestId id) {
  std::unique_lock lock(mutex_);
  return Wait(lock, [&] { return cancelled_.count(id) > 0; });
}

bool FakeEngine::WaitForFinishChoice(RequestId id, int32_t choice) {
  std::unique_lock lock(mutex_);
  return Wait(lock, [&] { return finished_choices_.count({id, choice}) > 0; });
}

size_t FakeEngine::submitted() const {
  std::lock_guard lock(mutex_);
  return requests_.size();
}

TokenEvent Token(RequestId request, TokenId token, int32_t choice) {
  TokenEvent event;
  event.request = request;
  event.choice = choice;
  event.token = token;
  return event;
}

TokenEvent End(RequestId request, FinishReason reason, TokenId token, int32_t choice) {
  TokenEvent event = Token(request, token, choice);
  event.finish = reason;
  return event;
}

std::vector<TokenEvent> TextEvents(RequestId request, const std::string& text, FinishReason reason,
                                   int32_t choice) {
  std::vector<TokenEvent> events;
  for (const char c : text) {
    events.push_back(Token(request, static_cast<unsigned char>(c), choice));
  }
  const TokenId last = reason == FinishReason::kStopToken ? ByteTokenizer::kEos : -1;
  events.push_back(End(request, reason, last, choice));
  return events;
}

}  // namespace inferd
