// The `inferd` binary.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "app/admin_command.h"
#include "app/chat_session.h"
#include "app/client.h"
#include "app/command_line.h"
#include "app/exit_codes.h"
#include "app/key_command.h"
#include "app/quantize_command.h"
#include "app/rank_command.h"
#include "app/serve.h"

namespace inferd::app {
namespace {

std::vector<std::string> Environment() {
  std::vector<std::string> entries;
  for (char** entry = environ; *entry != nullptr; ++entry) entries.emplace_back(*entry);
  return entries;
}

int Run(int argc, char** argv) {
  // Run by the daemon: not for people, so that it is on no list of commands.
  if (argc == 3 && std::string_view(argv[1]) == "rank") return RunRank(std::atoi(argv[2]));
  const StatusOr<CommandLine> line = ParseCommandLine({argv + 1, argv + argc});
  if (!line.ok()) {
    std::fprintf(stderr, "inferd: %s\n", line.status().message().c_str());
    return kExitUsage;
  }
  switch (line->command) {
    case Command::kPrint:
      std::fputs(line->print.c_str(), stdout);
      return kExitOk;
    case Command::kServe:
      return RunServe(line->serve, Environment());
    case Command::kChat:
      return RunChat(line->chat);
    case Command::kHealth:
      return RunHealth(line->health);
    case Command::kModels:
      return RunModels(line->models);
    case Command::kQuantize:
      return RunQuantize(line->quantize);
    case Command::kAdmin:
      return RunAdmin(line->admin);
    case Command::kKey:
      return RunKey(line->key);
  }
  return kExitUsage;
}

}  // namespace
}  // namespace inferd::app

int main(int argc, char** argv) {
  try {
    return inferd::app::Run(argc, argv);
  } catch (const std::exception& error) {  // libraries may throw; nothing of ours does
    std::fprintf(stderr, "inferd: %s\n", error.what());
    return inferd::app::kExitFailure;
  }
}
