// What goes with the weights of a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>

#include "inferd/base/status.h"
#include "inferd/quantize/quantize.h"

namespace inferd::quantize {

// Copies tokenizer, chat template, generation config and licences.
Status CopyCompanions(const std::filesystem::path& from, const std::filesystem::path& to);

// config.json of `from` with the quantization_config of `method` added.
Status WriteConfig(const std::filesystem::path& from, QuantizeMethod method, int32_t group_size,
                   const std::filesystem::path& to);

}  // namespace inferd::quantize
