#include "openai/fields.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "openai/shapes.h"

namespace inferd::openai {
namespace {

using google::protobuf::EnumDescriptor;
using google::protobuf::EnumValueDescriptor;

constexpr size_t kMaxNameBytes = 64;

// An error within a message of the conversation says so, as the validator's do.
std::string_view ReasonAt(const std::string& path) {
  return path.rfind("messages", 0) == 0 ? "INVALID_MESSAGE" : "INVALID_PARAMETER";
}

Status ReadInteger(JsonCursor& in, const std::string& path, int64_t low, int64_t high,
                   std::string_view range, int64_t* out) {
  if (in.Peek() != JsonKind::kNumber) return WrongType(path, "an integer");
  const std::string_view text = in.TakeNumber();
  if (text.find_first_of(".eE") != std::string_view::npos) return WrongType(path, "an integer");
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), *out);
  if (parsed.ec != std::errc() || *out < low || *out > high) {
    return InvalidField(path, "must fit in " + std::string(range), ReasonAt(path));
  }
  return OkStatus();
}

// Every unsigned field of the API is a token id.
Status ReadTokenId(JsonCursor& in, const std::string& path, uint32_t* out) {
  int64_t value = 0;
  if (in.Peek() != JsonKind::kNumber) return WrongType(path, "a token id");
  const Status status =
      ReadInteger(in, path, 0, std::numeric_limits<uint32_t>::max(), "32 bits, unsigned", &value);
  if (!status.ok()) return InvalidField(path, "must be a token id", "INVALID_TOKEN_ID");
  *out = static_cast<uint32_t>(value);
  return OkStatus();
}

Status ReadFloat(JsonCursor& in, const std::string& path, float* out) {
  if (in.Peek() != JsonKind::kNumber) return WrongType(path, "a number");
  const std::string_view text = in.TakeNumber();
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec == std::errc::result_out_of_range) {
    const bool tiny =
        text.find("e-") != std::string_view::npos || text.find("E-") != std::string_view::npos;
    value = tiny ? 0 : HUGE_VAL;
  }
  // What no float holds is for the validator to refuse, as any number out of range.
  constexpr double kMax = std::numeric_limits<float>::max();
  if (std::abs(value) > kMax) value = std::copysign(HUGE_VAL, value);
  *out = static_cast<float>(value);
  return OkStatus();
}

Status ReadBool(JsonCursor& in, const std::string& path, bool* out) {
  if (in.Peek() != JsonKind::kBool) return WrongType(path, "true or false");
  *out = in.TakeBool();
  return OkStatus();
}

// "low" for REASONING_EFFORT_LOW: the names share the first value's prefix.
std::string JsonNameOf(const EnumValueDescriptor& value) {
  constexpr std::string_view kUnspecified = "UNSPECIFIED";
  const std::string& first = value.type()->value(0)->name();
  std::string name = value.name().substr(first.size() - kUnspecified.size());
  for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  return name;
}

Status ReadEnum(JsonCursor& in, const std::string& path, const EnumDescriptor& type, int* out) {
  std::string name;
  INFERD_RETURN_IF_ERROR(ReadString(in, path, &name));
  std::string known;
  for (int i = 1; i < type.value_count(); ++i) {
    const std::string value = JsonNameOf(*type.value(i));
    if (name == value) {
      *out = type.value(i)->number();
      return OkStatus();
    }
    known += (known.empty() ? "" : ", ") + value;
  }
  return InvalidField(path, "must be one of " + known, ReasonAt(path));
}

Status ReadList(JsonCursor& in, const std::string& path, const FieldDescriptor& field,
                Message* out) {
  const auto* reflection = out->GetReflection();
  if (in.Peek() != JsonKind::kArray) return WrongType(path, "an array");
  in.EnterArray();
  for (size_t i = 0; in.NextItem(); ++i) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_UINT32: {
        uint32_t value = 0;
        const Status status = ReadTokenId(in, path, &value);
        if (!status.ok())
          return InvalidField(Item(path, i), "must be a token id", "INVALID_TOKEN_ID");
        reflection->AddUInt32(out, &field, value);
        break;
      }
      case FieldDescriptor::CPPTYPE_STRING: {
        std::string value;
        INFERD_RETURN_IF_ERROR(ReadString(in, Item(path, i), &value));
        reflection->AddString(out, &field, std::move(value));
        break;
      }
      case FieldDescriptor::CPPTYPE_MESSAGE:
        INFERD_RETURN_IF_ERROR(ReadObject(in, Item(path, i), reflection->AddMessage(out, &field)));
        break;
      default:
        return Unsupported(path, "cannot be given in JSON");
    }
  }
  return OkStatus();
}

// A key of a JSON object as a map's key.
Status SetKey(const std::string& path, const std::string& name, Message* entry) {
  const FieldDescriptor* key = entry->GetDescriptor()->map_key();
  if (key->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    entry->GetReflection()->SetString(entry, key, name);
    return OkStatus();
  }
  uint32_t id = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + name.size(), id);
  const bool canonical = name.size() == 1 || name.empty() || name.front() != '0';
  if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size() || !canonical) {
    return InvalidField(path, "its names must be token ids", "INVALID_TOKEN_ID");
  }
  entry->GetReflection()->SetUInt32(entry, key, id);
  return OkStatus();
}

