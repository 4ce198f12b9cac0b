// The filters, by name.
#pragma once

#include <string_view>

#include "text/template/arguments.h"

namespace inferd::chat_template {

// The number of a filter; -1 for an unknown name.
int FindFilter(std::string_view name);
StatusOr<Value> ApplyFilter(Budget& budget, int filter, const Value& input,
                            const Arguments& arguments);

using FilterFunction = StatusOr<Value> (*)(Budget&, const Value&, const Arguments&);
struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};

// The parts of the table; null for an unknown name.
FilterFunction FindTextFilter(std::string_view name);      // filters_text.cc
FilterFunction FindValueFilter(std::string_view name);     // filters_value.cc
FilterFunction FindSequenceFilter(std::string_view name);  // filters_sequence.cc
FilterFunction FindSelectFilter(std::string_view name);    // filters_select.cc

}  // namespace inferd::chat_template
