#pragma once

#include <cublasLt.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "backends/cuda/algorithm_file.h"
#include "backends/cuda/device.h"
#include "inferd/base/status.h"

namespace inferd {

// Products of many rows by cuBLASLt: out [rows, outputs] (+)= x [rows, inputs] W^T.
// Each shape has one algorithm, with the workspace given to it: the fastest where shapes
// were tuned, else the library's first choice. Rows are rounded up to a power of two for
// that, so that there are few; a number of rows that such an algorithm does not take has one
// of its own. The rank's thread.
//
// The library's order of summation may depend on the number of rows: these products
// are not part of the promise that a row's result stands alone.
class LibraryGemm {
 public:
  enum class Kind : uint8_t {
    kBf16,  // bf16 in, f32 out
    kInt8,  // int8 in, int32 out
    kFp8,   // e4m3 in, f32 out; from compute capability 8.9 on
    kF16,   // f16 in, f32 out
  };
  struct Product {
    Kind kind = Kind::kBf16;
    const void* x = nullptr;        // rows of `row_bytes`
    const void* weights = nullptr;  // the same
    void* out = nullptr;            // [rows, outputs] of 4 bytes
    int32_t rows = 0;
    int32_t outputs = 0;
    int32_t row_bytes = 0;    // padded with zeros; a multiple of 64
    bool accumulate = false;  // out += (kBf16, kF16)
  };

  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  // Products of fewer rows have kernels of ours.
  static constexpr int32_t kLeastRows = 65;

  // The workspace comes from the device's memory. What tuning found out is kept in
  // `directory`; empty: nothing is measured.
  static StatusOr<std::unique_ptr<LibraryGemm>> Create(Device& device,
                                                       const std::filesystem::path& directory = {});
  ~LibraryGemm();

  // Enqueues; an error sticks to the device.
  void Multiply(const Product& product);

  // Finds the fastest algorithms for products with the kinds, outputs and bytes a row of
  // `shapes` and up to `max_rows` rows: in the file, else by running some on memory that is
  // free at the time and in `x`, which is overwritten. Waits for the device. What there is
  // no room or no time for keeps the first choice; so does all without a directory, but each is
  // run once, so that its code is there.
  void Tune(std::span<const Product> shapes, int32_t max_rows, std::span<std::byte> x);

  // Looks the algorithm up, so that Multiply of such a shape does nothing new.
  Status Prepare(const Product& product);

  std::string Version() const;
  size_t num_algorithms() const { return plans_.size() + exact_plans_.size(); }

 private:
  struct Plan {
    cublasLtMatmulDesc_t operation = nullptr;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace_bytes = 0;
  };
  using Key = AlgorithmFile::Shape;  // rows rounded up

  explicit LibraryGemm(Device& device) : device_(device) {}
  static int32_t RoundRows(int32_t rows);
  static AlgorithmFile::Shape ShapeOf(const Product& p) {
    return {static_cast<int32_t>(p.kind), p.rows, p.outputs, p.row_bytes};
  }
  static Key KeyOf(const Product& p) {
    return {static_cast<int32_t>(p.kind), RoundRows(p.rows), p.outputs, p.row_bytes};
  }
  StatusOr<cublasLtMatmulDesc_t> MakeOperation(const Product& product) const;
  // The first choice, and as many choices as there is room for.
  StatusOr<Plan> Look(const Product& product, int32_t rows,
                      std::span<cublasLtMatmulHeuristicResult_t> found) const;
  Status PrepareWorkspace();
  cublasStatus_t Launch(const Product& product, const Plan& plan) const;
  bool TakeFromFile(const Product& product);
  // Of so many of the library's choices; one is only run. False when nothing could be measured;
  // the shape has its first choice then.
  bool MeasureAll(Product product, int candidates, float* spent_ms, TunedAlgorithm* tuned);

  Device& device_;
  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  std::map<Key, Plan> plans_;
  std::map<Key, Plan> exact_plans_;  // of rows as they are
  AlgorithmFile file_;
};

}  // namespace inferd
