// Keeps web pages away from a daemon that asks for no key: a browser on its machine
// lets any page send requests to it, and by a name that changes its address ("DNS
// rebinding") read the answers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "inferd/base/status.h"

namespace inferd {

// PERMISSION_DENIED unless `host` (of the Host header, with or without a port) is an
// address, localhost or one of `allowed`, and `origin` (empty: not from a page) is of
// that same host or of one of `allowed`. "*" among `allowed` takes any name.
Status CheckBrowser(std::string_view host, std::string_view origin,
                    const std::vector<std::string>& allowed);

}  // namespace inferd
