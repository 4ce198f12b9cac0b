// A compiled template: a flat tree of nodes.
#pragma once

#include <cstdint>
#include <vector>

#include "text/template/value.h"

namespace inferd::chat_template {

// What the children of each node are; "?" may be kNoNode.
enum class NodeType : uint8_t {
  // Expressions.
  kConstant,     // value: constant
  kName,         // value: name
  kList,         // items
  kTuple,        // items
  kDict,         // key, item, key, item, …
  kUnary,        // operand; op: Operator
  kArithmetic,   // operand, operator, operand, operator, operand, …
  kCompare,      // operand, operator, operand, …
  kAnd,          // operands
  kOr,           // operands
  kNot,          // operand
  kConcat,       // operands
  kConditional,  // condition, then, else?
  kAttribute,    // object; value: name
  kSubscript,    // object, key
  kSlice,        // object, start?, stop?, step?
  kCall,         // callee, arguments
  kArgument,     // expression; op: ArgumentKind; value: name of a keyword
  kFilter,       // input? (absent: the text of the block), arguments; value: filter
  kTest,         // input, arguments; value: test
  // Statements.
  kText,             // value: constant
  kOutput,           // expression
  kBlock,            // statements
  kScope,            // block, in a scope of its own
  kIf,               // condition, block, condition, block, …, else block
  kFor,              // target, iterable, condition?, block, else block?; op: mentions `loop`
  kSet,              // target, expression
  kSetBlock,         // target, filter?, block
  kNamespaceTarget,  // value: name of the namespace; op2: name of the attribute
  kMacro,            // block, parameters; value: name; op: kUses… bits
  kParameter,        // default?; value: name
  kCallBlock,        // call, macro
  kFilterBlock,      // filter, block
  kWith,             // block, target, expression, target, expression, …
  kBreak,
  kContinue,
};

enum class Operator : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

enum class ArgumentKind : uint8_t { kPositional, kKeyword, kSpread, kSpreadKeywords };

// The names a macro body mentions and that calls fill in.
inline constexpr uint8_t kUsesVarargs = 1;
inline constexpr uint8_t kUsesKwargs = 2;
inline constexpr uint8_t kUsesCaller = 4;

inline constexpr int kNoNode = -1;

struct Node {
  NodeType type;
  uint8_t op = 0;
  uint16_t height = 1;  // nodes on the longest way down
  int line = 0;
  int value = 0;
  int op2 = 0;
  int first = 0;  // children are links[first, first + count)
  int count = 0;
};

struct Tree {
  std::vector<Node> nodes;
  std::vector<int> links;
  std::vector<Value> constants;
  std::vector<Value> names;  // strings
  int root = kNoNode;

  int child(const Node& node, int i) const { return links[static_cast<size_t>(node.first + i)]; }
  const Node& node(int i) const { return nodes[static_cast<size_t>(i)]; }
  const Value& name(int i) const { return names[static_cast<size_t>(i)]; }
};

}  // namespace inferd::chat_template
