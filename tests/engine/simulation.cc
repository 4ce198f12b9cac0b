#include "engine/simulation.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "engine/engine_core.h"

namespace inferd::testing {
namespace {

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(Mix(seed, 0x64696365)) {}
  int64_t Between(int64_t low, int64_t high) {
    state_ += 0x9e3779b97f4a7c15;
    return low + static_cast<int64_t>(Mix(state_, 2) % static_cast<uint64_t>(high - low + 1));
  }
  bool OneIn(int64_t n) { return Between(1, n) == 1; }

 private:
  uint64_t state_;
};

struct Client {
  RequestSpec spec;
  int64_t arrives = 0;            // turn
  int64_t cancels = -1;           // turn; -1: never
  int32_t cancelled_choice = -1;  // -1: all of them
  bool was_cancelled = false;
  bool accepted = false;
  struct Choice {
    std::vector<TokenId> tokens;
    FinishReason finish = FinishReason::kNone;
  };
  std::vector<Choice> choices;
};

uint64_t SaltOf(const Hash128& scope) { return Mix(scope.lo, scope.hi) >> 1; }

struct Workload {
  EngineOptions options;
  ToyModel model;
  std::vector<Client> clients;
  bool preemptions_are_limited = false;
  uint64_t die_one_in = 0;  // as FakeRanks
  size_t poison = 0;        // the client whose first choice kills the ranks; 0: none
};

// Of its own dice: workloads without losses stay what they are.
void AddLosses(uint64_t seed, Workload* w) {
  Dice dice(Mix(seed, 0x6c6f7373));
  if (!dice.OneIn(3)) return;
  w->options.resume = !dice.OneIn(4);
  if (dice.OneIn(3)) {
    w->poison = static_cast<size_t>(dice.Between(1, static_cast<int64_t>(w->clients.size())));
    w->options.max_rank_losses = static_cast<int32_t>(dice.Between(2, 4));
  } else {
    w->die_one_in = static_cast<uint64_t>(dice.Between(20, 120));
    w->options.max_rank_losses = dice.OneIn(4) ? 4 : 1'000'000;
  }
}

Workload MakeWorkload(uint64_t seed, int depth) {
  Dice dice(seed);
  Workload w;
  EngineOptions& o = w.options;
  o.depth = depth;
  o.block_size = static_cast<int32_t>(dice.Between(1, 5));
  o.max_model_len = static_cast<int32_t>(dice.Between(8, 40));
  const int64_t blocks_per_sequence = (o.max_model_len + o.block_size - 1) / o.block_size;
  o.num_blocks = static_cast<int32_t>(
      1 + std::max<int64_t>((2 + o.block_size) / o.block_size,
                            dice.Between(blocks_per_sequence / 2, blocks_per_sequence * 3)));
  o.max_running = static_cast<int32_t>(dice.Between(1, 8));
  o.max_batched_tokens =
      static_cast<int32_t>(dice.OneIn(3) ? dice.Between(1, 4) : dice.Between(4, 48));
  o.prefix_caching = !dice.OneIn(5);
  w.preemptions_are_limited = dice.OneIn(8);
  o.max_preemptions = w.preemptions_are_limited ? static_cast<int32_t>(dice.Between(0, 2)) : 1000;
  if (dice.OneIn(8)) o.queue.max_requests = static_cast<int32_t>(dice.Between(1, 4));
  if (dice.OneIn(8)) o.queue.max_tokens = dice.Between(4, 64);
  if (dice.OneIn(8)) o.queue.max_time_us = dice.Between(0, 4000);
  if (dice.OneIn(4)) w.model.corrupt_one_in = 40;
  w.model.vocab = static_cast<int32_t>(dice.Between(4, 32));

  // Prompts are strings of a few pieces: they share prefixes, and equal pieces also
  // follow different beginnings.
  std::vector<std::vector<TokenId>> pieces(static_cast<size_t>(dice.Between(1, 4)));
  for (auto& piece : pieces) {
    const bool aligned = dice.OneIn(2);
    piece.resize(
        static_cast<size_t>(aligned ? o.block_size * dice.Between(1, 3) : dice.Between(1, 9)));
    for (TokenId& token : piece) token = static_cast<TokenId>(dice.Between(0, w.model.vocab - 1));
  }
  const int32_t max_len = std::min(o.max_model_len, (o.num_blocks - 1) * o.block_size);
  const bool priorities = dice.OneIn(3), deadlines = dice.OneIn(3), cancels = dice.OneIn(2);
  if (priorities) {
    o.priority_step_us = dice.OneIn(2) ? dice.Between(1, 2000) : 0;
    o.priority_limit_us = dice.Between(0, 4000);
  }
  const int64_t num_scopes = dice.OneIn(3) ? 2 : 1;
  const int64_t spread = dice.OneIn(3) ? 0 : dice.Between(1, 60);
  w.clients.resize(static_cast<size_t>(dice.Between(2, 12)));
  for (size_t i = 0; i < w.clients.size(); ++i) {
    Client& c = w.clients[i];
    RequestSpec& spec = c.spec;
    spec.id = i + 1;
    const auto length = static_cast<size_t>(dice.Between(1, max_len - 1));
    while (spec.prompt.size() < length && (spec.prompt.empty() || !dice.OneIn(4))) {
      const auto& piece =
          pieces[static_cast<size_t>(dice.Between(0, static_cast<int64_t>(pieces.size()) - 1))];
      spec.prompt.insert(spec.prompt.end(), piece.begin(), piece.end());
    }
    spec.prompt.resize(std::min(spec.prompt.size(), length));
    spec.num_choices = dice.OneIn(4) ? static_cast<int32_t>(dice.Between(2, 4)) : 1;
    spec.sampling.seed = Mix(seed, 1000 + i);
    spec.stop.max_new_tokens = static_cast<int32_t>(dice.Between(1, 24));
    for (int64_t n = dice.Between(0, 2); n > 0; --n) {
      spec.stop.stop_tokens.push_back(static_cast<TokenId>(dice.Between(0, w.model.vocab - 1)));
    }
    if (priorities) spec.priority = static_cast<int32_t>(dice.Between(-1, 1));
    if (deadlines && dice.OneIn(3)) {
      spec.deadline_us = dice.Between(0, 8000);
      spec.deadline_is_soft = dice.OneIn(2);
    }
    spec.tenant = static_cast<TenantId>(dice.Between(0, num_scopes == 1 ? 0 : 3));
    spec.cache_scope = {static_cast<uint64_t>(dice.Between(1, num_scopes)), 7};
    c.arrives = dice.Between(0, spread);
    if (cancels && dice.OneIn(3)) {
      c.cancels = c.arrives + dice.Between(0, 30);
      if (dice.OneIn(2)) {
        c.cancelled_choice = static_cast<int32_t>(dice.Between(0, spec.num_choices - 1));
      }
    }
    c.choices.resize(static_cast<size_t>(spec.num_choices));
  }
  return w;
}

// Collects what clients are told and notices what they must never be told.
class Listener final : public OutputSink {
 public:
  explicit Listener(std::vector<Client>& clients) : clients_(clients) {}
  void Post(std::vector<TokenEvent>&& events) override {
    if (events.empty()) Complain("an empty post");
    for (const TokenEvent& e : events) {
      ++num_events_;
      if (e.request < 1 || e.request > clients_.size()) {
        Complain("an event for a request that never was");
        continue;
      }
      Client& c = clients_[e.request - 1];
      if (e.choice < 0 || e.choice >= c.spec.num_choices) {
        Complain("an event for a choice that never was");
        continue;
      }
      Client::Choice& choice = c.choices[static_cast<size_t>(e.choice)];
      if (choice.finish != FinishReason::kNone) Complain("an event after the end");
      if (e.token < 0 && e.finish == FinishReason::kNone) Complain("an event about nothing");
      if (e.token >= 0) choice.tokens.push_back(e.token);
      choice.finish = e.finish;
    }
  }
  uint64_t num_events() const { return num_events_; }
  const Status& complaint() const { return complaint_; }

