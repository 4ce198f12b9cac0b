// Takes new connections from the kernel.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "net/listener_core.h"
#include "net/socket_address.h"

namespace inferd::net {

// On the first loop's thread. Keeps a descriptor in reserve: when there is no other,
// it gives that up for a moment to take a newcomer and close it, so that the kernel's
// queue does not stand still and clients are told at once.
class Acceptor final : public EventLoop::Source {
 public:
  struct Place {
    std::shared_ptr<EventLoop> loop;
    std::shared_ptr<Shard> shard;
  };
  Acceptor(std::shared_ptr<ListenerCore> core, ListeningSocket socket, std::vector<Place> places);
  ~Acceptor();
  // False when the kernel has no room.
  bool Begin();
  void OnReady(int fd, uint32_t epoll_events) override;
  // Closes the listening socket.
  void Close();

 private:
  void AcceptSome();
  // Closes a newcomer by means of the reserve; false when that did not work.
  bool TurnOneAway();
  // Whether the address may have another connection now; counts what is refused.
  bool Admits(const AddressKey& key);
  void Take(UniqueFd fd, const sockaddr_storage& address);

  const std::shared_ptr<ListenerCore> core_;
  ListeningSocket socket_;
  const std::vector<Place> places_;
  UniqueFd reserve_;
  uint64_t next_id_ = 0;
  bool watched_ = false;
  Timer retry_;
};

}  // namespace inferd::net
