#include "inferd/comm/all_reduce_chooser.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "inferd/comm/hierarchical_all_reduce.h"
#include "inferd/comm/quantized_all_reduce.h"

namespace inferd {
namespace {

// The classes are measured at these sizes: from what a decode step of one sequence sums
// to the longest message, four times as much each.
constexpr int64_t kFirstBytes = 4 << 10;
constexpr int64_t kGrowth = 4;
constexpr size_t kMaxClasses = 12;
constexpr int kMaxRepetitions = 100;
// Sizes that were measured are the middles of their classes.
constexpr int64_t kClassEnd = 2;

constexpr std::array<std::string_view, kNumAllReduceKinds> kKindNames = {"plain", "hierarchical",
                                                                         "int8", "fp8"};

// The communicators of one rank, by kind; null where a kind is not allowed.
using Ways = std::array<Communicator*, kNumAllReduceKinds>;

class Chosen final : public ChosenAllReduce {
 public:
  Chosen(Communicator& all, const AllReduceChooserOptions& options, const Clock& clock)
      : ChosenAllReduce(all), options_(options), clock_(clock) {
    AllReduceChoice plain;
    plain.max_bytes = options.max_bytes;
    plain.ns.fill(-1);
    choices_ = {plain};
    Way(AllReduceKind::kPlain) = &inner();
    const auto add = [this](AllReduceKind kind, std::unique_ptr<Communicator> way) {
      Way(kind) = way.get();
      owned_.push_back(std::move(way));
    };
    const bool always_hierarchical = options.mode == AllReduceMode::kAlwaysHierarchical;
    if (options.local != nullptr &&
        (always_hierarchical || options.mode == AllReduceMode::kHierarchical)) {
      add(AllReduceKind::kHierarchical,
          MakeHierarchicalAllReduce(all, *options.local, options.leaders));
    }
    if (always_hierarchical && options.local != nullptr) {
      choices_[0].kind = AllReduceKind::kHierarchical;
    }
    if (Either(AllReduceMode::kInt8, AllReduceMode::kAlwaysInt8)) {
      add(AllReduceKind::kInt8, MakeQuantizedAllReduce(all, QuantizedFormat::kInt8, 0));
    }
    if (Either(AllReduceMode::kFp8, AllReduceMode::kAlwaysFp8)) {
      add(AllReduceKind::kFp8, MakeQuantizedAllReduce(all, QuantizedFormat::kFp8, 0));
    }
    if (options.mode == AllReduceMode::kAlwaysInt8) choices_[0].kind = AllReduceKind::kInt8;
    if (options.mode == AllReduceMode::kAlwaysFp8) choices_[0].kind = AllReduceKind::kFp8;
  }

  Status Choose() override {
    const bool decided = Either(AllReduceMode::kAlwaysInt8, AllReduceMode::kAlwaysFp8) ||
                         options_.mode == AllReduceMode::kAlwaysHierarchical;
    if (owned_.empty() || decided || inner().world_size() == 1) return OkStatus();
    std::vector<AllReduceChoice> choices;
    std::vector<float> data(static_cast<size_t>(options_.max_bytes / 4));
    for (int64_t bytes = std::min(kFirstBytes, options_.max_bytes); choices.size() < kMaxClasses;
         bytes = std::min(bytes * kGrowth, options_.max_bytes)) {
      const TensorView x(data.data(), DType::kF32, {bytes / 4});
      INFERD_ASSIGN_OR_RETURN(choices.emplace_back(), ChooseFor(x));
      if (bytes == options_.max_bytes) break;
    }
    // Measured alike, so decided alike; what rank 0 has goes all the same.
    INFERD_RETURN_IF_ERROR(
        inner().Broadcast(std::as_writable_bytes(std::span(choices)), /*root=*/0));
    choices_ = std::move(choices);
    return OkStatus();
  }

  const std::vector<AllReduceChoice>& choices() const override { return choices_; }

  std::string Summary() const override {
    std::string text;
    for (size_t i = 0; i < choices_.size(); ++i) {
      const AllReduceChoice& choice = choices_[i];
      const bool last = i + 1 == choices_.size();
      if (!last && choices_[i + 1].kind == choice.kind) continue;
      const auto kind = static_cast<size_t>(choice.kind);
      const bool only = last && text.empty();
      text += (text.empty() ? "" : ", ") + std::string(kKindNames[kind]);
      text += only ? "" : last ? " above" : " up to " + std::to_string(choice.max_bytes) + " bytes";
      if (choice.ns[kind] >= 0) text += " (" + std::to_string(choice.ns[kind] / 1000) + " us)";
    }
    return text;
  }

