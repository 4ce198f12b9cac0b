#include "app/key_command.h"

#include <cstdio>

#include "app/exit_codes.h"
#include "inferd/base/random.h"

namespace inferd::app {
namespace {

int Fail(const Status& status, int exit_code) {
  std::fprintf(stderr, "inferd: %s\n", status.message().c_str());
  return exit_code;
}

int NewKeyLines(const ApiKey& rights) {
  SystemEntropy entropy;
  const StatusOr<NewKey> key = GenerateKey(rights, entropy);
  if (!key.ok()) return Fail(key.status(), kExitUsage);
  std::printf("%s\n%s", key->secret.c_str(), key->yaml.c_str());
  // A secret that nobody can read is none.
  return std::fflush(stdout) == 0 ? kExitOk : kExitFailure;
}

int CheckFile(const std::string& path) {
  const auto ring = KeyRing::Load(path);
  if (!ring.ok()) return Fail(ring.status(), kExitConfig);
  std::printf("%zu %s, no errors\n", (*ring)->size(), (*ring)->size() == 1 ? "key" : "keys");
  return kExitOk;
}

}  // namespace

int RunKey(const KeyArguments& arguments) {
  return arguments.action == "new" ? NewKeyLines(arguments.rights) : CheckFile(arguments.file);
}

}  // namespace inferd::app
