#include <algorithm>

#include "text/template/methods.h"
#include "text/template/operators.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;
using Flavor = ListObject::Flavor;

Value MissingIn(const Value& object, const Value& name) {
  return Value::Missing(name, object.kind());
}

StatusOr<Value> LoopAttribute(Budget& budget, const Value& object, const Value& name) {
  const LoopObject& loop = object.loop();
  const std::string_view text = name.text();
  const auto size = static_cast<int64_t>(loop.items->size());
  const auto index0 = static_cast<int64_t>(loop.index0);
  if (text == "index") return Value::Int(index0 + 1);
  if (text == "index0") return Value::Int(index0);
  if (text == "revindex") return Value::Int(size - index0);
  if (text == "revindex0") return Value::Int(size - index0 - 1);
  if (text == "length") return Value::Int(size);
  if (text == "first") return Value::Bool(index0 == 0);
  if (text == "last") return Value::Bool(index0 + 1 == size);
  if (text == "depth") return Value::Int(loop.depth0 + 1);
  if (text == "depth0") return Value::Int(loop.depth0);
  if (text == "previtem") {
    if (index0 == 0) return Value::Undefined("there is no previous item");
    return (*loop.items)[loop.index0 - 1];
  }
  if (text == "nextitem") {
    if (index0 + 1 >= size) return Value::Undefined("there is no next item");
    return (*loop.items)[loop.index0 + 1];
  }
  if (HasMethod(object, text)) return MakeMethod(budget, object, text);
  return Value::Missing(name, Kind::kLoop);
}

// The positions a slice takes, as Python computes them.
struct SliceRange {
  int64_t start;
  int64_t count;
  int64_t step;
};

StatusOr<int64_t> SliceBound(Budget& budget, const Value& bound, int64_t length, int64_t low,
                             int64_t high, int64_t absent) {
  if (bound.IsNone()) return absent;
  if (bound.IsUndefined()) return budget.UndefinedError(bound);
  if (!bound.IsIntegral()) return budget.Error("slice indices must be integers or None");
  int64_t value = bound.as_int();
  if (value < 0) value = value < -length ? low : value + length;
  return std::clamp(value, low, high);
}

StatusOr<SliceRange> ResolveSlice(Budget& budget, const Value& start, const Value& stop,
                                  const Value& step, int64_t length) {
  SliceRange range{0, 0, 1};
  if (!step.IsNone()) {
    if (!step.IsIntegral()) return budget.Error("slice indices must be integers or None");
    range.step = std::clamp<int64_t>(step.as_int(), -(int64_t{1} << 40), int64_t{1} << 40);
    if (range.step == 0) return budget.Error("slice step cannot be zero");
  }
  const bool forward = range.step > 0;
  const int64_t low = forward ? 0 : -1;
  const int64_t high = forward ? length : length - 1;
  INFERD_ASSIGN_OR_RETURN(range.start,
                          SliceBound(budget, start, length, low, high, forward ? low : high));
  INFERD_ASSIGN_OR_RETURN(const int64_t end,
                          SliceBound(budget, stop, length, low, high, forward ? high : low));
  if (forward && end > range.start) range.count = (end - range.start - 1) / range.step + 1;
  if (!forward && end < range.start) range.count = (range.start - end - 1) / -range.step + 1;
  return range;
}

StatusOr<Value> SliceString(Budget& budget, const MarkedString& text, const SliceRange& range) {
  const std::string_view view = text.text();
  TextBuilder out(budget);
  if (range.step == 1) {
    const size_t begin = ByteOffset(view, static_cast<size_t>(range.start));
    const size_t end = begin + ByteOffset(view.substr(begin), static_cast<size_t>(range.count));
    out.AppendRange(text, begin, end);
    return out.Finish();
  }
  INFERD_RETURN_IF_ERROR(budget.Charge(range.count + static_cast<int64_t>(view.size() / 2)));
  std::vector<size_t> offsets;
  for (size_t i = 0; i < view.size(); i += DecodeAt(view, i).length) offsets.push_back(i);
  offsets.push_back(view.size());
  for (int64_t i = 0, at = range.start; i < range.count && out.ok(); ++i, at += range.step) {
    const auto place = static_cast<size_t>(at);
    out.AppendRange(text, offsets[place], offsets[place + 1]);
  }
  return out.Finish();
}

