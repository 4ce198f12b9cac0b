#include "backends/cuda/cuda_ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "backends/cpu/cpu_budget.h"
#include "backends/cuda/cuda_error.h"
#include "backends/cuda/nccl_group.h"
#include "cuda/code.h"
#include "spdlog/logger.h"

namespace inferd {
namespace {

// bf16 numbers whose sum is an f32, but for the last bits of subnormals.
constexpr int kExactTerms = 3;

// The rank's share of what the process may use of the machine.
int LoadThreadsOf(const BackendOptions& options) {
  const CpuChoice all = ChooseCpus(ReadCpuBudget("/"), options.threads, ThreadPinning::kOff);
  return ShareCpus(all, options.rank, std::max(1, options.ranks)).threads;
}

}  // namespace

StatusOr<std::unique_ptr<CudaOps>> CudaOps::Create(const BackendOptions& options) {
  INFERD_ASSIGN_OR_RETURN(std::unique_ptr<Device> device, Device::Open(options.device));
  const int terms = options.activations == Activations::kF32 ? kExactTerms : 1;
  // Before anybody looks at how much memory is free.
  if (const int code = cuda::LoadCode(); code != 0) return CudaStartError(code, "the kernels");
  std::unique_ptr<CudaOps> ops(new CudaOps(std::move(device), terms, options));
  INFERD_ASSIGN_OR_RETURN(ops->library_,
                          LibraryGemm::Create(*ops->device_, options.tuning_directory));
  for (Sealed& step : ops->sealed_) {
    INFERD_ASSIGN_OR_RETURN(step.begin, StreamMark::Create(/*timed=*/true));
    INFERD_ASSIGN_OR_RETURN(step.done, StreamMark::Create(/*timed=*/true));
    INFERD_ASSIGN_OR_RETURN(step.bad_token, PinnedBuffer::Create(sizeof(int32_t)));
  }
  return ops;
}

CudaOps::CudaOps(std::unique_ptr<Device> device, int terms, const BackendOptions& options)
    : device_(std::move(device)),
      terms_(terms),
      sampler_(*device_),
      ranges_(options.layer_ranges),
      logger_(options.logger),
      load_threads_(LoadThreadsOf(options)),
      use_graphs_(options.graphs),
      batch_invariant_(options.batch_invariant) {}

CudaOps::~CudaOps() {
  device_->Use();
  (void)device_->Wait();
}

// ---- memory ----

void CudaOps::Fill(void* data, uint8_t value, size_t bytes) {
  EndOps();
  device_->Fill(data, value, bytes);
}

void CudaOps::CopyIn(void* data, const void* host, size_t bytes) {
  EndOps();
  device_->CopyIn(data, host, bytes);
}

Status CudaOps::CopyOut(void* host, const void* data, size_t bytes) {
  // The outputs of steps under way are taken by FinishStep only.
  if (num_sealed_ == 0) INFERD_RETURN_IF_ERROR(Finish());
  EndOps();
  return device_->CopyOut(host, data, bytes);
}

// ---- per step ----

bool CudaOps::Begins(Op op, std::initializer_list<TensorView> tensors, const void* weight,
                     std::initializer_list<int64_t> numbers) {
  if (graphs_ == nullptr) return Running();
  const auto address = [](const void* data) { return reinterpret_cast<uint64_t>(data); };
  bool launch = graphs_->Next({static_cast<uint64_t>(op), address(weight)});
  for (const TensorView& x : tensors) {
    launch = graphs_->Next(
        {address(x.data), static_cast<uint64_t>(x.dim(0)), static_cast<uint64_t>(x.dim(1))});
  }
  for (const int64_t number : numbers) launch = graphs_->Next({static_cast<uint64_t>(number)});
  return launch;
}

void CudaOps::PlanStep(const StepInputs& inputs, StepPlan* plan) {
  EndOps();
  device_->Use();
  auto& step = *static_cast<CudaStepPlan*>(plan);
  if (!Running()) return step.Set(inputs);  // for the shapes of what will not be done
  ranges_.BeginStep(inputs.num_tokens);
  if (num_sealed_ < sealed_.size()) {
    Sealed& next = sealed_[(oldest_sealed_ + num_sealed_) % sealed_.size()];
    device_->Mark(next.begin);
    next.begun = true;
  }
  if (!use_graphs_ || !CudaStepPlan::IsDecode(inputs)) return step.Plan(inputs, inputs.num_tokens);
  const int32_t limit = std::min(step.max_tokens(), step.max_sequences());
  const int32_t rows = DecodeBucket(inputs.num_tokens, limit);
  step.Plan(inputs, rows);
  graphs_ = &step.graphs();
  graphs_->Begin(rows);
}

StatusOr<std::unique_ptr<DeviceGroup>> CudaOps::MakeGroup(Communicator& host,
                                                          const DeviceGroupOptions& options,
                                                          const Clock& clock) {
  if (nccl_ == nullptr) {
    INFERD_ASSIGN_OR_RETURN(nccl_, nccl::Open());
    watch_ = std::make_unique<GroupWatch>(nccl_, options, clock);
    device_->SetWaiter(watch_.get());
  }
  return std::unique_ptr<DeviceGroup>(
      std::make_unique<NcclGroup>(*this, nccl_, *watch_, host, options, clock));
}

bool CudaOps::BeginsCollective(std::initializer_list<uint64_t> what) {
  if (graphs_ == nullptr) return Running();
  (void)graphs_->Next({static_cast<uint64_t>(Op::kCollective)});
  return graphs_->Next(what);
}

void CudaOps::SealStep() {
  EndOps();
  INFERD_CHECK(num_sealed_ < sealed_.size());
  Sealed& step = sealed_[(oldest_sealed_ + num_sealed_++) % sealed_.size()];
  step.embedded = std::exchange(embedded_, false);
  step.sampled = std::exchange(sampled_, false);
  if (step.embedded) {
    device_->Copy(step.bad_token.data(), bad_token_.data(), sizeof(int32_t),
                  cudaMemcpyDeviceToHost);
    device_->Fill(bad_token_.data(), 0, sizeof(int32_t));
  }
  device_->Mark(step.done);
  ranges_.EndStep();
}

bool CudaOps::PlanPreparing(StepPlan* plan) {
  EndOps();
  device_->Use();
  auto& step = *static_cast<CudaStepPlan*>(plan);
  if (!use_graphs_ || !Running()) return false;
  const int32_t rows =
      step.graphs().NextToRecord(std::min(step.max_tokens(), step.max_sequences()));
  if (rows == 0) return false;
  step.PlanPadding(rows);
  ranges_.BeginPreparing(rows);
  graphs_ = &step.graphs();
  graphs_->BeginRecording(rows);
  return true;
}

// What a graph has refused to take is not lost here: nothing came after it.
bool CudaOps::MustNameAgain() {
  StepGraphs* const graphs = std::exchange(graphs_, nullptr);
  const bool lost = graphs != nullptr && !graphs->End();
  WarnOfRefusal();
  return lost && Running();
}

void CudaOps::EndPreparing() {
  EndOps();
  WarnOfRefusal();
  ranges_.EndStep();
  embedded_ = false;
}

void CudaOps::WarnOfRefusal() {
  const Status& refusal = device_->graph_refusal();
  if (!refusal.ok() && !std::exchange(graphs_refused_, true) && logger_ != nullptr) {
    logger_->warn("no more steps are recorded as graphs, and steps may take longer: {}",
                  refusal.message());
  }
}

bool CudaOps::StepIsDone() {
  INFERD_CHECK(num_sealed_ > 0);
  return device_->IsDone(sealed_[oldest_sealed_].done);
}

Status CudaOps::FinishStep() {
  INFERD_CHECK(num_sealed_ > 0);
  Sealed& step = sealed_[oldest_sealed_];
  oldest_sealed_ = (oldest_sealed_ + 1) % sealed_.size();
  --num_sealed_;
  device_->WaitFor(step.done);
  const bool begun = std::exchange(step.begun, false);
  step_device_us_ = begun && Running()
                        ? std::llround(1000.0 * device_->MillisecondsBetween(step.begin, step.done))
                        : -1;
  if (step.sampled) sampler_.Finish(Running());
  if (!Running()) return device_->error();
  int32_t bad = 0;
  if (step.embedded) std::memcpy(&bad, step.bad_token.data(), sizeof(bad));
  return bad == 0 ? OkStatus() : InternalError("token id outside the embedding table");
}

Status CudaOps::Finish() {
  EndOps();
  Status first;
  const auto finish_step = [&] {
    if (Status status = FinishStep(); first.ok()) first = std::move(status);
  };
  while (num_sealed_ == sealed_.size()) finish_step();
  if (embedded_ || sampled_) SealStep();
  while (num_sealed_ > 0) finish_step();
  const Status status = device_->Wait();
  return first.ok() ? status : first;
}

}  // namespace inferd
