#include "backends/cuda/step_graphs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "backends/cuda/cuda_error.h"

namespace inferd {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash ^= value + 0x9E3779B97F4A7C15U + (hash << 6) + (hash >> 2);
  hash *= 0xFF51AFD7ED558CCDU;
  return hash ^ (hash >> 33);
}

// Of the call alone: a kernel that failed, or a device that is lost, answers otherwise.
bool IsRefusal(int code) {
  switch (code) {
    case cudaErrorMemoryAllocation:
    case cudaErrorInvalidValue:
    case cudaErrorInvalidResourceHandle:
    case cudaErrorNotSupported:
    case cudaErrorStreamCaptureUnsupported:
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureImplicit:
      return true;
    default:
      return false;
  }
}

}  // namespace

int32_t DecodeBucket(int32_t rows, int32_t limit) {
  int32_t bucket = 0;
  if (rows <= 8) {
    bucket = rows <= 2 ? rows : rows <= 4 ? 4 : 8;
  } else {
    const int32_t step = rows <= 64 ? 8 : rows <= 128 ? 16 : rows <= 256 ? 32 : 64;
    bucket = (rows + step - 1) / step * step;
  }
  return std::min(bucket, limit);
}

StepGraphs::~StepGraphs() {
  for (const auto& [rows, entry] : entries_) {
    if (entry.graph != nullptr) (void)cudaGraphExecDestroy(entry.graph);
  }
}

void StepGraphs::Begin(int32_t rows) {
  (void)End();
  if (!device_.ok()) return;
  entry_ = &entries_[rows];
  hash_ = 0;
  mode_ = entry_->graph != nullptr                                        ? Mode::kReplay
          : entry_->seen + 1 < kPatience || !device_.graph_refusal().ok() ? Mode::kOneByOne
                                                                          : Mode::kRecord;
  ++entry_->seen;
  if (mode_ == Mode::kRecord && !StartCapture()) mode_ = Mode::kOneByOne;
}

int32_t StepGraphs::NextToRecord(int32_t limit) const {
  if (entries_.empty() || !device_.ok() || !device_.graph_refusal().ok()) return 0;
  for (int32_t rows = limit; rows > 0; --rows) {
    const int32_t bucket = DecodeBucket(rows, limit);
    const auto entry = entries_.find(bucket);
    if (entry == entries_.end() || entry->second.graph == nullptr) return bucket;
  }
  return 0;
}

void StepGraphs::BeginRecording(int32_t rows) {
  (void)End();
  if (!device_.ok()) return;
  entry_ = &entries_[rows];
  hash_ = 0;
  mode_ = StartCapture() ? Mode::kRecordOnly : Mode::kNothing;
}

bool StepGraphs::StartCapture() {
  // Relaxed: the first use of a kernel loads it, which stricter modes may refuse.
  const cudaError_t code = cudaStreamBeginCapture(device_.stream(), cudaStreamCaptureModeRelaxed);
  if (!IsRefusal(code)) return device_.Check(code, "recording a step");
  Refuse("recording a step", code);
  return false;
}

void StepGraphs::Refuse(const char* what, int code) {
  device_.RefuseGraphs(InternalError(std::string("cuda: ") + what + ": " + CudaErrorText(code)));
  (void)cudaGetLastError();  // or the next launch answers it
}

bool StepGraphs::Next(std::initializer_list<uint64_t> what) {
  if (mode_ != Mode::kNone) {
    for (const uint64_t value : what) hash_ = Mix(hash_, value);
  }
  return mode_ != Mode::kReplay && mode_ != Mode::kNothing && device_.ok();
}

bool StepGraphs::Takes(int code) {
  if ((mode_ != Mode::kRecordOnly && mode_ != Mode::kRecord) || !IsRefusal(code)) return false;
  Refuse("recording a step", code);
  return true;
}

void StepGraphs::Record() {
  cudaGraph_t graph = nullptr;
  // Ended in any case: nothing else can be done with the stream before.
  cudaError_t code = cudaStreamEndCapture(device_.stream(), &graph);
  if (code == cudaSuccess && device_.graph_refusal().ok()) {
    code = cudaGraphInstantiate(&entry_->graph, graph, 0);
    if (code != cudaSuccess) entry_->graph = nullptr;
    // Else the first replay would pay for it.
    if (code == cudaSuccess) code = cudaGraphUpload(entry_->graph, device_.stream());
  }
  if (graph != nullptr) (void)cudaGraphDestroy(graph);
  if (IsRefusal(code)) {
    Refuse("making a graph", code);
  } else {
    device_.Check(code, "making a graph");
  }
  if (code != cudaSuccess && entry_->graph != nullptr) {
    (void)cudaGraphExecDestroy(std::exchange(entry_->graph, nullptr));
  }
  entry_->hash = hash_;
  if (entry_->graph != nullptr) ++num_graphs_;
}

bool StepGraphs::End() {
  const Mode mode = std::exchange(mode_, Mode::kNone);
  if (mode == Mode::kNone || mode == Mode::kOneByOne || mode == Mode::kNothing) return true;
  if (mode == Mode::kRecord || mode == Mode::kRecordOnly) Record();
  if (mode == Mode::kRecordOnly) return true;
  if (mode == Mode::kReplay) {
    ++replayed_;
    if (hash_ != entry_->hash) {
      device_.Fail(InternalError("cuda: a step's ops differ from those of its graph"));
      return true;
    }
  }
  if (entry_->graph != nullptr && device_.ok()) {
    device_.Check(cudaGraphLaunch(entry_->graph, device_.stream()), "launching a graph");
  }
  return entry_->graph != nullptr || !device_.ok();
}

}  // namespace inferd
