#include "net/channel.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/sslerr.h>
#include <openssl/x509.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace inferd::net {
namespace {

constexpr int kMaxSubject = 16 << 10;

int Clamped(size_t size) { return static_cast<int>(std::min<size_t>(size, INT_MAX)); }

}  // namespace

void Channel::SslDeleter::operator()(ssl_st* ssl) const { SSL_free(ssl); }

Channel::Channel(std::shared_ptr<EventLoop> loop, UniqueFd fd)
    : loop_(std::move(loop)), fd_(std::move(fd)) {}

Channel::~Channel() {
  if (watched_) loop_->Unwatch(fd_.get());
}

bool Channel::SetOwner(EventLoop::Source* owner) {
  if (watched_) {
    loop_->SetSource(fd_.get(), owner);
    return true;
  }
  watched_ = loop_->Watch(fd_.get(), owner);
  return watched_;
}

void Channel::OnEvents(uint32_t epoll_events) {
  const bool broken = (epoll_events & (EPOLLHUP | EPOLLERR)) != 0;
  if (broken || (epoll_events & (EPOLLIN | EPOLLRDHUP)) != 0) readable_ = true;
  if (broken || (epoll_events & EPOLLOUT) != 0) writable_ = true;
  if (broken || (epoll_events & EPOLLRDHUP) != 0) peer_closed_ = true;
}

bool Channel::StartTls(ssl_ctx_st* context) {
  ERR_clear_error();
  ssl_.reset(SSL_new(context));
  if (!ssl_ || SSL_set_fd(ssl_.get(), fd_.get()) != 1) return false;
  SSL_set_accept_state(ssl_.get());
  return true;
}

Channel::Io Channel::Explain(int result) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Io::kAgain;
    case SSL_ERROR_ZERO_RETURN:
      return Io::kEof;
    default:
      failed_ = true;
      ERR_clear_error();
      return Io::kError;
  }
}

Channel::Io Channel::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    handshaken_ = true;
    return Io::kDone;
  }
  peer_spoke_plain_http_ = ERR_GET_REASON(ERR_peek_error()) == SSL_R_HTTP_REQUEST;
  return Explain(result);
}

bool Channel::DropTls() {
  const bool told = BIO_number_written(SSL_get_wbio(ssl_.get())) > 0;
  ssl_.reset();
  failed_ = false;
  return told;
}

std::string Channel::Subject() const {
  if (!ssl_ || SSL_get_verify_result(ssl_.get()) != X509_V_OK) return {};
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(
      SSL_get1_peer_certificate(ssl_.get()), &X509_free);
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(BIO_new(BIO_s_mem()), &BIO_free);
  if (!certificate || !text) return {};
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate.get()), 0, XN_FLAG_RFC2253);
  // The beginning of a name could be that of another's.
  if (BIO_pending(text.get()) > kMaxSubject) return {};
  std::string name(kMaxSubject, '\0');
  name.resize(static_cast<size_t>(std::max(0, BIO_read(text.get(), name.data(), kMaxSubject))));
  return name;
}

bool Channel::CanRead() const {
  if (!ssl_) return readable_;
  if (failed_ || SSL_pending(ssl_.get()) > 0) return true;
  return read_waits_for_write_ ? writable_ : readable_;
}

bool Channel::CanWrite() const {
  if (!ssl_) return writable_;
  return failed_ || (write_waits_for_read_ ? readable_ : writable_);
}

Channel::Result Channel::Read(std::span<uint8_t> into) {
  if (!ssl_) {
    const ssize_t got = ::recv(fd_.get(), into.data(), into.size(), 0);
    if (got > 0) {
      // A stream that gave less than was asked for has no more, unless its end
      // is due.
      if (static_cast<size_t>(got) < into.size() && !peer_closed_) readable_ = false;
      return {Io::kDone, static_cast<size_t>(got)};
    }
    if (got == 0) return {Io::kEof, 0};
    if (errno == EINTR) return {Io::kAgain, 0};
    if (errno == EAGAIN) {
      readable_ = false;
      return {Io::kAgain, 0};
    }
    return {Io::kError, 0};
  }
  if (failed_) return {Io::kError, 0};
  ERR_clear_error();
  const int got = SSL_read(ssl_.get(), into.data(), Clamped(into.size()));
  if (got > 0) {
    read_waits_for_write_ = false;
    return {Io::kDone, static_cast<size_t>(got)};
  }
  const Io io = Explain(got);
  if (io == Io::kAgain) {
    read_waits_for_write_ = SSL_want_write(ssl_.get());
    (read_waits_for_write_ ? writable_ : readable_) = false;
  }
  return {io, 0};
}

Channel::Result Channel::Write(std::span<const uint8_t> from) {
  if (!ssl_) {
    const ssize_t put = ::send(fd_.get(), from.data(), from.size(), MSG_NOSIGNAL);
    if (put > 0) {
      if (static_cast<size_t>(put) < from.size()) writable_ = false;
      return {Io::kDone, static_cast<size_t>(put)};
    }
    if (put < 0 && errno == EINTR) return {Io::kAgain, 0};
    if (put < 0 && errno == EAGAIN) {
      writable_ = false;
      return {Io::kAgain, 0};
    }
    return {Io::kError, 0};
  }
  if (failed_) return {Io::kError, 0};
  ERR_clear_error();
  const int put = SSL_write(ssl_.get(), from.data(), Clamped(from.size()));
  if (put > 0) {
    write_waits_for_read_ = false;
    return {Io::kDone, static_cast<size_t>(put)};
  }
  const Io io = Explain(put);
  if (io == Io::kAgain) {
    write_waits_for_read_ = SSL_want_read(ssl_.get());
    (write_waits_for_read_ ? readable_ : writable_) = false;
  }
  return {io == Io::kEof ? Io::kError : io, 0};
}

void Channel::EndWriting() {
  if (ssl_ && handshaken_ && !failed_) {
    ERR_clear_error();
    if (SSL_shutdown(ssl_.get()) < 0) ERR_clear_error();
  }
  ::shutdown(fd_.get(), SHUT_WR);
}

}  // namespace inferd::net
