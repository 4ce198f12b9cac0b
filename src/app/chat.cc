// The terminal client: a loop of lines, answers and a few commands.
#include <unistd.h>
#include <csignal>

#include <cstdio>
#include <iostream>
#include <string>

#include "app/chat_session.h"
#include "app/client.h"
#include "app/exit_codes.h"
#include "app/signals.h"

namespace inferd::app {
namespace {

constexpr char kHelp[] =
    "/reset  forget the conversation\n"
    "/quit   leave (so does Ctrl-D)\n"
    "Ctrl-C  stop the answer\n";

void Write(std::string_view text) {
  std::cout.write(text.data(), static_cast<std::streamsize>(text.size()));
  std::cout.flush();
}

// What to say after an answer that did not end by itself.
void Report(const ChatSession::Answer& answer, bool stats) {
  if (answer.status.error_code() == grpc::StatusCode::CANCELLED) {
    std::cerr << "[stopped]\n";
  } else if (!answer.status.ok()) {
    std::cerr << "inferd: " << Describe(answer.status) << "\n";
  } else if (answer.finish == v1::FINISH_REASON_LENGTH) {
    std::cerr << "[cut off: the longest answer or the end of the context was reached]\n";
  }
  if (stats && answer.status.ok()) {
    const double decode_seconds = answer.seconds - answer.first_token_seconds;
    std::fprintf(stderr, "[%d prompt tokens, %d of them cached; %d tokens; first after %.3f s",
                 answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens,
                 answer.first_token_seconds);
    if (answer.completion_tokens > 1 && decode_seconds > 0) {
      std::fprintf(stderr, "; then %.1f tokens/s", (answer.completion_tokens - 1) / decode_seconds);
    }
    std::fprintf(stderr, "]\n");
  }
}

ChatSession::Answer AskAndPrint(ChatSession& session, const std::string& text, bool stats) {
  const ChatSession::Answer answer =
      session.Ask(text, [](std::string_view piece) { Write(Printable(std::string(piece))); });
  if (answer.status.ok() || !answer.text.empty()) Write("\n");
  Report(answer, stats);
  return answer;
}

// Reads lines until the end of the input or /quit.
int Converse(ChatSession& session, bool stats) {
  const bool interactive = isatty(STDIN_FILENO) != 0;
  bool failed = false;
  if (interactive) Write("/help lists the commands; Ctrl-D leaves.\n");
  std::string line;
  for (;;) {
    if (interactive) Write("> ");
    if (!std::getline(std::cin, line)) break;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line == "/quit" || line == "/exit") break;
    if (line == "/help") {
      Write(kHelp);
    } else if (line == "/reset") {
      session.Reset();
      std::cerr << "[a new conversation]\n";
    } else if (line[0] == '/') {
      std::cerr << "[no such command; /help lists them]\n";
    } else {
      const ChatSession::Answer answer = AskAndPrint(session, line, stats);
      failed = !answer.status.ok() && answer.status.error_code() != grpc::StatusCode::CANCELLED;
      if (failed && !interactive) return kExitFailure;
    }
  }
  if (interactive) Write("\n");
  return failed ? kExitFailure : kExitOk;
}

}  // namespace

int RunChat(ChatArguments arguments) {
  BlockSignals({SIGINT});  // before gRPC starts its threads
  const Status key = ReadApiKey(&arguments.client);
  const auto channel = MakeChannel(arguments.client);
  if (!key.ok() || !channel.ok()) {
    std::cerr << "inferd: " << (key.ok() ? channel.status() : key).message() << "\n";
    return kExitUsage;
  }
  const auto stub = v1::ChatService::NewStub(*channel);
  ChatSession session(*stub, arguments);
  const SignalWatcher watcher({SIGINT}, [&session, &arguments](int) {
    if (session.Cancel()) return;
    if (arguments.once) _exit(128 + SIGINT);
    Write("\n[Ctrl-D or /quit leaves]\n> ");
  });
  if (arguments.once) {
    const ChatSession::Answer answer = AskAndPrint(session, *arguments.once, arguments.stats);
    if (answer.status.error_code() == grpc::StatusCode::CANCELLED) return 128 + SIGINT;
    return answer.status.ok() ? kExitOk : kExitFailure;
  }
  return Converse(session, arguments.stats);
}

}  // namespace inferd::app
