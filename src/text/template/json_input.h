// What comes with a request, as values of the template language.
#pragma once

#include "nlohmann/json.hpp"
#include "text/template/budget.h"

namespace inferd::chat_template {

// Everything in it is untrusted. Text must be UTF-8, nesting within the limit.
StatusOr<Value> FromJson(Budget& budget, const nlohmann::ordered_json& json, int depth = 0);

}  // namespace inferd::chat_template
