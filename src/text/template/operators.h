// What the operators of expressions do: Python semantics, charged to a budget.
#pragma once

#include <cstdint>
#include <string_view>

#include "text/template/ast.h"
#include "text/template/budget.h"

namespace inferd::chat_template {

StatusOr<bool> Equals(Budget& budget, const Value& a, const Value& b);
// One comparison, `in` and `not in` included.
StatusOr<bool> Compare(Budget& budget, Operator op, const Value& a, const Value& b);
// kAdd … kPower.
StatusOr<Value> Arithmetic(Budget& budget, Operator op, const Value& a, const Value& b);
// kAdd or kSubtract before an operand.
StatusOr<Value> Unary(Budget& budget, Operator op, const Value& value);

// object.name and object[key], with Jinja's fallbacks; undefined when absent.
StatusOr<Value> GetAttribute(Budget& budget, const Value& object, const Value& name);
StatusOr<Value> GetItem(Budget& budget, const Value& object, const Value& key);
// object[start:stop:step]; absent bounds are none.
StatusOr<Value> Slice(Budget& budget, const Value& object, const Value& start, const Value& stop,
                      const Value& step);
// "a.b.0" from `object`, part by part.
StatusOr<Value> GetPath(Budget& budget, const Value& object, const Value& path);

// A list value with what iterating over `value` gives.
StatusOr<Value> ToIterable(Budget& budget, const Value& value);
// len(value).
StatusOr<int64_t> Length(Budget& budget, const Value& value);

// The first place of `needle` in `text` at or after `from`, in linear time.
size_t FindText(std::string_view text, std::string_view needle, size_t from);

}  // namespace inferd::chat_template
