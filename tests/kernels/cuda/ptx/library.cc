#include "kernels/cuda/ptx/library.h"

#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "kernels/cuda/ptx/lexer.h"

namespace inferd::cuda::ptx {

std::string StableName(std::string_view mangled) {
  // Of the namespaces that enclose the kernel each is LENGTH NAME, the anonymous one
  // LENGTH _GLOBAL__N__ DIGITS _ LENGTH _ FILE _cu_ DIGITS [ _ PROCESS ]
  constexpr std::string_view kNested = "_ZN";
  constexpr std::string_view kNamespace = "_GLOBAL__N_";
  constexpr std::string_view kFileEnd = "_cu_";
  constexpr size_t kDigits = 9;  // with what they begin with
  std::string name(mangled);
  if (!name.starts_with(kNested)) return name;
  for (size_t at = kNested.size(); at < name.size();) {
    const size_t begin = name.find_first_not_of("0123456789", at);
    if (begin == std::string::npos || begin == at) return name;
    const std::optional<Number> length = ParseNumber(std::string_view(name).substr(at, begin - at));
    if (!length || length->bits > name.size() - begin) return name;
    const size_t end = begin + length->bits;
    if (name.compare(begin, kNamespace.size(), kNamespace) != 0) {
      at = end;
      continue;
    }
    const size_t file = begin + kNamespace.size() + kDigits;
    const size_t file_end = name.find(kFileEnd, begin);
    if (file_end == std::string::npos || file_end < file) return name;
    return name.substr(0, at) + std::string(kNamespace) + name.substr(file, file_end - file) +
           name.substr(end);
  }
  return name;
}

Library::Library(const std::string& list) {
  std::ifstream paths(list);
  std::string path;
  while (std::getline(paths, path)) {
    if (path.empty()) continue;
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    std::string problem;
    std::unique_ptr<Module> module = Module::Parse(std::move(text).str(), &problem);
    if (module == nullptr || module->kernels().empty()) {
      error_ = path + ": " + (module == nullptr ? problem : "no kernels");
      return;
    }
    for (const std::string& name : module->kernels()) {
      entries_[StableName(name)] = {module.get(), name, nullptr};
    }
    modules_.push_back(std::move(module));
  }
  if (modules_.empty()) error_ = "no PTX files in " + list;
}

const Program* Library::Find(std::string_view mangled, std::string* error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = entries_.find(StableName(mangled));
  if (found == entries_.end()) {
    *error = error_.empty() ? "no PTX of the kernel " + std::string(mangled) : error_;
    return nullptr;
  }
  Entry& entry = found->second;
  if (entry.program == nullptr) {
    const std::unique_ptr<Function> function = entry.module->ParseKernel(entry.name, error);
    if (function == nullptr) return nullptr;
    entry.program = Decode(*function, error);
  }
  return entry.program.get();
}

std::vector<std::string> Library::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(entry.name);
  return names;
}

}  // namespace inferd::cuda::ptx
