// Steps of a transformer with weights drawn at random, and what they are made of, through a
// backend's ops alone: no checkpoint, no scheduler. options.h has the flags; one line of JSON a
// measurement. benchmarks/device_record.py sets them against the floors.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <memory>

#include "inferd/backends/backend.h"
#include "measures.h"
#include "options.h"
#include "random_model.h"

namespace inferd::device_bench {
namespace {

int Run(int argc, char** argv) {
  const StatusOr<Options> parsed = ParseOptions(argc, argv);
  if (!parsed.ok()) {
    std::cerr << "device_bench: " << parsed.status().message() << "\n";
    return 2;
  }
  const Options& options = *parsed;
  const auto start = std::chrono::steady_clock::now();
  BackendOptions backend_options;
  backend_options.activations = Activations::kAuto;
  backend_options.tuning_directory = options.tuning;
  backend_options.graphs = options.graphs;
  const std::unique_ptr<Backend> backend = Take(CreateBackend(options.backend, backend_options));
  Ops& ops = backend->ops();
  // In one piece, as the daemon takes it: cases of many sizes would leave it in shreds.
  if (ops.MemoryIsResident()) Require(ops.Reserve(backend->AvailableMemoryBytes() / 20 * 19));
  const std::chrono::duration<double> opened = std::chrono::steady_clock::now() - start;
  std::printf("{\"what\":\"device\",\"description\":\"%s\",\"shape\":\"%s\",\"format\":\"%s\"}\n",
              backend->Description().c_str(), options.shape.name.c_str(), options.format.c_str());
  RandomModel model(ops, options);
  Measures measures(ops, model, options);
  if (options.Wants("copy")) measures.Copy();
  if (options.Wants("peak")) measures.Peak();
  const int32_t longest = *std::max_element(options.contexts.begin(), options.contexts.end());
  const double packing = model.Load(longest);
  std::printf(
      "{\"what\":\"start\",\"format\":\"%s\",\"open_s\":%.3f,\"pack_s\":%.3f,\"bytes\":%lld}\n",
      options.format.c_str(), opened.count(), packing,
      static_cast<long long>(model.packed_bytes()));
  std::fflush(stdout);
  if (options.Wants("decode")) {
    for (const int32_t sequences : options.batches) {
      for (const int32_t context : options.contexts) {
        measures.Step("decode", sequences, context, 1);
      }
    }
  }
  if (options.Wants("prefill")) {
    for (const int32_t context : options.contexts) measures.Step("prefill", 1, context, context);
  }
  if (options.Wants("sample")) measures.Sampling();
  if (options.Wants("product")) measures.Products();
  if (options.Wants("op")) measures.OtherOps();
  return 0;
}

}  // namespace
}  // namespace inferd::device_bench

int main(int argc, char** argv) { return inferd::device_bench::Run(argc, argv); }