StatusOr<Value> StringItem(Budget& budget, const Value& object, int64_t index) {
  const std::string_view view = object.text();
  INFERD_RETURN_IF_ERROR(budget.ChargeBytes(view.size()));
  if (index < 0) index += static_cast<int64_t>(CountCodePoints(view));
  if (index < 0) return Value::Undefined("string index out of range");
  const size_t begin = ByteOffset(view, static_cast<size_t>(index));
  if (begin >= view.size()) return Value::Undefined("string index out of range");
  return budget.MakeString(object.string().Substring(begin, begin + DecodeAt(view, begin).length));
}

StatusOr<Value> DictItem(Budget& budget, const Value& object, const Value& key) {
  const DictObject& dict = object.dict();
  if (key.IsString()) {
    INFERD_RETURN_IF_ERROR(
        budget.Charge(dict.sorted.empty() ? 1 + static_cast<int64_t>(dict.entries.size() / 8) : 2));
    const Value* found = dict.Find(key.text());
    return found == nullptr ? Value() : *found;
  }
  for (const auto& [name, value] : dict.entries) {
    INFERD_ASSIGN_OR_RETURN(const bool equal, Equals(budget, name, key));
    if (equal) return value;
  }
  return Value();
}

}  // namespace

StatusOr<Value> GetAttribute(Budget& budget, const Value& object, const Value& name) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  const std::string_view text = name.text();
  if (object.IsUndefined()) return budget.UndefinedError(object);
  if (object.Is(Kind::kLoop)) return LoopAttribute(budget, object, name);
  if (object.Is(Kind::kNamespace)) {
    INFERD_RETURN_IF_ERROR(
        budget.Charge(static_cast<int64_t>(object.name_space().attributes.size() / 16)));
    const Value* found = object.name_space().Find(text);
    return found == nullptr ? MissingIn(object, name) : *found;
  }
  if (object.Is(Kind::kMacro)) {
    if (text == "name") return budget.MakeString(MarkedString(object.macro().name, true));
    return budget.Error("attribute '" + std::string(text) + "' of a macro is not supported");
  }
  if (HasMethod(object, text)) return MakeMethod(budget, object, text);
  if (IsForbiddenMethod(object, text))
    return Value::Undefined("access to attribute '" + std::string(text) + "' of '" +
                            std::string(object.TypeName()) + "' object is unsafe");
  if (object.IsDict()) {
    INFERD_ASSIGN_OR_RETURN(Value found, DictItem(budget, object, name));
    // An undefined value cannot come out of the input; a template may store one.
    return found.IsUndefined() ? MissingIn(object, name) : found;
  }
  return MissingIn(object, name);
}

StatusOr<Value> GetItem(Budget& budget, const Value& object, const Value& key) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  if (object.IsUndefined()) return budget.UndefinedError(object);
  if (object.IsDict()) {
    INFERD_ASSIGN_OR_RETURN(Value found, DictItem(budget, object, key));
    if (!found.IsUndefined()) return found;
  } else if (object.IsSequence() && key.IsIntegral()) {
    const auto size = static_cast<int64_t>(object.items().size());
    const int64_t index = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    if (index >= 0 && index < size) return object.items()[static_cast<size_t>(index)];
    return Value::Undefined(std::string(object.TypeName()) + " object has no element " +
                            std::to_string(key.as_int()));
  } else if (object.IsString() && key.IsIntegral()) {
    return StringItem(budget, object, key.as_int());
  } else if (object.Is(Kind::kNamespace) && key.IsString()) {
    return GetAttribute(budget, object, key);
  }
  if (!key.IsString())
    return Value::Undefined("'" + std::string(object.TypeName()) + "' object has no such element");
  if (HasMethod(object, key.text())) return MakeMethod(budget, object, key.text());
  if (object.Is(Kind::kLoop)) return LoopAttribute(budget, object, key);
  return MissingIn(object, key);
}

