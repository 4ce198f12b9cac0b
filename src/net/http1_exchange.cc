#include "net/http1_exchange.h"

#include "net/http1_session.h"

namespace inferd::net {

Http1Exchange::Http1Exchange(std::shared_ptr<EventLoop> loop, std::weak_ptr<Http1Session> session,
                             uint64_t serial)
    : loop_(std::move(loop)), session_(std::move(session)), serial_(serial) {}

template <typename F>
void Http1Exchange::Tell(F what) {
  // The session is only looked up on its own thread, so that it also ends there.
  loop_->Post([session = session_, serial = serial_, what = std::move(what)]() mutable {
    if (const auto self = session.lock()) what(*self, serial);
  });
}

Http1Exchange::~Http1Exchange() {
  Tell([](Http1Session& session, uint64_t serial) { session.Dropped(serial); });
}

void Http1Exchange::Respond(HttpResponse response) {
  Tell([response = std::move(response)](Http1Session& session, uint64_t serial) mutable {
    session.Respond(serial, std::move(response));
  });
}

void Http1Exchange::SetEvents(std::shared_ptr<HttpExchangeEvents> events) {
  loop_->Post([session = session_, serial = serial_, events = std::move(events)]() mutable {
    const auto self = session.lock();
    // Gone before the handler had said whom to tell.
    if (!self) return events->OnDisconnect();
    self->SetEvents(serial, std::move(events));
  });
}

void Http1Exchange::StartStream(HttpResponse head) {
  Tell([head = std::move(head)](Http1Session& session, uint64_t serial) mutable {
    session.StartStream(serial, std::move(head));
  });
}

void Http1Exchange::Write(std::string bytes) {
  Tell([bytes = std::move(bytes)](Http1Session& session, uint64_t serial) mutable {
    session.Write(serial, std::move(bytes));
  });
}

void Http1Exchange::Finish(bool complete) {
  Tell([complete](Http1Session& session, uint64_t serial) { session.Finish(serial, complete); });
}

}  // namespace inferd::net
