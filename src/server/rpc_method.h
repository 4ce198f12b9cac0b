#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inferd {

// The rpcs this server answers: a closed set, fit for metric labels.
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
};
inline constexpr size_t kNumRpcMethods = 11;

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
  };
  return kNames[static_cast<size_t>(method)];
}

}  // namespace inferd
