// What the client subcommands share.
#pragma once

#include <memory>
#include <string>

#include "app/command_line.h"
#include "grpcpp/grpcpp.h"
#include "inferd/base/status.h"

namespace inferd::app {

// A channel that uses no proxy and trusts whom `client` says; connects when first
// used. INVALID_ARGUMENT for a file that cannot be read.
StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ClientArguments& client);

// Takes the key from its file, or from INFERD_API_KEY where no file is named.
Status ReadApiKey(ClientArguments* client);

// Sets deadline and key.
void Prepare(const ClientArguments& client, grpc::ClientContext* context);

// "UNAVAILABLE: connection refused"; with advice where the connection itself failed.
std::string Describe(const grpc::Status& status);

// Text for a terminal: control characters but newline and tab are left out, so
// that a model cannot send escape sequences.
std::string Printable(const std::string& text);

// The subcommands; each returns the exit code.
int RunHealth(const HealthArguments& arguments);
int RunModels(ClientArguments arguments);

}  // namespace inferd::app
