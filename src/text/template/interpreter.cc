#include "text/template/interpreter.h"

#include "text/template/operators.h"
#include "text/template/printer.h"

namespace inferd::chat_template {
namespace {

// Levels of recursion per level of allowed nesting: a macro body takes several.
constexpr int kDepthFactor = 12;

}  // namespace

Status Interpreter::Descent::Check() const {
  if (interpreter_.depth_ > interpreter_.budget_.limits().max_depth * kDepthFactor)
    return interpreter_.budget_.Error("the template calls itself too deeply");
  return OkStatus();
}

Interpreter::Interpreter(const Tree& tree, Budget& budget)
    : tree_(tree), budget_(budget), loop_name_(FindName("loop")) {
  Define("range", Value::Function(Builtin::kRange));
  Define("dict", Value::Function(Builtin::kDict));
  Define("namespace", Value::Function(Builtin::kNamespace));
  Define("raise_exception", Value::Function(Builtin::kRaiseException));
  Define("strftime_now", Value::Function(Builtin::kStrftimeNow));
}

int Interpreter::FindName(std::string_view name) const {
  for (size_t i = 0; i < tree_.names.size(); ++i) {
    if (tree_.names[i].text() == name) return static_cast<int>(i);
  }
  return -1;
}

void Interpreter::Define(std::string_view name, Value value) {
  const int id = FindName(name);
  if (id >= 0) Set(root_, id, std::move(value));
}

void Interpreter::Set(Scope& scope, int name, Value value) {
  for (auto& [key, old] : scope.variables) {
    if (key == name) {
      old = std::move(value);
      return;
    }
  }
  scope.variables.emplace_back(name, std::move(value));
}

StatusOr<MarkedString> Interpreter::Run() {
  TextBuilder out(budget_, budget_.limits().max_output_bytes, "the output is too long");
  out_ = &out;
  // Variables the template sets live beside, not among, those given to it.
  const ScopeGuard guard(*this, &root_);
  INFERD_RETURN_IF_ERROR(Execute(tree_.root).status());
  return out.Take();
}

StatusOr<Interpreter::Flow> Interpreter::Execute(int index) {
  const Descent descent(*this);
  INFERD_RETURN_IF_ERROR(descent.Check());
  const Node& node = tree_.node(index);
  budget_.set_line(node.line);
  INFERD_RETURN_IF_ERROR(budget_.Charge(1));
  switch (node.type) {
    case NodeType::kBlock:
      return ExecuteBlock(node);
    case NodeType::kIf:
      return ExecuteIf(node);
    case NodeType::kFor:
      return ExecuteFor(node);
    case NodeType::kWith:
      return ExecuteWith(node);
    case NodeType::kBreak:
      return Flow::kBreak;
    case NodeType::kContinue:
      return Flow::kContinue;
    default:
      return ExecuteStatement(node);
  }
}

StatusOr<Interpreter::Flow> Interpreter::ExecuteStatement(const Node& node) {
  switch (node.type) {
    case NodeType::kText:
      out_->Append(tree_.constants[static_cast<size_t>(node.value)].string());
      INFERD_RETURN_IF_ERROR(out_->status());
      return Flow::kNormal;
    case NodeType::kOutput:
      INFERD_RETURN_IF_ERROR(ExecuteOutput(node));
      return Flow::kNormal;
    case NodeType::kScope: {
      const ScopeGuard guard(*this, scope_);
      return Execute(tree_.child(node, 0));
    }
    case NodeType::kSet: {
      INFERD_ASSIGN_OR_RETURN(const Value value, Evaluate(tree_.child(node, 1)));
      INFERD_RETURN_IF_ERROR(Assign(tree_.child(node, 0), value));
      return Flow::kNormal;
    }
    case NodeType::kSetBlock:
      INFERD_RETURN_IF_ERROR(ExecuteSetBlock(node));
      return Flow::kNormal;
    case NodeType::kMacro: {
      auto macro = std::make_shared<MacroObject>();
      macro->node = static_cast<int>(&node - tree_.nodes.data());
      macro->scope = scope_;
      macro->name = tree_.name(node.value).text();
      Set(*scope_, node.value, Value::Macro(std::move(macro)));
      return Flow::kNormal;
    }
    case NodeType::kCallBlock:
      INFERD_RETURN_IF_ERROR(ExecuteCallBlock(node));
      return Flow::kNormal;
    case NodeType::kFilterBlock:
      INFERD_RETURN_IF_ERROR(ExecuteFilterBlock(node));
      return Flow::kNormal;
    default:
      return budget_.Error("not a statement");
  }
}

StatusOr<Interpreter::Flow> Interpreter::ExecuteBlock(const Node& node) {
  for (int i = 0; i < node.count; ++i) {
    INFERD_ASSIGN_OR_RETURN(const Flow flow, Execute(tree_.child(node, i)));
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Status Interpreter::ExecuteOutput(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(const Value value, Evaluate(tree_.child(node, 0)));
  budget_.set_line(node.line);
  if (value.IsString()) INFERD_RETURN_IF_ERROR(budget_.ChargeBytes(value.text().size()));
  return AppendStr(*out_, value);
}

StatusOr<Interpreter::Flow> Interpreter::ExecuteIf(const Node& node) {
  int i = 0;
  for (; i + 1 < node.count; i += 2) {
    INFERD_ASSIGN_OR_RETURN(const Value condition, Evaluate(tree_.child(node, i)));
    if (condition.Truthy()) return Execute(tree_.child(node, i + 1));
  }
  return i < node.count ? Execute(tree_.child(node, i)) : StatusOr<Flow>(Flow::kNormal);
}

StatusOr<bool> Interpreter::PassesFilter(const Node& node, const Value& item) {
  const ScopeGuard guard(*this, scope_);
  INFERD_RETURN_IF_ERROR(Assign(tree_.child(node, 0), item));
  INFERD_ASSIGN_OR_RETURN(const Value condition, Evaluate(tree_.child(node, 2)));
  return condition.Truthy();
}

StatusOr<std::vector<Value>> Interpreter::FilterItems(const Node& node,
                                                      const std::vector<Value>& items) {
  std::vector<Value> kept;
  for (const Value& item : items) {
    INFERD_ASSIGN_OR_RETURN(const bool passes, PassesFilter(node, item));
    if (passes) kept.push_back(item);
  }
  return kept;
}

StatusOr<Interpreter::Flow> Interpreter::ExecuteFor(const Node& node) {
  INFERD_ASSIGN_OR_RETURN(const Value iterable, Evaluate(tree_.child(node, 1)));
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget_, iterable));
  const std::vector<Value>* items = &list.items();
  const bool has_condition = tree_.child(node, 2) != kNoNode;
  // A body that looks at `loop` needs the number of items; one that does not may
  // change what the condition asks, item by item.
  const bool filter_first = has_condition && node.op != 0;
  std::vector<Value> kept;
  if (filter_first) {
    INFERD_ASSIGN_OR_RETURN(kept, FilterItems(node, list.items()));
    items = &kept;
  }
  const auto loop = std::make_shared<LoopObject>();
  loop->items = items;
  loop->depth0 = loop_depth_;
  bool any = false;
  for (size_t i = 0; i < items->size(); ++i) {
    INFERD_RETURN_IF_ERROR(budget_.Charge(1));
    if (has_condition && !filter_first) {
      INFERD_ASSIGN_OR_RETURN(const bool passes, PassesFilter(node, (*items)[i]));
      if (!passes) continue;
    }
    any = true;
    loop->index0 = i;
    ScopeGuard guard(*this, scope_);
    INFERD_RETURN_IF_ERROR(Assign(tree_.child(node, 0), (*items)[i]));
    if (node.op != 0) Set(guard.scope(), loop_name_, Value::Loop(loop));
    INFERD_ASSIGN_OR_RETURN(const Flow flow, Execute(tree_.child(node, 3)));
    if (flow == Flow::kBreak) break;
  }
  if (any || tree_.child(node, 4) == kNoNode) return Flow::kNormal;
  const ScopeGuard guard(*this, scope_);
  return Execute(tree_.child(node, 4));
}

StatusOr<Interpreter::Flow> Interpreter::ExecuteWith(const Node& node) {
  std::vector<Value> values;  // all seen from outside
  for (int i = 1; i < node.count; i += 2) {
    INFERD_ASSIGN_OR_RETURN(Value value, Evaluate(tree_.child(node, i + 1)));
    values.push_back(std::move(value));
  }
  const ScopeGuard guard(*this, scope_);
  for (int i = 1; i < node.count; i += 2)
    INFERD_RETURN_IF_ERROR(Assign(tree_.child(node, i), values[static_cast<size_t>(i / 2)]));
  return Execute(tree_.child(node, 0));
}

StatusOr<Value> Interpreter::Capture(int block, Flow& flow) {
  TextBuilder text(budget_);
  TextBuilder* const outer = std::exchange(out_, &text);
  const ScopeGuard guard(*this, scope_);
  StatusOr<Flow> result = Execute(block);
  out_ = outer;
  INFERD_ASSIGN_OR_RETURN(flow, std::move(result));
  return text.Finish();
}

Status Interpreter::ExecuteSetBlock(const Node& node) {
  Flow flow = Flow::kNormal;
  INFERD_ASSIGN_OR_RETURN(Value text, Capture(tree_.child(node, 2), flow));
  if (flow != Flow::kNormal) return budget_.Error("break and continue cannot leave a block");
  if (const int filter = tree_.child(node, 1); filter != kNoNode) {
    INFERD_ASSIGN_OR_RETURN(text, EvaluateFilter(tree_.node(filter), &text));
  }
  return Assign(tree_.child(node, 0), text);
}

Status Interpreter::ExecuteFilterBlock(const Node& node) {
  Flow flow = Flow::kNormal;
  INFERD_ASSIGN_OR_RETURN(const Value text, Capture(tree_.child(node, 1), flow));
  if (flow != Flow::kNormal) return budget_.Error("break and continue cannot leave a block");
  INFERD_ASSIGN_OR_RETURN(const Value value,
                          EvaluateFilter(tree_.node(tree_.child(node, 0)), &text));
  return AppendStr(*out_, value);
}

Status Interpreter::ExecuteCallBlock(const Node& node) {
  auto macro = std::make_shared<MacroObject>();
  macro->node = tree_.child(node, 1);
  macro->scope = scope_;
  macro->name = "caller";
  const Value caller = Value::Macro(std::move(macro));
  INFERD_ASSIGN_OR_RETURN(const Value value,
                          EvaluateCall(tree_.node(tree_.child(node, 0)), &caller));
  return AppendStr(*out_, value);
}

Status Interpreter::Assign(int target, const Value& value) {
  const Node& node = tree_.node(target);
  if (node.type == NodeType::kTuple) return AssignTuple(node, value);
  if (node.type == NodeType::kNamespaceTarget) return AssignAttribute(node, value);
  INFERD_RETURN_IF_ERROR(budget_.Charge(static_cast<int64_t>(scope_->variables.size() / 16)));
  Set(*scope_, node.value, value);
  return OkStatus();
}

Status Interpreter::AssignTuple(const Node& target, const Value& value) {
  if (value.IsUndefined()) return budget_.UndefinedError(value);
  INFERD_ASSIGN_OR_RETURN(const Value list, ToIterable(budget_, value));
  if (list.items().size() != static_cast<size_t>(target.count))
    return budget_.Error("expected " + std::to_string(target.count) + " values to unpack, got " +
                         std::to_string(list.items().size()));
  for (int i = 0; i < target.count; ++i)
    INFERD_RETURN_IF_ERROR(Assign(tree_.child(target, i), list.items()[static_cast<size_t>(i)]));
  return OkStatus();
}

Status Interpreter::AssignAttribute(const Node& target, const Value& value) {
  INFERD_ASSIGN_OR_RETURN(const Value object, EvaluateName(target));
  if (!object.Is(Value::Kind::kNamespace))
    return budget_.Error("cannot assign attribute on non-namespace object");
  const std::string_view name = tree_.name(target.op2).text();
  if (name[0] == '_') return budget_.Error("namespace attributes cannot start with '_'");
  if (!value.plain())
    return budget_.Error("a namespace cannot hold a " + std::string(value.TypeName()));
  NamespaceObject& object_ref = object.name_space();
  INFERD_RETURN_IF_ERROR(budget_.Charge(static_cast<int64_t>(object_ref.attributes.size() / 16)));
  if (Value* old = object_ref.Find(name); old != nullptr) {
    *old = value;
  } else {
    object_ref.attributes.emplace_back(name, value);
  }
  return OkStatus();
}

}  // namespace inferd::chat_template
