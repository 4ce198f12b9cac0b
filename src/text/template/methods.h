// The methods of strings, dicts, lists and loops that templates may call.
#pragma once

#include <string_view>

#include "text/template/arguments.h"

namespace inferd::chat_template {

// Whether object.name is a method that may be called.
bool HasMethod(const Value& object, std::string_view name);
// Whether it is one that a template may not touch because it changes the object.
bool IsForbiddenMethod(const Value& object, std::string_view name);
StatusOr<Value> MakeMethod(Budget& budget, const Value& object, std::string_view name);
StatusOr<Value> CallMethod(Budget& budget, const MethodObject& method, const Arguments& arguments);

// The string methods, by name; `method.self` is a string (string_methods.cc).
bool IsStringMethod(std::string_view name);
StatusOr<Value> CallStringMethod(Budget& budget, const MarkedString& text, std::string_view name,
                                 const Arguments& arguments);

}  // namespace inferd::chat_template
