#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/choice_delta.h"

namespace inferd {

// Deltas that wait for a stream's write, merged per choice: however long the
// client takes, there is at most one piece of content and one end per choice. The
// end of a choice goes out after its content, on its own with an empty text. One
// thread at a time.
class PendingOutput {
 public:
  struct Item {
    ChoiceDelta delta;
    bool first = false;  // the first of its choice to go out: carries the role
  };

  void Add(ChoiceDelta&& delta);
  // All content that waits; if there is none, all ends. Empty when nothing waits.
  std::vector<Item> TakeNext();
  void Clear();

  // What waits, roughly as it will be on the wire.
  size_t bytes() const { return bytes_; }
  int32_t tokens() const { return tokens_; }

 private:
  struct Choice {
    int32_t index = 0;
    bool started = false;  // content was taken
    bool has_content = false;
    bool has_end = false;
    ChoiceDelta content;
    ChoiceDelta end;
  };
  Choice& Find(int32_t index);

  std::vector<Choice> choices_;  // in order of arrival
  size_t bytes_ = 0;
  int32_t tokens_ = 0;
};

}  // namespace inferd