Status ReadMap(JsonCursor& in, const std::string& path, const FieldDescriptor& field,
               Message* out) {
  if (in.Peek() != JsonKind::kObject) return WrongType(path, "an object");
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    Message* entry = out->GetReflection()->AddMessage(out, &field);
    INFERD_RETURN_IF_ERROR(SetKey(path, name, entry));
    INFERD_RETURN_IF_ERROR(
        ReadField(in, Member(path, name), *entry->GetDescriptor()->map_value(), entry));
  }
  return OkStatus();
}

}  // namespace

std::string Member(const std::string& path, std::string_view name) {
  size_t end = std::min(name.size(), kMaxNameBytes);
  while (end > 0 && end < name.size() && (static_cast<unsigned char>(name[end]) & 0xC0) == 0x80) {
    --end;
  }
  return (path.empty() ? path : path + ".") + std::string(name.substr(0, end));
}

std::string Item(const std::string& path, size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

Status WrongType(const std::string& path, std::string_view what) {
  return InvalidField(path, "must be " + std::string(what), ReasonAt(path));
}

Status Unsupported(const std::string& path, std::string_view why) {
  return InvalidField(path, why, "UNSUPPORTED_PARAMETER");
}

Status ReadString(JsonCursor& in, const std::string& path, std::string* out) {
  if (in.Peek() != JsonKind::kString) return WrongType(path, "a string");
  *out = in.TakeString();
  return OkStatus();
}

bool HasOwnShape(const FieldDescriptor& field) {
  return field.real_containing_oneof() != nullptr || field.type() == FieldDescriptor::TYPE_BYTES;
}

Status ReadField(JsonCursor& in, const std::string& path, const FieldDescriptor& field,
                 Message* out) {
  const auto* reflection = out->GetReflection();
  if (field.is_map()) return ReadMap(in, path, field, out);
  if (field.is_repeated()) return ReadList(in, path, field, out);
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
    case FieldDescriptor::CPPTYPE_INT64: {
      const bool wide = field.cpp_type() == FieldDescriptor::CPPTYPE_INT64;
      int64_t value = 0;
      INFERD_RETURN_IF_ERROR(
          wide ? ReadInteger(in, path, INT64_MIN, INT64_MAX, "64 bits, signed", &value)
               : ReadInteger(in, path, INT32_MIN, INT32_MAX, "32 bits, signed", &value));
      if (wide) {
        reflection->SetInt64(out, &field, value);
      } else {
        reflection->SetInt32(out, &field, static_cast<int32_t>(value));
      }
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      uint32_t value = 0;
      INFERD_RETURN_IF_ERROR(ReadTokenId(in, path, &value));
      reflection->SetUInt32(out, &field, value);
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      float value = 0;
      INFERD_RETURN_IF_ERROR(ReadFloat(in, path, &value));
      reflection->SetFloat(out, &field, value);
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL: {
      bool value = false;
      INFERD_RETURN_IF_ERROR(ReadBool(in, path, &value));
      reflection->SetBool(out, &field, value);
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string value;
      INFERD_RETURN_IF_ERROR(ReadString(in, path, &value));
      reflection->SetString(out, &field, std::move(value));
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_ENUM: {
      int value = 0;
      INFERD_RETURN_IF_ERROR(ReadEnum(in, path, *field.enum_type(), &value));
      reflection->SetEnumValue(out, &field, value);
      return OkStatus();
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ReadObject(in, path, reflection->MutableMessage(out, &field));
    default:
      return Unsupported(path, "cannot be given in JSON");
  }
}

Status ReadObject(JsonCursor& in, const std::string& path, Message* out) {
  if (in.Peek() != JsonKind::kObject) return WrongType(path, "an object");
  const auto* type = out->GetDescriptor();
  in.EnterObject();
  std::string name;
  while (in.NextName(&name)) {
    if (in.Peek() == JsonKind::kNull) {  // clients send null for what they leave out
      in.TakeRaw();
      continue;
    }
    const std::string at = Member(path, name);
    if (const ShapeReader read = ShapeOf(*type, name); read != nullptr) {
      INFERD_RETURN_IF_ERROR(read(in, at, out));
      continue;
    }
    if (const NeutralName* neutral = FindNeutral(*type, name); neutral != nullptr) {
      const std::string_view value = in.TakeRaw();
      if (neutral->value.empty() || value == neutral->value) continue;
      return Unsupported(at, "is not available on this server");
    }
    const FieldDescriptor* field = type->FindFieldByName(name);
    if (field == nullptr || HasOwnShape(*field)) {
      return Unsupported(at, "is not a parameter of this server");
    }
    INFERD_RETURN_IF_ERROR(ReadField(in, at, *field, out));
  }
  return OkStatus();
}

}  // namespace inferd::openai
