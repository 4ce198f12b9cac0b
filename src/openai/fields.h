// From JSON values to fields of the API's messages, by their descriptors: names in
// the proto are those of the JSON, so every plain field reads itself. What has
// another shape in JSON is in shapes.h.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <string>
#include <string_view>

#include "inferd/base/status.h"
#include "openai/json_cursor.h"

namespace inferd::openai {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Where a value stands, as OpenAI writes it: "messages[3].content". Names come from
// the client and are cut at 64 bytes.
std::string Member(const std::string& path, std::string_view name);
std::string Item(const std::string& path, size_t index);

// INVALID_ARGUMENT at `path`: "must be <what>".
Status WrongType(const std::string& path, std::string_view what);
// UNSUPPORTED_PARAMETER at `path`.
Status Unsupported(const std::string& path, std::string_view why);

// The object that comes next, into `out`. A null leaves its field unset.
Status ReadObject(JsonCursor& in, const std::string& path, Message* out);
// One value into one field, which may be repeated or a map.
Status ReadField(JsonCursor& in, const std::string& path, const FieldDescriptor& field,
                 Message* out);
// A string, or WrongType.
Status ReadString(JsonCursor& in, const std::string& path, std::string* out);

// True for fields that ReadObject itself does not fill: members of a oneof and bytes,
// which JSON writes in another way or not at all.
bool HasOwnShape(const FieldDescriptor& field);

}  // namespace inferd::openai
