#include "text/template/filters.h"
#include "text/template/interpreter.h"
#include "text/template/operators.h"
#include "text/template/printer.h"
#include "text/template/tests.h"

namespace inferd::chat_template {

StatusOr<Value> Interpreter::Evaluate(int index) {
  const Node& node = tree_.node(index);
  if (node.type == NodeType::kConstant) {
    INFERD_RETURN_IF_ERROR(budget_.Charge(1));
    return tree_.constants[static_cast<size_t>(node.value)];
  }
  const Descent descent(*this);
  INFERD_RETURN_IF_ERROR(descent.Check());
  budget_.set_line(node.line);
  INFERD_RETURN_IF_ERROR(budget_.Charge(1));
  return EvaluateNode(node);
}

StatusOr<Value> Interpreter::EvaluateNode(const Node& node) {
  switch (node.type) {
    case NodeType::kName:
      return EvaluateName(node);
    case NodeType::kList:
    case NodeType::kTuple:
      return EvaluateItems(node);
    case NodeType::kDict:
      return EvaluateDict(node);
    case NodeType::kUnary: {
      INFERD_ASSIGN_OR_RETURN(const Value operand, Evaluate(tree_.child(node, 0)));
      return Unary(budget_, static_cast<Operator>(node.op), operand);
    }
    case NodeType::kArithmetic:
      return EvaluateArithmetic(node);
    case NodeType::kCompare:
      return EvaluateCompare(node);
    case NodeType::kAnd:
    case NodeType::kOr:
      return EvaluateLogic(node);
    case NodeType::kNot: {
      INFERD_ASSIGN_OR_RETURN(const Value operand, Evaluate(tree_.child(node, 0)));
      return Value::Bool(!operand.Truthy());
    }
    case NodeType::kConcat:
      return EvaluateConcat(node);
    case NodeType::kConditional:
      return EvaluateConditional(node);
    case NodeType::kAttribute: {
      INFERD_ASSIGN_OR_RETURN(const Value object, Evaluate(tree_.child(node, 0)));
      return GetAttribute(budget_, object, tree_.name(node.value));
    }
    case NodeType::kSubscript:
      return EvaluateSubscript(node);
    case NodeType::kSlice:
      return EvaluateSlice(node);
    case NodeType::kCall:
      return EvaluateCall(node, nullptr);
    case NodeType::kFilter:
      return EvaluateFilter(node, nullptr);
    case NodeType::kTest:
      return EvaluateTest(node);
    default:
      return budget_.Error("not an expression");
  }
}

StatusOr<Value> Interpreter::EvaluateName(const Node& node) {
  size_t seen = 0;
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [name, value] : scope->variables) {
      if (name == node.value) return value;
    }
    seen += scope->variables.size();
    INFERD_RETURN_IF_ERROR(budget_.Charge(static_cast<int64_t>(seen / 16)));
  }
  return Value::Missing(tree_.name(node.value), Value::Kind::kUndefined);
}

StatusOr<Value> Interpreter::EvaluateItems(const Node& node) {
  std::vector<Value> items;
  for (int i = 0; i < node.count; ++i) {
    INFERD_ASSIGN_OR_RETURN(Value item, Evaluate(tree_.child(node, i)));
    items.push_back(std::move(item));
  }
  return budget_.MakeList(
      std::move(items),
      node.type == NodeType::kTuple ? ListObject::Flavor::kTuple : ListObject::Flavor::kList,
      /*trusted=*/true);
}

StatusOr<Value> Interpreter::EvaluateDict(const Node& node) {
  std::vector<std::pair<Value, Value>> entries;
  for (int i = 0; i < node.count; i += 2) {
    INFERD_ASSIGN_OR_RETURN(Value key, Evaluate(tree_.child(node, i)));
    INFERD_ASSIGN_OR_RETURN(Value item, Evaluate(tree_.child(node, i + 1)));
    entries.emplace_back(std::move(key), std::move(item));
  }
  return budget_.MakeDict(std::move(entries), /*trusted=*/true);
}

