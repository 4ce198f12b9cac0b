#include "inferd/net/listener.h"
#include "server/metric_families.h"

namespace inferd {

void AddListenerFamilies(const ListenerStats& s, FamilyBuilder* out) {
  const auto number = [](int64_t value) { return static_cast<double>(value); };
  out->Gauge("inferd_connections_active", "Open connections of the main port.");
  out->Add({}, number(s.connections));
  out->Counter("inferd_connections_accepted_total", "Connections of the main port.");
  out->Add({}, number(s.accepted));
  out->Counter("inferd_connections_refused_total",
               "Connections closed at once: too many open in all, or from their address, or new "
               "ones of it too fast, or it was shut out for what earlier ones did.");
  out->Add({{"reason", "total"}}, number(s.refused_total));
  out->Add({{"reason", "per_address"}}, number(s.refused_per_address));
  out->Add({{"reason", "too_fast"}}, number(s.refused_too_fast));
  out->Add({{"reason", "shut_out"}}, number(s.refused_shut_out));
  out->Counter("inferd_connection_errors_total",
               "Connections that came to nothing: TLS failed, a time limit passed before a "
               "request was whole, or there was no descriptor for one.");
  out->Add({{"reason", "handshake"}}, number(s.handshakes_failed));
  out->Add({{"reason", "timeout"}}, number(s.timed_out));
  out->Add({{"reason", "accept"}}, number(s.accept_errors));
  out->Counter("inferd_http1_requests_total", "HTTP/1.1 requests of the main port.");
  out->Add({}, number(s.http1_requests));
  out->Counter("inferd_http2_connections_total", "Connections that went on with HTTP/2.");
  out->Add({}, number(s.http2_connections));
  out->Counter("inferd_http2_violations_total",
               "HTTP/2 connections ended for what they sent, by the limit they broke.");
  for (size_t i = 0; i < kNumHttp2Violations; ++i) {
    const std::string kind(Http2ViolationName(static_cast<Http2Violation>(i)));
    out->Add({{"kind", kind}}, i < s.http2_violations.size() ? number(s.http2_violations[i]) : 0.0);
  }
}

}  // namespace inferd
