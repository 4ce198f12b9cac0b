// The values of the template language: immutable, except namespaces.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template/marked_string.h"

namespace inferd::chat_template {

class Value;
struct ListObject;
struct DictObject;
struct NamespaceObject;
struct LoopObject;
struct MacroObject;
struct MethodObject;

// Functions the language has from the start.
enum class Builtin : uint8_t { kRange, kDict, kNamespace, kRaiseException, kStrftimeNow };

// One value. Copies share what is behind it. `trusted` tells the origin of the
// text that printing a value makes by itself (digits, brackets, names); a string
// carries its own marks. One render, hence one thread, except for the constants
// of a compiled template, which are never written.
class Value {
 public:
  enum class Kind : uint8_t {
    kUndefined,
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kList,  // every sequence and iterator; see ListObject::Flavor
    kDict,
    kNamespace,
    kLoop,
    kMacro,
    kBuiltin,
    kMethod,
  };

  Value() = default;  // undefined
  static Value None(bool trusted = true) { return Value(Kind::kNone, trusted); }
  static Value Bool(bool value, bool trusted = true) {
    Value v(Kind::kBool, trusted);
    v.int_ = value ? 1 : 0;
    return v;
  }
  static Value Int(int64_t value, bool trusted = true) {
    Value v(Kind::kInt, trusted);
    v.int_ = value;
    return v;
  }
  static Value Float(double value, bool trusted = true) {
    Value v(Kind::kFloat, trusted);
    v.float_ = value;
    return v;
  }
  static Value String(MarkedString text);
  static Value String(std::string text, bool trusted) {
    return String(MarkedString(std::move(text), trusted));
  }
  // Undefined that says `message` when used.
  static Value Undefined(std::string message);
  // Undefined because `name` (a string value) is not there, in a value of kind
  // `owner` unless that is kUndefined.
  static Value Missing(const Value& name, Kind owner);
  static Value Function(Builtin builtin);
  static Value List(std::shared_ptr<const ListObject> list, bool trusted);
  static Value Dict(std::shared_ptr<const DictObject> dict, bool trusted);
  static Value Namespace(std::shared_ptr<NamespaceObject> object);
  static Value Loop(std::shared_ptr<const LoopObject> object);
  static Value Macro(std::shared_ptr<const MacroObject> object);
  static Value Method(std::shared_ptr<const MethodObject> object);

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  bool IsUndefined() const { return kind_ == Kind::kUndefined; }
  bool IsNone() const { return kind_ == Kind::kNone; }
  bool IsString() const { return kind_ == Kind::kString; }
  bool IsDict() const { return kind_ == Kind::kDict; }
  bool IsListKind() const { return kind_ == Kind::kList; }
  // A list or tuple or range: has a length and positions.
  bool IsSequence() const;
  bool IsIntegral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool IsNumber() const { return IsIntegral() || kind_ == Kind::kFloat; }
  bool IsCallable() const { return kind_ >= Kind::kMacro; }

  bool trusted() const { return trusted_; }

  // Each only for its kind.
  bool as_bool() const { return int_ != 0; }
  int64_t as_int() const { return int_; }  // of bool too
  double as_float() const { return kind_ == Kind::kFloat ? float_ : static_cast<double>(int_); }
  const MarkedString& string() const { return *static_cast<const MarkedString*>(object_.get()); }
  std::string_view text() const { return string().text(); }
  const ListObject& list() const;
  const std::vector<Value>& items() const;
  const DictObject& dict() const;
  NamespaceObject& name_space() const;
  const LoopObject& loop() const;
  const MacroObject& macro() const;
  const MethodObject& method() const;
  Builtin builtin() const { return static_cast<Builtin>(int_); }

  // Nesting of containers below and including this value; 0 for scalars.
  int depth() const;
  // Holds no namespace, loop, macro or method anywhere: may be kept anywhere.
  bool plain() const;
  bool Truthy() const;
  // "str", "dict", … as Python names the type.
  std::string_view TypeName() const;
  // Why an undefined value is undefined.
  std::string UndefinedMessage() const;

 private:
  Value(Kind kind, bool trusted) : kind_(kind), trusted_(trusted) {}

  Kind kind_ = Kind::kUndefined;
  bool trusted_ = true;
  Kind owner_ = Kind::kUndefined;  // of a missing attribute
  union {
    int64_t int_ = 0;
    double float_;
  };
  std::shared_ptr<const void> object_;
};

// A sequence of any sort.
struct ListObject {
  enum class Flavor : uint8_t {
    kList,
    kTuple,
    kRange,     // `label` is its repr
    kView,      // of a dict; `label` is its type name
    kIterator,  // what lazy filters give: no length, no positions, not printable
  };
  std::vector<Value> items;
  Flavor flavor = Flavor::kList;
  int depth = 1;
  bool plain = true;
  std::string label;
};

// A mapping in insertion order. Keys are hashable values.
struct DictObject {
  std::vector<std::pair<Value, Value>> entries;
  std::vector<uint32_t> sorted;  // positions by key, when long and all keys are strings
  int depth = 1;
  bool plain = true;

  // The value of a string key; null when there is none.
  const Value* Find(std::string_view key) const;
};

// What namespace() makes. Holds plain values only, so there are no cycles.
struct NamespaceObject {
  std::vector<std::pair<std::string, Value>> attributes;
  Value* Find(std::string_view name);
};

// The state of a running loop. `items` outlives it.
struct LoopObject {
  const std::vector<Value>* items = nullptr;
  size_t index0 = 0;
  int depth0 = 0;
  bool has_changed_value = false;
  std::vector<Value> changed_value;
};

// A macro and the scope it was defined in, which outlives every use: macros
// cannot be kept in namespaces and so never leave their scope.
struct MacroObject {
  int node = 0;
  void* scope = nullptr;
  std::string name;
};

// An attribute of a value that can be called.
struct MethodObject {
  Value self;
  std::string name;
};

}  // namespace inferd::chat_template
