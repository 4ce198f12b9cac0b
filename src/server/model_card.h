#pragma once

#include "inferd/server/server.h"
#include "inferd/v1/services.pb.h"

namespace inferd {

// What clients are told of the served model.
void FillModel(const ServedModel& model, v1::Model* out);

}  // namespace inferd
