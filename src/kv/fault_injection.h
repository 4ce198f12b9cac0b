#pragma once

namespace inferd {

// Bugs to commit on purpose, so that a test can prove that it would notice them.
// All off outside of tests. Every one of them was a real defect of some server.
struct FaultInjection {
  // KvManager
  bool unchained_hash = false;     // a block's hash forgets the tokens before it
  bool ignore_scope = false;       // prefixes are shared across cache scopes
  bool drop_unref = false;         // a release now and then forgets one block
  bool double_unref = false;       // a release drops a shared block twice
  bool keep_stale_index = false;   // a reused block stays in the prefix index
  bool serve_last_token = false;   // B5: a whole prompt may come from the cache
  bool pin_late = false;           // matched blocks are not pinned before reserving
  bool keep_lost_content = false;  // prefixes are still found after the ranks were lost
  // Scheduler
  bool release_in_flight = false;  // R1: a finished sequence leaves at once
  bool skip_fence = false;         // R1, blocks only: the slot still waits
  bool preempt_in_flight = false;  // R3: a victim may be in flight
  bool publish_before_computed = false;
  bool publish_corrupted = false;     // P16: a poisoned block may be shared
  bool forget_generated = false;      // a preempted sequence restarts from its prompt
  bool leak_slot = false;             // a slot now and then never comes back
  bool deliver_after_finish = false;  // tokens in flight at the end are delivered
  bool strand_siblings = false;       // choices held back for a leader that ended
  bool overlook_stop = false;         // a stop token now and then is overlooked
  bool sample_every_chunk = false;    // a prompt chunk that is not the last draws
  bool keep_pending = false;          // after a loss, tokens in flight count as drawn
  bool repeat_last_token = false;     // a resumed sequence draws its last token again
  bool release_to_lost = false;       // new ranks are told of slots that the old ones had
  bool end_innocent = false;          // suspects are not computed alone
};

}  // namespace inferd
