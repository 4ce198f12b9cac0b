#pragma once

#include "inferd/engine/engine.h"

namespace inferd {

// Adds another engine's to `sum`, as ReplicatedEngine's Stats() are meant.
void AddStats(const EngineStats& other, EngineStats& sum);

}  // namespace inferd
