#include "support/source_dir.h"

#include <cstdlib>

namespace inferd {

// INFERD_SOURCE_DIR in the environment: where the tree's files are on another machine
// than the one that compiled.
std::filesystem::path SourceDir() {
  const char* elsewhere = std::getenv("INFERD_SOURCE_DIR");
  return elsewhere != nullptr ? elsewhere : INFERD_SOURCE_DIR;
}

}  // namespace inferd
