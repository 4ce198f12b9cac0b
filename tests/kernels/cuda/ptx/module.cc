#include "kernels/cuda/ptx/module.h"

#include <utility>

#include "kernels/cuda/ptx/function_parser.h"
#include "kernels/cuda/ptx/lexer.h"

namespace inferd::cuda::ptx {
namespace {

// Passes `{`, what is balanced, and `}`. False where the text ends before.
bool SkipBraces(Lexer& lexer) {
  int depth = 0;
  do {
    if (lexer.AtEnd()) return false;
    if (lexer.Is("{")) ++depth;
    if (lexer.Is("}")) --depth;
    lexer.Take();
  } while (depth > 0);
  return true;
}

}  // namespace

std::unique_ptr<Module> Module::Parse(std::string text, std::string* error) {
  std::unique_ptr<Module> module(new Module);
  module->text_ = std::move(text);
  Lexer lexer(module->text_);
  while (!lexer.AtEnd()) {
    const Token token = lexer.Take();
    const auto fail = [&](std::string_view what) {
      *error = Problem(what, token);
      return nullptr;
    };
    if (token.text == ".version" || token.text == ".target" || token.text == ".address_size") {
      lexer.SkipLine(token.line);
    } else if (token.text == ".visible" || token.text == ".weak") {
      continue;
    } else if (token.text == ".entry") {
      Entry entry = {lexer.position(), 0, lexer.token().line};
      const std::string name(lexer.Take().text);
      while (!lexer.AtEnd() && !lexer.Is("{")) lexer.Take();
      if (!SkipBraces(lexer)) return fail("a kernel without an end behind");
      entry.end = lexer.AtEnd() ? module->text_.size() : lexer.position();
      if (!module->entries_.emplace(name, entry).second) return fail("a name twice behind");
      module->names_.push_back(name);
    } else if (token.text == ".extern" || token.text == ".shared") {
      std::string problem;
      if (!ParseVariable(lexer, token, &module->variables_, &problem)) {
        *error = problem;
        return nullptr;
      }
    } else if (token.text == ".file") {
      const std::optional<Number> number = ParseNumber(lexer.Take().text);
      std::string_view path = lexer.Take().text;
      if (!number || path.size() < 2) return fail("what is not known behind");
      path = path.substr(1, path.size() - 2);
      module->files_[static_cast<int>(number->bits)] = path.substr(path.rfind('/') + 1);
      lexer.SkipLine(token.line);
    } else if (token.text == ".section") {  // for debuggers
      lexer.Take();
      if (!SkipBraces(lexer)) return fail("no end behind");
    } else {
      return fail("what is not known at the top:");
    }
  }
  return module;
}

std::unique_ptr<Function> Module::ParseKernel(std::string_view name, std::string* error) const {
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) {
    *error = "no kernel " + std::string(name);
    return nullptr;
  }
  const auto [begin, end, line] = entry->second;
  FunctionParser parser(std::string_view(text_).substr(begin, end - begin), line, variables_,
                        files_);
  return parser.Parse(error);
}

}  // namespace inferd::cuda::ptx
