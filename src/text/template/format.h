// "%s" % x and "{}".format(x).
#pragma once

#include "text/template/arguments.h"

namespace inferd::chat_template {

// `values`: a tuple of arguments, a dict for "%(name)s", or the only argument.
StatusOr<Value> PercentFormat(Budget& budget, const MarkedString& format, const Value& values);
StatusOr<Value> BraceFormat(Budget& budget, const MarkedString& format, const Arguments& arguments);

}  // namespace inferd::chat_template
