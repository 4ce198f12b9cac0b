#include "inferd/text/stop_matcher.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace inferd {

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include_in_output)
    : stops_(std::move(stops)), include_in_output_(include_in_output), nodes_(1) {
  for (size_t stop = 0; stop < stops_.size(); ++stop) {
    if (stops_[stop].empty()) continue;  // would match everywhere
    int node = 0;
    for (const char c : stops_[stop]) {
      const auto byte = static_cast<unsigned char>(c);
      int child = Child(node, byte);
      if (child < 0) {
        child = static_cast<int>(nodes_.size());
        nodes_[static_cast<size_t>(node)].children.emplace_back(byte, child);
        const int depth = nodes_[static_cast<size_t>(node)].depth + 1;
        nodes_.emplace_back().depth = depth;
      }
      node = child;
    }
    int& matched = nodes_[static_cast<size_t>(node)].matched_stop;
    if (matched < 0) matched = static_cast<int>(stop);
  }
  // Breadth first: a node's suffix is shallower, hence done before it.
  std::deque<int> queue = {0};
  while (!queue.empty()) {
    const int parent = queue.front();
    queue.pop_front();
    for (const auto& [byte, child] : nodes_[static_cast<size_t>(parent)].children) {
      Node& node = nodes_[static_cast<size_t>(child)];
      if (parent != 0) node.fail = Step(nodes_[static_cast<size_t>(parent)].fail, byte);
      // The stop that is the node's own path starts before those within it.
      if (node.matched_stop < 0) {
        node.matched_stop = nodes_[static_cast<size_t>(node.fail)].matched_stop;
      }
      queue.push_back(child);
    }
  }
}

int StopMatcher::Child(int node, unsigned char byte) const {
  for (const auto& [key, child] : nodes_[static_cast<size_t>(node)].children) {
    if (key == byte) return child;
  }
  return -1;
}

int StopMatcher::Step(int node, unsigned char byte) const {
  while (true) {
    const int child = Child(node, byte);
    if (child >= 0) return child;
    if (node == 0) return 0;
    node = nodes_[static_cast<size_t>(node)].fail;
  }
}

StopMatcher::Result StopMatcher::Push(std::string_view text) {
  Result result;
  const size_t held = held_.size();
  held_ += text;
  for (size_t i = held; i < held_.size(); ++i) {
    state_ = Step(state_, static_cast<unsigned char>(held_[i]));
    const int matched = nodes_[static_cast<size_t>(state_)].matched_stop;
    if (matched < 0) continue;
    const size_t end = i + 1;
    const size_t begin = end - stops_[static_cast<size_t>(matched)].size();
    result.text = held_.substr(0, include_in_output_ ? end : begin);
    result.matched = static_cast<size_t>(matched);
    held_.clear();
    state_ = 0;
    return result;
  }
  const size_t certain =
      held_.size() - static_cast<size_t>(nodes_[static_cast<size_t>(state_)].depth);
  result.text = held_.substr(0, certain);
  held_.erase(0, certain);
  return result;
}

std::string StopMatcher::Flush() {
  state_ = 0;
  return std::exchange(held_, {});
}

}  // namespace inferd
