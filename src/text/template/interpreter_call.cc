#include <algorithm>

#include "text/template/interpreter.h"
#include "text/template/methods.h"
#include "text/template/operators.h"

namespace inferd::chat_template {

// The arguments of a call, filter or test: all children but the first.
StatusOr<Arguments> Interpreter::EvaluateArguments(const Node& node) {
  Arguments arguments;
  for (int i = 1; i < node.count; ++i) {
    const Node& argument = tree_.node(tree_.child(node, i));
    INFERD_ASSIGN_OR_RETURN(Value value, Evaluate(tree_.child(argument, 0)));
    switch (static_cast<ArgumentKind>(argument.op)) {
      case ArgumentKind::kPositional:
        arguments.positional.push_back(std::move(value));
        break;
      case ArgumentKind::kKeyword:
        arguments.keywords.emplace_back(tree_.name(argument.value).text(), std::move(value));
        break;
      case ArgumentKind::kSpread: {
        INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget_, value));
        INFERD_RETURN_IF_ERROR(budget_.Charge(static_cast<int64_t>(list.items().size())));
        arguments.positional.insert(arguments.positional.end(), list.items().begin(),
                                    list.items().end());
        break;
      }
      case ArgumentKind::kSpreadKeywords:
        if (!value.IsDict()) return budget_.Error("argument after ** must be a mapping");
        for (const auto& [key, item] : value.dict().entries) {
          if (!key.IsString()) return budget_.Error("keywords must be strings");
          INFERD_RETURN_IF_ERROR(budget_.ChargeBytes(key.text().size()));
          arguments.keywords.emplace_back(key.text(), item);
        }
        break;
    }
  }
  if (arguments.keywords.size() > 1) {
    INFERD_RETURN_IF_ERROR(budget_.Charge(static_cast<int64_t>(arguments.keywords.size())));
    std::vector<std::string_view> names;
    for (const auto& [name, value] : arguments.keywords) names.push_back(name);
    std::sort(names.begin(), names.end());
    if (std::adjacent_find(names.begin(), names.end()) != names.end())
      return budget_.Error("a keyword argument is repeated");
  }
  return arguments;
}

StatusOr<Value> Interpreter::EvaluateCall(const Node& node, const Value* caller) {
  INFERD_ASSIGN_OR_RETURN(const Value callee, Evaluate(tree_.child(node, 0)));
  INFERD_ASSIGN_OR_RETURN(Arguments arguments, EvaluateArguments(node));
  if (caller != nullptr) arguments.keywords.emplace_back("caller", *caller);
  budget_.set_line(node.line);
  INFERD_RETURN_IF_ERROR(budget_.Charge(1));
  switch (callee.kind()) {
    case Value::Kind::kMacro:
      return CallMacro(callee.macro(), std::move(arguments));
    case Value::Kind::kBuiltin:
      return ApplyBuiltin(budget_, callee.builtin(), arguments);
    case Value::Kind::kMethod:
      return CallMethod(budget_, callee.method(), arguments);
    case Value::Kind::kUndefined:
      return budget_.UndefinedError(callee);
    case Value::Kind::kLoop:
      return budget_.Error("recursive loops are not supported");
    default:
      return budget_.Error("'" + std::string(callee.TypeName()) + "' object is not callable");
  }
}

StatusOr<Value> Interpreter::CallMacro(const MacroObject& macro, Arguments arguments) {
  if (macro_depth_ >= budget_.limits().max_depth)
    return budget_.Error("the template calls itself too deeply");
  const Node& node = tree_.node(macro.node);
  ++macro_depth_;
  ScopeGuard guard(*this, static_cast<Scope*>(macro.scope));
  TextBuilder text(budget_);
  TextBuilder* const outer = std::exchange(out_, &text);
  Status status = BindParameters(node, arguments, guard.scope());
  if (status.ok()) {
    StatusOr<Flow> flow = Execute(tree_.child(node, 0));
    if (!flow.ok()) status = flow.status();
  }
  out_ = outer;
  --macro_depth_;
  INFERD_RETURN_IF_ERROR(status);
  return text.Finish();
}

Status Interpreter::BindParameters(const Node& node, Arguments& arguments, Scope& scope) {
  const auto count = static_cast<size_t>(node.count - 1);
  const std::string macro = "macro '" + tree_.name(node.value).string().text() + "' ";
  const auto take = [&arguments](std::string_view name) -> std::optional<Value> {
    for (auto it = arguments.keywords.begin(); it != arguments.keywords.end(); ++it) {
      if (it->first != name) continue;
      Value value = std::move(it->second);
      arguments.keywords.erase(it);
      return value;
    }
    return std::nullopt;
  };
  bool caller_is_parameter = false;
  for (size_t i = 0; i < count; ++i) {
    const Node& parameter = tree_.node(tree_.child(node, static_cast<int>(i) + 1));
    const std::string_view name = tree_.name(parameter.value).text();
    caller_is_parameter = caller_is_parameter || name == "caller";
    std::optional<Value> value;
    if (i < arguments.positional.size()) {
      value = arguments.positional[i];
    } else {
      value = take(name);
    }
    if (!value.has_value() && tree_.child(parameter, 0) != kNoNode) {
      INFERD_ASSIGN_OR_RETURN(value, Evaluate(tree_.child(parameter, 0)));
    }
    if (!value.has_value())
      value = Value::Undefined("parameter '" + std::string(name) + "' was not provided");
    Set(scope, parameter.value, *std::move(value));
  }
  if ((node.op & kUsesCaller) != 0 && !caller_is_parameter) {
    std::optional<Value> caller = take("caller");
    Set(scope, FindName("caller"),
        caller.has_value() ? *std::move(caller) : Value::Undefined("No caller defined"));
  }
  if ((node.op & kUsesKwargs) != 0) {
    std::vector<std::pair<Value, Value>> entries;
    for (auto& [name, value] : arguments.keywords)
      entries.emplace_back(Value::String(name, true), std::move(value));
    arguments.keywords.clear();
    INFERD_ASSIGN_OR_RETURN(Value kwargs, budget_.MakeRecord(std::move(entries), true));
    Set(scope, FindName("kwargs"), std::move(kwargs));
  }
  if (!arguments.keywords.empty())
    return budget_.Error(macro + "takes no keyword argument '" + arguments.keywords[0].first + "'");
  if ((node.op & kUsesVarargs) != 0) {
    std::vector<Value> rest;
    for (size_t i = count; i < arguments.positional.size(); ++i)
      rest.push_back(arguments.positional[i]);
    INFERD_ASSIGN_OR_RETURN(Value varargs,
                            budget_.MakeList(std::move(rest), ListObject::Flavor::kTuple, true));
    Set(scope, FindName("varargs"), std::move(varargs));
  } else if (arguments.positional.size() > count) {
    return budget_.Error(macro + "takes not more than " + std::to_string(count) + " argument(s)");
  }
  return OkStatus();
}

}  // namespace inferd::chat_template
