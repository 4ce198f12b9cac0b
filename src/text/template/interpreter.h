// Walks a compiled template.
#pragma once

#include <array>

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/template/arguments.h"
#include "text/template/ast.h"
#include "text/template/budget.h"

namespace inferd::chat_template {

// One rendering of one tree. Recursion is bounded: by the nesting of the tree
// (limited when it was compiled), of macro calls, and of both together.
// One thread, used once.
class Interpreter {
 public:
  // Both outlive this.
  Interpreter(const Tree& tree, Budget& budget);

  // Whether the template mentions `name` at all.
  bool Mentions(std::string_view name) const { return FindName(name) >= 0; }
  // A variable that is there from the start.
  void Define(std::string_view name, Value value);
  StatusOr<MarkedString> Run();

 private:
  enum class Flow { kNormal, kBreak, kContinue };

  struct Scope {
    Scope* parent = nullptr;
    std::vector<std::pair<int, Value>> variables;  // by name number
  };
  // Makes a scope the current one while it lives.
  class ScopeGuard {
   public:
    ScopeGuard(Interpreter& interpreter, Scope* parent)
        : interpreter_(interpreter), outer_(interpreter.scope_) {
      scope_.parent = parent;
      interpreter_.scope_ = &scope_;
    }
    ~ScopeGuard() { interpreter_.scope_ = outer_; }
    ScopeGuard(const ScopeGuard&) = delete;
    ScopeGuard& operator=(const ScopeGuard&) = delete;
    Scope& scope() { return scope_; }

   private:
    Interpreter& interpreter_;
    Scope* outer_;
    Scope scope_;
  };
  // Counts the recursion while it lives.
  class Descent;

  int FindName(std::string_view name) const;
  void Set(Scope& scope, int name, Value value);

  // Statements (interpreter.cc).
  StatusOr<Flow> Execute(int node);
  StatusOr<Flow> ExecuteStatement(const Node& node);
  StatusOr<Flow> ExecuteBlock(const Node& node);
  StatusOr<Flow> ExecuteIf(const Node& node);
  StatusOr<Flow> ExecuteFor(const Node& node);
  StatusOr<std::vector<Value>> FilterItems(const Node& node, const std::vector<Value>& items);
  StatusOr<bool> PassesFilter(const Node& node, const Value& item);
  StatusOr<Flow> ExecuteWith(const Node& node);
  Status ExecuteOutput(const Node& node);
  Status ExecuteSetBlock(const Node& node);
  Status ExecuteFilterBlock(const Node& node);
  Status ExecuteCallBlock(const Node& node);
  Status Assign(int target, const Value& value);
  Status AssignTuple(const Node& target, const Value& value);
  Status AssignAttribute(const Node& target, const Value& value);
  // The text of a block run in a scope of its own.
  StatusOr<Value> Capture(int block, Flow& flow);

  // Expressions (interpreter_expression.cc).
  StatusOr<Value> Evaluate(int node);
  StatusOr<Value> EvaluateNode(const Node& node);
  StatusOr<Value> EvaluateName(const Node& node);
  StatusOr<Value> EvaluateItems(const Node& node);
  StatusOr<Value> EvaluateDict(const Node& node);
  StatusOr<Value> EvaluateArithmetic(const Node& node);
  StatusOr<Value> EvaluateCompare(const Node& node);
  StatusOr<Value> EvaluateLogic(const Node& node);
  StatusOr<Value> EvaluateConcat(const Node& node);
  StatusOr<Value> EvaluateConditional(const Node& node);
  StatusOr<Value> EvaluateSubscript(const Node& node);
  StatusOr<Value> EvaluateSlice(const Node& node);
  StatusOr<Value> EvaluateTest(const Node& node);
  // `block_text`: the input of a filter without one.
  StatusOr<Value> EvaluateFilter(const Node& node, const Value* block_text);

  // Calls (interpreter_call.cc).
  StatusOr<Arguments> EvaluateArguments(const Node& node);
  StatusOr<Value> EvaluateCall(const Node& node, const Value* caller);
  StatusOr<Value> CallMacro(const MacroObject& macro, Arguments arguments);
  Status BindParameters(const Node& node, Arguments& arguments, Scope& scope);

  const Tree& tree_;
  Budget& budget_;
  Scope root_;
  Scope* scope_ = &root_;
  TextBuilder* out_ = nullptr;
  const int loop_name_;
  int depth_ = 0;
  int macro_depth_ = 0;
  int loop_depth_ = 0;
};

// Counts the levels of recursion; the limit keeps the stack small.
class Interpreter::Descent {
 public:
  explicit Descent(Interpreter& interpreter) : interpreter_(interpreter) { ++interpreter_.depth_; }
  ~Descent() { --interpreter_.depth_; }
  Descent(const Descent&) = delete;
  Descent& operator=(const Descent&) = delete;
  Status Check() const;

 private:
  Interpreter& interpreter_;
};

// range, dict, namespace, raise_exception, strftime_now (builtins.cc).
StatusOr<Value> ApplyBuiltin(Budget& budget, Builtin builtin, const Arguments& arguments);

}  // namespace inferd::chat_template
