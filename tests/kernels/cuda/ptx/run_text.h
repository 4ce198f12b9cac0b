// Runs small pieces of PTX, for tests of the interpreter.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cuda/ptx/machine.h"
#include "kernels/cuda/ptx/module.h"

namespace inferd::cuda::ptx {

// A kernel `k` with some registers of each kind, all but its last line. In %r0 is the thread
// of the block, in %rd0 the address of a result of 8 bytes of its own.
inline std::string TextOf(const std::string& body, const std::string& head = "") {
  return ".version 9.0\n.target sm_90a\n.address_size 64\n" + head +
         ".entry k(\n.param .align 8 .b8 k_param_0[16]\n)\n.maxntid 1024, 1, 1\n{\n"
         ".reg .pred %p<8>;\n.reg .b16 %rs<16>;\n.reg .b32 %r<32>;\n.reg .b64 %rd<32>;\n"
         ".reg .f32 %f<32>;\n.reg .f64 %fd<8>;\n"
         "mov.u32 %r0, %tid.x;\nld.param.u64 %rd1, [k_param_0];\n"
         "mul.wide.u32 %rd2, %r0, 8;\nadd.s64 %rd0, %rd1, %rd2;\n" +
         body + "\nret;\n}\n";
}

struct Outcome {
  std::string error;              // empty: it ran
  std::vector<uint64_t> results;  // one a thread, 0 where it stored none
};

inline std::unique_ptr<Program> DecodeText(const std::string& text, std::string* error) {
  const std::unique_ptr<Module> module = Module::Parse(text, error);
  if (module == nullptr) return nullptr;
  const std::unique_ptr<Function> function = module->ParseKernel("k", error);
  return function == nullptr ? nullptr : Decode(*function, error);
}

// One block. The second eight bytes of the parameters are `argument`.
inline Outcome RunText(const std::string& text, unsigned threads = 1, size_t shared_bytes = 0,
                       uint64_t argument = 0, uint64_t seed = 0) {
  Outcome outcome;
  const std::unique_ptr<Program> program = DecodeText(text, &outcome.error);
  if (program == nullptr) return outcome;
  outcome.results.resize(threads);
  const uint64_t params[2] = {reinterpret_cast<uint64_t>(outcome.results.data()), argument};
  Machine machine(100'000);
  const LaunchShape shape{.grid = {1}, .block = {threads}, .shared_bytes = shared_bytes};
  const std::string* error = machine.Run(*program, shape, params, seed);
  if (error != nullptr) outcome.error = *error;
  return outcome;
}

}  // namespace inferd::cuda::ptx
