// How gRPC learns who is at the other end of a guarded connection.
#pragma once

#include <string>

namespace inferd::net {

// Gives this end of a socket pair the abstract name "inferd/<n>/<peer>", and after it
// "#<certificate id>" where `subject` is not empty, which getpeername() of the other
// end then finds. `n` makes it unique on the machine. Without a free name the end
// stays nameless, and the connection works, as one without a certificate.
void BindPeerName(int fd, const std::string& peer, const std::string& subject);

}  // namespace inferd::net
