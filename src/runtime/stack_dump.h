// What the threads of a process are doing when it hangs.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace inferd::runtime {

// In a rank's process, before it has other threads: from then on a thread that gets
// the signal of RequestStacks writes its name and its stack to standard error, in the
// handler, with nothing but system calls and what glibc promises for it.
void AnswerStackRequests();

// Asks every thread of `pid`. A process that is stopped answers once it goes on.
void RequestStacks(pid_t pid);

// Whether a signal has stopped the process: it does nothing until another one comes.
bool IsStopped(pid_t pid);

// One line for each thread, from /proc: its name, state, and where in the kernel it
// waits. For a process that does not answer.
std::vector<std::string> DescribeThreads(pid_t pid);

}  // namespace inferd::runtime
