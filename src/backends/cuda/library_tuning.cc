// Which of the library's algorithms a shape gets: by measuring them, once.
#include <array>
#include <cstring>
#include <limits>

#include "backends/cuda/library_gemm.h"
#include "backends/cuda/library_layouts.h"

namespace inferd {
namespace {

// Measured of a shape, in the library's own order of preference.
constexpr int kCandidates = 8;
constexpr int kRuns = 3;
// Of the device's time for all shapes of a start; the others take the first choice then.
constexpr float kMostMilliseconds = 10'000;

static_assert(sizeof(TunedAlgorithm::words) == sizeof(cublasLtMatmulAlgo_t));

}  // namespace

void LibraryGemm::Tune(std::span<const Product> shapes, int32_t max_rows, std::span<std::byte> x) {
  if (!device_.ok()) return;
  // Without a file the first choice is run, once: the library loads an algorithm's code when it
  // is first used, which takes time and memory that no step shall wait for.
  const int candidates = file_.enabled() ? kCandidates : 1;
  float spent_ms = 0;
  for (const Product& shape : shapes) {
    for (int32_t rows = RoundRows(kLeastRows); rows / 2 < max_rows; rows *= 2) {
      Product product = shape;
      product.rows = rows;
      TunedAlgorithm tuned;
      if (plans_.contains(KeyOf(product)) || TakeFromFile(product)) continue;
      if (static_cast<size_t>(rows) * static_cast<size_t>(shape.row_bytes) > x.size() ||
          spent_ms > kMostMilliseconds) {
        continue;
      }
      product.x = x.data();
      if (MeasureAll(product, candidates, &spent_ms, &tuned)) file_.Add(ShapeOf(product), tuned);
      if (!device_.ok()) return;
    }
  }
  if (file_.enabled()) file_.Write();
}

bool LibraryGemm::TakeFromFile(const Product& product) {
  const TunedAlgorithm* tuned = file_.Find(ShapeOf(product));
  if (tuned == nullptr || !PrepareWorkspace().ok()) return false;
  auto operation = MakeOperation(product);
  if (!operation.ok()) return false;
  Plan plan{*operation, {}, static_cast<size_t>(tuned->workspace_bytes)};
  std::memcpy(&plan.algorithm, tuned->words.data(), sizeof(plan.algorithm));
  const LibraryLayouts layouts(product, product.rows);
  cublasLtMatmulHeuristicResult_t result = {};
  // Not believed: the library says whether it takes it, and what workspace it wants.
  if (!layouts.ok() ||
      cublasLtMatmulAlgoCheck(handle_, plan.operation, layouts.weights.get(), layouts.x.get(),
                              layouts.out.get(), layouts.out.get(), &plan.algorithm,
                              &result) != CUBLAS_STATUS_SUCCESS ||
      result.workspaceSize > plan.workspace_bytes || plan.workspace_bytes > kWorkspaceBytes) {
    (void)cublasLtMatmulDescDestroy(plan.operation);
    return false;
  }
  plans_.emplace(KeyOf(product), plan);
  return true;
}

bool LibraryGemm::MeasureAll(Product product, int candidates, float* spent_ms,
                             TunedAlgorithm* tuned) {
  if (!PrepareWorkspace().ok()) return false;
  std::array<cublasLtMatmulHeuristicResult_t, kCandidates> all = {};
  const std::span found = std::span(all).first(static_cast<size_t>(candidates));
  StatusOr<Plan> plan = Look(product, product.rows, found);
  if (!plan.ok()) return false;
  // The memory that the cache takes later.
  const size_t weight_bytes =
      static_cast<size_t>(product.outputs) * static_cast<size_t>(product.row_bytes);
  const size_t out_bytes =
      static_cast<size_t>(product.outputs) * static_cast<size_t>(product.rows) * sizeof(float);
  const size_t place = (weight_bytes + ArenaMap::kUnit - 1) / ArenaMap::kUnit * ArenaMap::kUnit;
  void* const memory = device_.Allocate(place + out_bytes, ArenaMap::kUnit);
  auto begin = StreamMark::Create(/*timed=*/true);
  auto end = StreamMark::Create(/*timed=*/true);
  bool measured = false;
  if (memory != nullptr && begin.ok() && end.ok()) {
    constexpr uint8_t kSomeNumber = 0x3c;
    device_.Fill(memory, kSomeNumber, place + out_bytes);
    device_.Fill(const_cast<void*>(product.x), kSomeNumber,
                 static_cast<size_t>(product.rows) * static_cast<size_t>(product.row_bytes));
    product.weights = memory;
    product.out = static_cast<std::byte*>(memory) + place;
    float best_ms = std::numeric_limits<float>::infinity();
    Plan candidate = *plan;
    for (const cublasLtMatmulHeuristicResult_t& each : found) {
      if (each.state != CUBLAS_STATUS_SUCCESS) continue;
      candidate.algorithm = each.algo;
      candidate.workspace_bytes = each.workspaceSize;
      bool taken = Launch(product, candidate) == CUBLAS_STATUS_SUCCESS;
      device_.Mark(*begin);
      for (int run = 0; run < kRuns && taken && candidates > 1; ++run) {
        taken = Launch(product, candidate) == CUBLAS_STATUS_SUCCESS;
      }
      device_.Mark(*end);
      device_.WaitFor(*end);
      const float ms = device_.MillisecondsBetween(*begin, *end);
      if (!device_.ok()) break;
      *spent_ms += ms;
      if (!taken || ms >= best_ms) continue;
      best_ms = ms;
      measured = true;
      *plan = candidate;
    }
  }
  if (memory != nullptr) device_.Free(memory, place + out_bytes);
  std::memcpy(tuned->words.data(), &plan->algorithm, sizeof(plan->algorithm));
  tuned->workspace_bytes = plan->workspace_bytes;
  plans_.emplace(KeyOf(product), *plan);
  return measured;
}

}  // namespace inferd
