// What goes with the weights of a checkpoint.
#pragma once

#include <cstdint>
#include <filesystem>

#include "inferd/base/status.h"
#include "inferd/quantize/quantize.h"

namespace inferd::quantize {

// Copies tokenizer, chat template, generation config and licences.
Status CopyCompanions(const std::filesystem::path& from, const std::filesystem::path& to);

// config.json of options.input with the quantization_config that follows from them.
Status WriteConfig(const QuantizeOptions& options, const std::filesystem::path& to);

}  // namespace inferd::quantize
