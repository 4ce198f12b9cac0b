#include "server/pending_output.h"

#include <utility>

namespace inferd {
namespace {

// A token's entry on the wire, and that of each alternative.
constexpr size_t kPieceBytes = 32;
constexpr size_t kTopBytes = 32;

size_t WireBytes(const ChoiceDelta& delta) {
  size_t bytes = delta.text.size() + 16;
  for (const TokenPiece& piece : delta.pieces) bytes += kPieceBytes + piece.top.size() * kTopBytes;
  return bytes;
}

}  // namespace

PendingOutput::Choice& PendingOutput::Find(int32_t index) {
  for (Choice& choice : choices_) {
    if (choice.index == index) return choice;
  }
  choices_.emplace_back();
  choices_.back().index = index;
  return choices_.back();
}

void PendingOutput::Add(ChoiceDelta&& delta) {
  bytes_ += WireBytes(delta);
  tokens_ += delta.num_tokens;
  Choice& choice = Find(delta.choice);
  const bool ends = delta.end != ChoiceEnd::kNone;
  if (ends) {
    choice.has_end = true;
    choice.end.choice = delta.choice;
    choice.end.end = delta.end;
    choice.end.matched_stop = delta.matched_stop;
    choice.end.matched_token = delta.matched_token;
  }
  if (!delta.text.empty() || !ends) {
    choice.has_content = true;
    choice.content.choice = delta.choice;
    AppendDelta(std::move(delta), &choice.content);
    return;
  }
  // An answer without any text still opens with a message that has the role.
  if (!choice.started) {
    choice.has_content = true;
    choice.content.choice = delta.choice;
  }
  AppendDelta(std::move(delta), &choice.end);
}

std::vector<PendingOutput::Item> PendingOutput::TakeNext() {
  std::vector<Item> items;
  for (Choice& choice : choices_) {
    if (!choice.has_content) continue;
    items.push_back({std::exchange(choice.content, {}), !choice.started});
    choice.has_content = false;
    choice.started = true;
  }
  if (items.empty()) {
    for (Choice& choice : choices_) {
      if (!choice.has_end) continue;
      items.push_back({std::exchange(choice.end, {}), false});
      choice.has_end = false;
    }
  }
  for (const Item& item : items) {
    const size_t bytes = WireBytes(item.delta);
    bytes_ -= bytes < bytes_ ? bytes : bytes_;
    tokens_ -= item.delta.num_tokens;
  }
  bool any = false;
  for (const Choice& choice : choices_) any |= choice.has_content || choice.has_end;
  if (!any) bytes_ = 0;
  return items;
}

void PendingOutput::Clear() {
  for (Choice& choice : choices_) {
    choice.content = {};
    choice.end = {};
    choice.has_content = choice.has_end = false;
  }
  bytes_ = 0;
  tokens_ = 0;
}

}  // namespace inferd
