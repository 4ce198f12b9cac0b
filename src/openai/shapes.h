// The parts of a request that JSON writes in another way than the messages: one
// function per field, and the names that are known to change nothing.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "openai/json_cursor.h"

namespace inferd::openai {

// Takes the value of a name into the message that has it.
using ShapeReader = Status (*)(JsonCursor& in, const std::string& path,
                               google::protobuf::Message* owner);

// Null when the name is read as any other field.
ShapeReader ShapeOf(const google::protobuf::Descriptor& type, std::string_view name);

// A name that the messages do not have, sent by clients all the same.
struct NeutralName {
  std::string_view message;  // "ChatCompletionRequest"
  std::string_view name;
  // The JSON of the one value that says what is done anyway; others are refused.
  // Empty: no value of it changes an answer.
  std::string_view value;
};
// Null when it is none of them.
const NeutralName* FindNeutral(const google::protobuf::Descriptor& type, std::string_view name);

}  // namespace inferd::openai
