// Runs the instructions of AMX on processors of x86-64 that lack them: each raises an illegal
// instruction there, and a handler of SIGILL decodes it where it stands (tile_instruction.h),
// executes it on tiles of the thread's own (tile_machine.h) and goes on behind it. So the machine
// code of the kernels runs as the compiler made it, registers and addresses included.
//
// A program that links inferd_tile_trap (an object library) has the handler from its start, and
// kernels::AmxBf16Runs and AmxInt8Runs are true in it. On a processor with AMX there is no handler
// and these two are the usual ones.
//
// What the decoder does not know and what a processor would refuse ends the process, by abort()
// and with a text on stderr.
// AddressSanitizer sees the handler's accesses to memory as those of the code that it stands for.
#pragma once

#include <cstdint>

#include "kernels/cpu/tile_instruction.h"

namespace inferd::testing {

// Whether instructions are trapped here.
bool TilesAreTrapped();
// Instructions of this kind so far, of all threads.
uint64_t TrappedInstructions(TileOpcode opcode);
// Threads that now have tiles configured: 0 where every LDTILECFG is followed by a TILERELEASE,
// without which a processor saves 8 KiB more at every switch of the thread.
int64_t ThreadsWithTiles();

}  // namespace inferd::testing