 private:
  void Complain(const char* what) {
    if (complaint_.ok()) complaint_ = InternalError(what);
  }
  std::vector<Client>& clients_;
  uint64_t num_events_ = 0;
  Status complaint_;
};

std::string Name(const Client& client, size_t choice) {
  return "request " + std::to_string(client.spec.id) + " choice " + std::to_string(choice);
}

Status CheckChoice(const Workload& w, const Client& c, size_t i, int32_t max_len) {
  const Client::Choice& choice = c.choices[i];
  const OracleText oracle =
      RunOracle(w.model, c.spec.prompt, ChoiceSeed(c.spec.sampling.seed, static_cast<int32_t>(i)),
                SaltOf(c.spec.cache_scope), c.spec.stop, max_len);
  const bool is_prefix =
      choice.tokens.size() <= oracle.tokens.size() &&
      std::equal(choice.tokens.begin(), choice.tokens.end(), oracle.tokens.begin());
  if (!is_prefix) return InternalError(Name(c, i) + ": the text is wrong");
  switch (choice.finish) {
    case FinishReason::kStopToken:
    case FinishReason::kLength:
    case FinishReason::kCorrupted:
      if (choice.finish != oracle.finish || choice.tokens.size() != oracle.tokens.size()) {
        return InternalError(Name(c, i) + ": ended at the wrong place");
      }
      return OkStatus();
    case FinishReason::kCancelled:
      if (c.was_cancelled && (c.cancelled_choice < 0 || c.cancelled_choice == static_cast<int>(i)))
        return OkStatus();
      break;
    case FinishReason::kDeadline:
      if (c.spec.deadline_us >= 0) return OkStatus();
      break;
    case FinishReason::kPreempted:
      if (w.preemptions_are_limited) return OkStatus();
      break;
    case FinishReason::kQueueTimeout:
      if (w.options.queue.max_time_us >= 0 && choice.tokens.empty()) return OkStatus();
      break;
    case FinishReason::kNone:
      return InternalError(Name(c, i) + ": never ended");
    case FinishReason::kRanksLost:
      if (!w.options.resume && !choice.tokens.empty()) return OkStatus();
      break;
    case FinishReason::kPoison:
      if (w.poison != 0 ? c.spec.id == w.poison && i == 0 : w.die_one_in != 0) return OkStatus();
      break;
    case FinishReason::kEngineDead:
      break;
  }
  return InternalError(Name(c, i) + ": ended for reason " +
                       std::to_string(static_cast<int>(choice.finish)) + " without cause");
}

// P4: the same plans on an empty rank, in order, give the same tokens.
Status CheckReplay(const FakeRanks::Options& ranks, const FakeRanks& original) {
  FakeRanks::Options options = ranks;
  options.order = FakeRanks::Order::kInOrder;
  options.seed = ranks.seed + 1;
  options.die_one_in = options.poison_seed = 0;
  FakeRanks replay(options);
  for (const auto& plan : original.log()) {
    replay.Submit(plan);
    const StepResult result = replay.Await();
    INFERD_RETURN_IF_ERROR(result.error);
  }
  return original.HistoriesDiffer(replay) ? InternalError("a replay of the plans differs (P4)")
                                          : OkStatus();
}

}  // namespace

