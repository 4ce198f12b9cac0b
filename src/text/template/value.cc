#include "text/template/value.h"

#include <algorithm>

namespace inferd::chat_template {

Value Value::String(MarkedString text) {
  Value v(Kind::kString, text.trusted());
  v.object_ = std::make_shared<const MarkedString>(std::move(text));
  return v;
}

Value Value::Undefined(std::string message) {
  Value v;
  v.object_ = std::make_shared<const MarkedString>(std::move(message), true);
  return v;
}

Value Value::Missing(const Value& name, Kind owner) {
  Value v;
  v.object_ = name.object_;
  v.owner_ = owner;
  v.int_ = 1;
  return v;
}

Value Value::Function(Builtin builtin) {
  Value v(Kind::kBuiltin, true);
  v.int_ = static_cast<int64_t>(builtin);
  return v;
}

Value Value::List(std::shared_ptr<const ListObject> list, bool trusted) {
  Value v(Kind::kList, trusted);
  v.object_ = std::move(list);
  return v;
}

Value Value::Dict(std::shared_ptr<const DictObject> dict, bool trusted) {
  Value v(Kind::kDict, trusted);
  v.object_ = std::move(dict);
  return v;
}

Value Value::Namespace(std::shared_ptr<NamespaceObject> object) {
  Value v(Kind::kNamespace, true);
  v.object_ = std::move(object);
  return v;
}

Value Value::Loop(std::shared_ptr<const LoopObject> object) {
  Value v(Kind::kLoop, true);
  v.object_ = std::move(object);
  return v;
}

Value Value::Macro(std::shared_ptr<const MacroObject> object) {
  Value v(Kind::kMacro, true);
  v.object_ = std::move(object);
  return v;
}

Value Value::Method(std::shared_ptr<const MethodObject> object) {
  Value v(Kind::kMethod, true);
  v.object_ = std::move(object);
  return v;
}

const ListObject& Value::list() const { return *static_cast<const ListObject*>(object_.get()); }
const std::vector<Value>& Value::items() const { return list().items; }
const DictObject& Value::dict() const { return *static_cast<const DictObject*>(object_.get()); }
NamespaceObject& Value::name_space() const {
  return *static_cast<NamespaceObject*>(const_cast<void*>(object_.get()));
}
const LoopObject& Value::loop() const { return *static_cast<const LoopObject*>(object_.get()); }
const MacroObject& Value::macro() const { return *static_cast<const MacroObject*>(object_.get()); }
const MethodObject& Value::method() const {
  return *static_cast<const MethodObject*>(object_.get());
}

bool Value::IsSequence() const {
  return kind_ == Kind::kList && list().flavor <= ListObject::Flavor::kRange;
}

int Value::depth() const {
  if (kind_ == Kind::kList) return list().depth;
  if (kind_ == Kind::kDict) return dict().depth;
  return 0;
}

bool Value::plain() const {
  if (kind_ == Kind::kList) return list().plain;
  if (kind_ == Kind::kDict) return dict().plain;
  return kind_ < Kind::kNamespace || kind_ == Kind::kBuiltin;
}

bool Value::Truthy() const {
  switch (kind_) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return int_ != 0;
    case Kind::kFloat:
      return float_ != 0;
    case Kind::kString:
      return !string().empty();
    case Kind::kList:
      return list().flavor == ListObject::Flavor::kIterator || !items().empty();
    case Kind::kDict:
      return !dict().entries.empty();
    default:
      return true;
  }
}

std::string_view Value::TypeName() const {
  switch (kind_) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "NoneType";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kList:
      switch (list().flavor) {
        case ListObject::Flavor::kList:
          return "list";
        case ListObject::Flavor::kTuple:
          return "tuple";
        case ListObject::Flavor::kRange:
          return "range";
        case ListObject::Flavor::kView:
          return list().label;
        case ListObject::Flavor::kIterator:
          return "generator";
      }
      return "list";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "Namespace";
    case Kind::kLoop:
      return "LoopContext";
    case Kind::kMacro:
      return "Macro";
    case Kind::kBuiltin:
      return "function";
    case Kind::kMethod:
      return "method";
  }
  return "object";
}

std::string Value::UndefinedMessage() const {
  if (object_ == nullptr) return "value is undefined";
  if (int_ == 0) return string().text();
  if (owner_ == Kind::kUndefined) return "'" + string().text() + "' is undefined";
  std::string owner = "object";
  if (owner_ == Kind::kDict) owner = "dict object";
  if (owner_ == Kind::kString) owner = "str object";
  if (owner_ == Kind::kList) owner = "list object";
  if (owner_ == Kind::kNone) owner = "None";
  return "'" + owner + "' has no attribute '" + string().text() + "'";
}

const Value* DictObject::Find(std::string_view key) const {
  if (!sorted.empty()) {
    auto it = std::lower_bound(
        sorted.begin(), sorted.end(), key,
        [this](uint32_t i, std::string_view k) { return entries[i].first.text() < k; });
    if (it == sorted.end() || entries[*it].first.text() != key) return nullptr;
    return &entries[*it].second;
  }
  for (const auto& [name, value] : entries) {
    if (name.IsString() && name.text() == key) return &value;
  }
  return nullptr;
}

Value* NamespaceObject::Find(std::string_view name) {
  for (auto& [key, value] : attributes) {
    if (key == name) return &value;
  }
  return nullptr;
}

}  // namespace inferd::chat_template
