// What the client subcommands share.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "app/command_line.h"
#include "grpcpp/grpcpp.h"

namespace inferd::app {

// A plaintext channel that uses no proxy; connects when first used.
std::shared_ptr<grpc::Channel> MakeChannel(const ClientArguments& client);

std::chrono::system_clock::time_point Deadline(const ClientArguments& client);

// "UNAVAILABLE: connection refused".
std::string Describe(const grpc::Status& status);

// Text for a terminal: control characters but newline and tab are left out, so
// that a model cannot send escape sequences.
std::string Printable(const std::string& text);

// The subcommands; each returns the exit code.
int RunHealth(const HealthArguments& arguments);
int RunModels(const ClientArguments& arguments);

}  // namespace inferd::app
