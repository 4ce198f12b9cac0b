#include "app/quantize_command.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "app/exit_codes.h"
#include "inferd/backends/backend.h"
#include "inferd/quantize/quantize.h"

namespace inferd::app {
namespace {

QuantizeMethod MethodOf(std::string_view name) {
  if (name == "int8") return QuantizeMethod::kInt8;
  if (name == "fp8") return QuantizeMethod::kFp8;
  return name == "int4-rtn" ? QuantizeMethod::kInt4Rtn : QuantizeMethod::kInt4Awq;
}

Status Quantize(const QuantizeArguments& arguments) {
  QuantizeOptions options;
  options.input = arguments.input;
  options.output = arguments.output;
  options.method = MethodOf(arguments.method);
  options.int8_head = arguments.head == "int8";
  options.group_size = arguments.group_size.value_or(options.group_size);
  options.calibration = arguments.calibration;
  options.threads = arguments.threads;
  if (options.threads == 0) {
    options.threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  }
  options.progress = [](std::string_view line) {
    std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
  };
  BackendOptions backend_options;
  backend_options.threads = arguments.threads;
  // Only int4-awq computes; the others just ask what fits.
  const bool computes = options.method == QuantizeMethod::kInt4Awq;
  INFERD_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> backend,
                          CreateBackend(computes ? "cpu" : "ref", backend_options));
  return QuantizeCheckpoint(options, backend->ops());
}

}  // namespace

int RunQuantize(const QuantizeArguments& arguments) {
  const Status status = Quantize(arguments);
  if (!status.ok()) {
    std::fprintf(stderr, "inferd: %s\n", status.message().c_str());
    return kExitFailure;
  }
  std::printf("wrote %s\n", arguments.output.c_str());
  return kExitOk;
}

}  // namespace inferd::app
