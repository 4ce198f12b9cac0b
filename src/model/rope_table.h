#pragma once

#include "inferd/model/rope_table.h"
