#include "text/template/tests.h"

#include <array>

#include "text/template/filters.h"
#include "text/template/operators.h"
#include "text/template/printer.h"
#include "text/template/unicode.h"

namespace inferd::chat_template {
namespace {

using Kind = Value::Kind;
using Flavor = ListObject::Flavor;

using KindTest = bool (*)(const Value&);
struct KindEntry {
  std::string_view name;
  KindTest test;
};

bool IsIterable(const Value& v) {
  return v.IsString() || v.IsListKind() || v.IsDict() || v.IsUndefined() || v.Is(Kind::kLoop);
}
bool IsTrue(const Value& v) { return v.Is(Kind::kBool) && v.as_bool(); }
bool IsFalse(const Value& v) { return v.Is(Kind::kBool) && !v.as_bool(); }

// Tests that look at the kind of the value only.
constexpr std::array<KindEntry, 15> kKindTests = {{
    {"defined", [](const Value& v) { return !v.IsUndefined(); }},
    {"undefined", [](const Value& v) { return v.IsUndefined(); }},
    {"none", [](const Value& v) { return v.IsNone(); }},
    {"boolean", [](const Value& v) { return v.Is(Kind::kBool); }},
    {"true", IsTrue},
    {"false", IsFalse},
    {"integer", [](const Value& v) { return v.Is(Kind::kInt); }},
    {"float", [](const Value& v) { return v.Is(Kind::kFloat); }},
    {"number", [](const Value& v) { return v.IsNumber(); }},
    {"string", [](const Value& v) { return v.IsString(); }},
    {"mapping", [](const Value& v) { return v.IsDict(); }},
    {"sequence",
     [](const Value& v) {
       return v.IsString() || v.IsSequence() || v.IsDict() || v.IsUndefined();
     }},
    {"iterable", IsIterable},
    {"callable", [](const Value& v) { return v.IsCallable(); }},
    {"escaped", [](const Value&) { return false; }},
}};

struct CompareEntry {
  std::string_view name;
  Operator op;
};
constexpr std::array<CompareEntry, 16> kCompareTests = {{
    {"eq", Operator::kEqual},
    {"==", Operator::kEqual},
    {"equalto", Operator::kEqual},
    {"ne", Operator::kNotEqual},
    {"!=", Operator::kNotEqual},
    {"gt", Operator::kGreater},
    {">", Operator::kGreater},
    {"greaterthan", Operator::kGreater},
    {"ge", Operator::kGreaterEqual},
    {">=", Operator::kGreaterEqual},
    {"lt", Operator::kLess},
    {"<", Operator::kLess},
    {"lessthan", Operator::kLess},
    {"le", Operator::kLessEqual},
    {"<=", Operator::kLessEqual},
    {"in", Operator::kIn},
}};

constexpr std::array<std::string_view, 8> kOtherTests = {"odd",   "even",   "divisibleby", "lower",
                                                         "upper", "sameas", "filter",      "test"};

constexpr int kCompareBase = static_cast<int>(kKindTests.size());
constexpr int kOtherBase = kCompareBase + static_cast<int>(kCompareTests.size());

// str.isupper, str.islower of the printed value.
StatusOr<bool> IsCase(Budget& budget, const Value& input, bool upper) {
  INFERD_ASSIGN_OR_RETURN(const MarkedString text, Str(budget, input));
  INFERD_RETURN_IF_ERROR(budget.Charge(static_cast<int64_t>(text.size() / 4)));
  bool found = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeAt(text.text(), i);
    if (upper ? IsLower(c.value) : IsUpper(c.value)) return false;
    found = found || (upper ? IsUpper(c.value) : IsLower(c.value));
    i += c.length;
  }
  return found;
}

StatusOr<bool> HasRemainder(Budget& budget, const Value& input, const Value& divisor,
                            int64_t remainder) {
  INFERD_ASSIGN_OR_RETURN(const Value rest, Arithmetic(budget, Operator::kModulo, input, divisor));
  return Equals(budget, rest, Value::Int(remainder));
}

bool SameObject(const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return a.as_int() == b.as_int();
    case Kind::kString:
      return a.text() == b.text();  // Python shares equal short strings, mostly
    case Kind::kList:
      return &a.list() == &b.list();
    case Kind::kDict:
      return &a.dict() == &b.dict();
    default:
      return false;
  }
}

StatusOr<bool> ApplyOther(Budget& budget, std::string_view name, const Value& input,
                          const Arguments& arguments) {
  if (name == "divisibleby" || name == "sameas") {
    INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                            Bind(budget, name, arguments, {name == "sameas" ? "other" : "num"}, 1));
    if (name == "sameas") return SameObject(input, *bound.Get(0));
    return HasRemainder(budget, input, *bound.Get(0), 0);
  }
  INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, name, arguments, {}, 0));
  if (name == "odd") return HasRemainder(budget, input, Value::Int(2), 1);
  if (name == "even") return HasRemainder(budget, input, Value::Int(2), 0);
  if (name == "filter") return input.IsString() && FindFilter(input.text()) >= 0;
  if (name == "test") return input.IsString() && FindTest(input.text()) >= 0;
  return IsCase(budget, input, name == "upper");
}

}  // namespace

int FindTest(std::string_view name) {
  for (size_t i = 0; i < kKindTests.size(); ++i) {
    if (kKindTests[i].name == name) return static_cast<int>(i);
  }
  for (size_t i = 0; i < kCompareTests.size(); ++i) {
    if (kCompareTests[i].name == name) return kCompareBase + static_cast<int>(i);
  }
  for (size_t i = 0; i < kOtherTests.size(); ++i) {
    if (kOtherTests[i] == name) return kOtherBase + static_cast<int>(i);
  }
  return -1;
}

StatusOr<bool> ApplyTest(Budget& budget, int test, const Value& input, const Arguments& arguments) {
  INFERD_RETURN_IF_ERROR(budget.Charge(1));
  if (test < kCompareBase) {
    const KindEntry& entry = kKindTests[static_cast<size_t>(test)];
    INFERD_ASSIGN_OR_RETURN(const BoundArguments bound, Bind(budget, entry.name, arguments, {}, 0));
    return entry.test(input);
  }
  if (test < kOtherBase) {
    const CompareEntry& entry = kCompareTests[static_cast<size_t>(test - kCompareBase)];
    INFERD_ASSIGN_OR_RETURN(const BoundArguments bound,
                            Bind(budget, entry.name, arguments, {"other"}, 1));
    return Compare(budget, entry.op, input, *bound.Get(0));
  }
  return ApplyOther(budget, kOtherTests[static_cast<size_t>(test - kOtherBase)], input, arguments);
}

}  // namespace inferd::chat_template