StatusOr<Value> Interpreter::EvaluateArithmetic(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(Value value, Evaluate(tree_.child(node, 0)));
  for (int i = 1; i < node.count; i += 2) {
    INFERD_ASSIGN_OR_RETURN(const Value right, Evaluate(tree_.child(node, i + 1)));
    INFERD_ASSIGN_OR_RETURN(
        value, Arithmetic(budget_, static_cast<Operator>(tree_.child(node, i)), value, right));
  }
  return value;
}

StatusOr<Value> Interpreter::EvaluateCompare(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(Value left, Evaluate(tree_.child(node, 0)));
  for (int i = 1; i < node.count; i += 2) {
    INFERD_ASSIGN_OR_RETURN(Value right, Evaluate(tree_.child(node, i + 1)));
    INFERD_ASSIGN_OR_RETURN(
        const bool holds,
        Compare(budget_, static_cast<Operator>(tree_.child(node, i)), left, right));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

StatusOr<Value> Interpreter::EvaluateLogic(const Node& node) {
  const bool stop_at = node.type == NodeType::kOr;
  for (int i = 0; i + 1 < node.count; ++i) {
    INFERD_ASSIGN_OR_RETURN(Value value, Evaluate(tree_.child(node, i)));
    if (value.Truthy() == stop_at) return value;
  }
  return Evaluate(tree_.child(node, node.count - 1));
}

StatusOr<Value> Interpreter::EvaluateConcat(const Node& node) {
  TextBuilder out(budget_);
  for (int i = 0; i < node.count; ++i) {
    INFERD_ASSIGN_OR_RETURN(const Value value, Evaluate(tree_.child(node, i)));
    INFERD_RETURN_IF_ERROR(AppendStr(out, value));
  }
  return out.Finish();
}

StatusOr<Value> Interpreter::EvaluateConditional(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(const Value condition, Evaluate(tree_.child(node, 0)));
  if (condition.Truthy()) return Evaluate(tree_.child(node, 1));
  if (tree_.child(node, 2) != kNoNode) return Evaluate(tree_.child(node, 2));
  return Value::Undefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

StatusOr<Value> Interpreter::EvaluateSubscript(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(const Value object, Evaluate(tree_.child(node, 0)));
  INFERD_ASSIGN_OR_RETURN(const Value key, Evaluate(tree_.child(node, 1)));
  return GetItem(budget_, object, key);
}

StatusOr<Value> Interpreter::EvaluateSlice(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(const Value object, Evaluate(tree_.child(node, 0)));
  std::array<Value, 3> bounds = {Value::None(), Value::None(), Value::None()};
  for (int i = 0; i < 3; ++i) {
    if (tree_.child(node, i + 1) == kNoNode) continue;
    INFERD_ASSIGN_OR_RETURN(bounds[static_cast<size_t>(i)], Evaluate(tree_.child(node, i + 1)));
  }
  return Slice(budget_, object, bounds[0], bounds[1], bounds[2]);
}

StatusOr<Value> Interpreter::EvaluateFilter(const Node& node, const Value* block_text) {
  Value input;
  const int child = tree_.child(node, 0);
  if (child == kNoNode) {
    INFERD_CHECK(block_text != nullptr);  // only a filter block has no operand
    input = *block_text;
  } else if (block_text != nullptr && tree_.node(child).type == NodeType::kFilter) {
    INFERD_ASSIGN_OR_RETURN(input, EvaluateFilter(tree_.node(child), block_text));
  } else {
    INFERD_ASSIGN_OR_RETURN(input, Evaluate(child));
  }
  INFERD_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
  budget_.set_line(node.line);
  return ApplyFilter(budget_, node.value, input, arguments);
}

StatusOr<Value> Interpreter::EvaluateTest(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(const Value input, Evaluate(tree_.child(node, 0)));
  INFERD_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(node));
  INFERD_ASSIGN_OR_RETURN(const bool holds, ApplyTest(budget_, node.value, input, arguments));
  return Value::Bool(holds);
}

}  // namespace inferd::chat_template
