#include "support/source_dir.h"

namespace inferd {

std::filesystem::path SourceDir() { return INFERD_SOURCE_DIR; }

}  // namespace inferd