  Status AllReduce(const TensorView& x) override {
    for (const AllReduceChoice& choice : choices_) {
      if (x.NumBytes() <= choice.max_bytes) return Way(choice.kind)->AllReduce(x);
    }
    return Way(choices_.back().kind)->AllReduce(x);
  }
  // All ways end in the group, except the hierarchical one.
  void Abort() override {
    Communicator* const hierarchical = Way(AllReduceKind::kHierarchical);
    (hierarchical != nullptr ? hierarchical : &inner())->Abort();
  }

 private:
  bool Either(AllReduceMode a, AllReduceMode b) const {
    return options_.mode == a || options_.mode == b;
  }

  Communicator*& Way(AllReduceKind kind) { return ways_[static_cast<size_t>(kind)]; }

  // The kind that is quickest for messages like x.
  StatusOr<AllReduceChoice> ChooseFor(const TensorView& x) {
    AllReduceChoice choice;
    choice.measured_bytes = x.NumBytes();
    choice.max_bytes = x.NumBytes() * kClassEnd;
    choice.ns.fill(-1);
    int64_t best = std::numeric_limits<int64_t>::max();
    for (size_t k = 0; k < kNumAllReduceKinds; ++k) {
      if (ways_[k] == nullptr) continue;
      INFERD_ASSIGN_OR_RETURN(const int64_t mine, Measure(*ways_[k], x));
      INFERD_ASSIGN_OR_RETURN(choice.ns[k], Slowest(mine));
      // The plainer one of two that take as long.
      if (choice.ns[k] < best) {
        best = choice.ns[k];
        choice.kind = static_cast<AllReduceKind>(k);
      }
    }
    return choice;
  }

  // The median of this rank's, in nanoseconds.
  StatusOr<int64_t> Measure(Communicator& way, const TensorView& x) {
    std::vector<int64_t> times;
    for (int i = 0; i <= options_.repetitions; ++i) {
      INFERD_RETURN_IF_ERROR(inner().Barrier());
      const int64_t start = clock_.NowNs();
      INFERD_RETURN_IF_ERROR(way.AllReduce(x));
      if (i > 0) times.push_back(clock_.NowNs() - start);
    }
    const auto middle = times.begin() + options_.repetitions / 2;
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
  }

  // The largest of all ranks'.
  StatusOr<int64_t> Slowest(int64_t mine) {
    std::vector<int64_t> times(static_cast<size_t>(inner().world_size()));
    INFERD_RETURN_IF_ERROR(inner().AllGather(std::as_bytes(std::span(&mine, 1)),
                                             std::as_writable_bytes(std::span(times))));
    return *std::max_element(times.begin(), times.end());
  }

  const AllReduceChooserOptions options_;
  const Clock& clock_;
  std::vector<std::unique_ptr<Communicator>> owned_;
  Ways ways_{};
  std::vector<AllReduceChoice> choices_;
};

}  // namespace

std::string_view AllReduceKindName(AllReduceKind kind) {
  return kKindNames[static_cast<size_t>(kind)];
}

std::optional<AllReduceMode> ParseAllReduceMode(std::string_view name) {
  if (name == "auto") return AllReduceMode::kAuto;
  if (name == "exact") return AllReduceMode::kExact;
  if (name == "hierarchical") return AllReduceMode::kHierarchical;
  if (name == "always-hierarchical") return AllReduceMode::kAlwaysHierarchical;
  if (name == "int8") return AllReduceMode::kInt8;
  if (name == "fp8") return AllReduceMode::kFp8;
  if (name == "always-int8") return AllReduceMode::kAlwaysInt8;
  if (name == "always-fp8") return AllReduceMode::kAlwaysFp8;
  return std::nullopt;
}

StatusOr<std::unique_ptr<ChosenAllReduce>> MakeChosenAllReduce(
    Communicator& all, const AllReduceChooserOptions& options, const Clock& clock) {
  constexpr int64_t kMaxBytes = int64_t{1} << 30;
  if (options.max_bytes < 4 || options.max_bytes > kMaxBytes) {
    return InvalidArgumentError("max_bytes must be in 4..1073741824");
  }
  if (options.repetitions < 1 || options.repetitions > kMaxRepetitions) {
    return InvalidArgumentError("repetitions must be in 1..100");
  }
  return std::unique_ptr<ChosenAllReduce>(std::make_unique<Chosen>(all, options, clock));
}

}  // namespace inferd