Status RunSimulation(const SimulationOptions& sim, SimulationTotals& totals) {
  Workload w = MakeWorkload(sim.seed, sim.depth);
  if (sim.losses) AddLosses(sim.seed, &w);
  Dice dice(Mix(sim.seed, static_cast<uint64_t>(sim.depth)));
  std::map<uint64_t, uint64_t> salts;
  for (const Client& c : w.clients) {
    for (int32_t i = 0; i < c.spec.num_choices; ++i) {
      salts[ChoiceSeed(c.spec.sampling.seed, i)] = SaltOf(c.spec.cache_scope);
    }
  }
  FakeRanks::Options ranks_options;
  if (sim.pipeline) w.options.micro_batches = sim.depth;
  ranks_options.tokens_from_plans = sim.pipeline;
  const EngineOptions& o = w.options;
  ranks_options.limits = {o.num_blocks, o.block_size, o.max_running, o.max_batched_tokens,
                          o.max_model_len};
  ranks_options.depth = sim.depth;
  ranks_options.order =
      sim.any_order ? (dice.OneIn(2) ? FakeRanks::Order::kRandom : FakeRanks::Order::kNewestFirst)
                    : sim.order;
  ranks_options.seed = sim.seed;
  ranks_options.check_plans = sim.check_plans;
  ranks_options.model = w.model;
  ranks_options.salt = [&salts](uint64_t seed) {
    const auto place = salts.find(seed);
    return place == salts.end() ? 0 : place->second;
  };
  ranks_options.die_one_in = w.die_one_in;
  if (w.poison != 0) {
    ranks_options.poison_seed = ChoiceSeed(w.clients[w.poison - 1].spec.sampling.seed, 0);
  }
  FakeRanks ranks(ranks_options);
  Listener listener(w.clients);
  ManualClock clock;
  EngineCore core(o, ranks, listener, clock, HashKey{sim.seed, 1}, nullptr, sim.faults);
  const int32_t max_len = std::min(o.max_model_len, (o.num_blocks - 1) * o.block_size);

  InboxBatch batch;
  int64_t last_action = 0;
  for (const Client& c : w.clients) last_action = std::max({last_action, c.arrives, c.cancels});
  // A step computes at least one token, and no history is longer than 40.
  const uint64_t patience = 8 * 40 * 5 * (w.die_one_in != 0 ? 50 : 1);
  uint64_t last_event_turn = 0, num_events = 0;
  for (int64_t turn = 0; turn <= last_action || !core.idle(); ++turn) {
    ++totals.turns;
    for (Client& c : w.clients) {
      if (c.arrives == turn) {
        const Status status = core.inbox().Submit(c.spec);
        c.accepted = status.ok();
        if (!status.ok()) ++totals.refused;
        const bool recovering = core.recovering() && status.code() == StatusCode::kUnavailable &&
                                status.detail()->retry_after_ms > 0;
        const bool too_late = status.code() == StatusCode::kDeadlineExceeded &&
                              c.spec.deadline_us >= 0 && !c.spec.deadline_is_soft;
        if (!status.ok() && !too_late && !recovering &&
            status.code() != StatusCode::kResourceExhausted) {
          return status;
        }
      }
      if (c.cancels == turn) {
        c.was_cancelled = true;
        if (c.cancelled_choice < 0) core.inbox().Cancel(c.spec.id);
        if (c.cancelled_choice >= 0) core.inbox().FinishChoice(c.spec.id, c.cancelled_choice);
      }
    }
    clock.AdvanceUs(dice.Between(0, 200));
    ranks.Tick();
    core.inbox().Drain(Inbox::Wait::kNone, batch);
    core.Handle(batch);
    core.Turn();
    if (!ranks.violation().ok()) return ranks.violation();
    if (core.dead()) return InternalError("the engine died");
    if (sim.check_integrity) INFERD_RETURN_IF_ERROR(core.scheduler().CheckIntegrity());
    INFERD_RETURN_IF_ERROR(listener.complaint());
    if (listener.num_events() != num_events || core.idle()) {
      num_events = listener.num_events();
      last_event_turn = static_cast<uint64_t>(turn);
    } else if (static_cast<uint64_t>(turn) - last_event_turn > patience) {
      return InternalError("no progress");
    }
  }

  const EngineStats stats = core.Stats();
  for (const Client& c : w.clients) {
    if (!c.accepted) continue;
    for (size_t i = 0; i < c.choices.size(); ++i) {
      INFERD_RETURN_IF_ERROR(CheckChoice(w, c, i, max_len));
      totals.tokens += c.choices[i].tokens.size();
      ++totals.finished[static_cast<size_t>(c.choices[i].finish)];
    }
  }
  if (stats.blocks_used != 0 || stats.running != 0 || stats.waiting != 0 ||
      stats.waiting_prompt_tokens != 0 || stats.live_requests != 0) {
    return InternalError("something is held at the end");
  }
  if (sim.check_integrity) INFERD_RETURN_IF_ERROR(core.scheduler().CheckIntegrity());
  totals.plans += ranks.num_plans();
  totals.losses += stats.rank_losses;
  totals.resumed += stats.sequences_resumed;
  if (stats.rank_losses < ranks.num_deaths()) return InternalError("a loss was overlooked");
  totals.preemptions += stats.preemptions;
  totals.cached_tokens += stats.prefix_hit_tokens;
  return sim.check_plans && sim.seed % 4 == 0 ? CheckReplay(ranks_options, ranks) : OkStatus();
}

}  // namespace inferd::testing
