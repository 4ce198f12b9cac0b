#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inferd {

// The rpcs and HTTP routes this server answers: a closed set, fit for metric labels.
enum class RpcMethod : uint8_t {
  kCreateChatCompletion,
  kStreamChatCompletion,
  kCreateCompletion,
  kStreamCompletion,
  kListModels,
  kGetModel,
  kTokenize,
  kDetokenize,
  kRenderChat,
  kGetServerInfo,
  kGetLoad,
  kHttpChatCompletions,
  kHttpCompletions,
  kHttpListModels,
  kHttpGetModel,
  kHttpTokenize,
  kHttpDetokenize,
  kHttpOther,   // no route, or not one for this method
  kUnknownRpc,  // no such rpc
};
inline constexpr size_t kNumRpcMethods = 19;

inline std::string_view RpcMethodName(RpcMethod method) {
  constexpr std::array<std::string_view, kNumRpcMethods> kNames = {
      "ChatService/CreateChatCompletion",
      "ChatService/StreamChatCompletion",
      "CompletionService/CreateCompletion",
      "CompletionService/StreamCompletion",
      "ModelService/ListModels",
      "ModelService/GetModel",
      "TokenizerService/Tokenize",
      "TokenizerService/Detokenize",
      "TokenizerService/RenderChat",
      "ServerService/GetServerInfo",
      "ServerService/GetLoad",
      "POST /v1/chat/completions",
      "POST /v1/completions",
      "GET /v1/models",
      "GET /v1/models/{id}",
      "POST /tokenize",
      "POST /detokenize",
      "http/other",
      "unknown",
  };
  return kNames[static_cast<size_t>(method)];
}

}  // namespace inferd