StatusOr<Value> Slice(Budget& budget, const Value& object, const Value& start, const Value& stop,
                      const Value& step) {
  if (object.IsUndefined()) return budget.UndefinedError(object);
  if (object.IsString()) {
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(object.text().size()));
    const auto length = static_cast<int64_t>(CountCodePoints(object.text()));
    INFERD_ASSIGN_OR_RETURN(const SliceRange range,
                            ResolveSlice(budget, start, stop, step, length));
    return SliceString(budget, object.string(), range);
  }
  if (!object.IsSequence())
    return budget.Error("'" + std::string(object.TypeName()) + "' object cannot be sliced");
  const auto length = static_cast<int64_t>(object.items().size());
  INFERD_ASSIGN_OR_RETURN(const SliceRange range, ResolveSlice(budget, start, stop, step, length));
  INFERD_RETURN_IF_ERROR(budget.Charge(range.count / 4));
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(range.count));
  for (int64_t i = 0, at = range.start; i < range.count; ++i, at += range.step)
    items.push_back(object.items()[static_cast<size_t>(at)]);
  const Flavor flavor = object.list().flavor == Flavor::kTuple ? Flavor::kTuple : Flavor::kList;
  return budget.MakeList(std::move(items), flavor, object.trusted());
}

StatusOr<Value> GetPath(Budget& budget, const Value& object, const Value& path) {
  if (!path.IsString()) return GetItem(budget, object, path);
  Value value = object;
  const std::string_view text = path.text();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('.', begin), text.size());
    const std::string_view part = text.substr(begin, end - begin);
    const bool number =
        !part.empty() && part.size() < 10 &&
        std::all_of(part.begin(), part.end(), [](char c) { return c >= '0' && c <= '9'; });
    INFERD_ASSIGN_OR_RETURN(value,
                            GetItem(budget, value,
                                    number ? Value::Int(std::stoll(std::string(part)))
                                           : Value::String(std::string(part), path.trusted())));
    begin = end + 1;
  }
  return value;
}

StatusOr<Value> ToIterable(Budget& budget, const Value& value) {
  if (value.IsListKind()) return value;
  std::vector<Value> items;
  if (value.IsDict()) {
    INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(value.dict().entries.size() / 4)));
    for (const auto& [key, item] : value.dict().entries) items.push_back(key);
  } else if (value.IsString()) {
    const std::string_view view = value.text();
    INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(view.size())));
    for (size_t i = 0; i < view.size();) {
      const size_t end = i + DecodeAt(view, i).length;
      items.push_back(Value::String(value.string().Substring(i, end)));
      i = end;
    }
  } else if (!value.IsUndefined()) {
    return budget.Error("'" + std::string(value.TypeName()) + "' object is not iterable");
  }
  return budget.MakeList(std::move(items), Flavor::kList, value.trusted());
}

StatusOr<int64_t> Length(Budget& budget, const Value& value) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  if (value.IsString()) {
    INFERD_RETURN_IF_ERROR(budget.ChargeBytes(value.text().size()));
    return static_cast<int64_t>(CountCodePoints(value.text()));
  }
  if (value.IsListKind() && value.list().flavor != Flavor::kIterator)
    return static_cast<int64_t>(value.items().size());
  if (value.IsDict()) return static_cast<int64_t>(value.dict().entries.size());
  if (value.IsUndefined()) return int64_t{0};
  if (value.Is(Kind::kLoop)) return static_cast<int64_t>(value.loop().items->size());
  return budget.Error("object of type '" + std::string(value.TypeName()) + "' has no len()");
}

}  // namespace inferd::chat_template
