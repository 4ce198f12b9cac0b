// What the threads of a process are doing when it hangs.
#pragma once

#include <sys/types.h>

#include "spdlog/logger.h"

namespace inferd::runtime {

// In a rank's process, before it has other threads: from then on a thread that gets
// the signal of RequestStacks writes its name and its stack to standard error, one thread
// after another, in the handler, with nothing but system calls and what glibc promises for it.
void AnswerStackRequests();

// Asks every thread of `pid`, and says how many there are. A process that is stopped answers once
// it goes on.
int RequestStacks(pid_t pid);

// Asks every thread of this process, which has called AnswerStackRequests, and waits until all have
// written, for half a second at most.
void WriteOwnStacks();

// Whether a signal has stopped the process: it does nothing until another one comes.
bool IsStopped(pid_t pid);

// How many bytes the process has had from disk, its page faults included; -1 when that is not to be
// known.
int64_t DiskBytes(pid_t pid);

// One line for each thread, from /proc: its name, state, and where in the kernel it
// waits. For the process of a rank that does not answer.
void LogThreads(spdlog::logger& logger, int rank, pid_t pid);

}  // namespace inferd::runtime
