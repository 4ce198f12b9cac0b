#include "net/tls_context.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>
#include <vector>

#include "inferd/base/unique_fd.h"

namespace inferd::net {
namespace {

constexpr off_t kMaxFileBytes = 1 << 20;
constexpr size_t kMaxCertificates = 1000;

struct X509Deleter {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificate = std::unique_ptr<X509, X509Deleter>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

Status Bad(const std::string& path, std::string_view what) {
  return InvalidArgumentError(path + ": " + std::string(what));
}

// A private key is for its owner alone. One that root has handed to us through our group is as
// well: so come the secrets of containers, whose users own no files.
bool OthersMayUse(const struct stat& info) {
  const bool handed = info.st_uid == 0 && ::geteuid() != 0;
  const mode_t others = handed ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
  return (info.st_mode & others) != 0;
}

StatusOr<std::string> ReadSmallFile(const std::string& path, bool must_be_private) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  struct stat info {};
  if (!fd || ::fstat(fd.get(), &info) != 0) return Bad(path, std::strerror(errno));
  if (!S_ISREG(info.st_mode)) return Bad(path, "is not a regular file");
  if (info.st_size > kMaxFileBytes) return Bad(path, "is larger than 1 MiB");
  if (must_be_private && OthersMayUse(info)) {
    return Bad(path,
               "holds a private key and must not be readable by group or others (chmod 600; where "
               "root owns it and the daemon is another user, 640 will do)");
  }
  std::string text(static_cast<size_t>(info.st_size), '\0');
  size_t have = 0;
  while (have < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + have, text.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Bad(path, std::strerror(errno));
    if (got == 0) break;
    have += static_cast<size_t>(got);
  }
  text.resize(have);
  return text;
}

// A key under a passphrase is refused; nobody is there to ask.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) { return -1; }

StatusOr<std::vector<Certificate>> ReadCertificates(const std::string& path) {
  INFERD_ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, /*must_be_private=*/false));
  const Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free);
  std::vector<Certificate> certificates;
  while (bio && certificates.size() < kMaxCertificates) {
    Certificate next(PEM_read_bio_X509(bio.get(), nullptr, &NoPassphrase, nullptr));
    if (!next) break;
    certificates.push_back(std::move(next));
  }
  const bool clean_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (certificates.empty() || !clean_end) return Bad(path, "is not a PEM file of certificates");
  return certificates;
}

// "http/1.1" before "h2", whatever the client prefers; neither: the handshake fails. HTTP/2 is
// gRPC's here, whose clients offer it alone; who offers both (curl, Prometheus, browsers) wants
// the routes that speak HTTP/1.1.
int ChooseProtocol(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_size,
                   const unsigned char* in, unsigned int in_size, void* /*user*/) {
  static constexpr std::array<unsigned char, 12> kOurs = {8,   'h', 't', 't', 'p', '/',
                                                          '1', '.', '1', 2,   'h', '2'};
  unsigned char* chosen = nullptr;
  const int result =
      SSL_select_next_proto(&chosen, out_size, kOurs.data(), kOurs.size(), in, in_size);
  if (result != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int64_t NotAfter(const X509* certificate) {
  std::tm time{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &time) != 1) return 0;
  return ::timegm(&time);
}

struct Loaded {
  std::shared_ptr<SSL_CTX> context;
  int64_t not_after_unix_s = 0;
};

Status UseClientCa(SSL_CTX* context, const std::string& path) {
  INFERD_ASSIGN_OR_RETURN(const std::vector<Certificate> roots, ReadCertificates(path));
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const Certificate& root : roots) {
    if (X509_STORE_add_cert(store, root.get()) != 1 ||
        SSL_CTX_add_client_CA(context, root.get()) != 1) {
      return Bad(path, "holds a certificate that cannot be used");
    }
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return OkStatus();
}

StatusOr<Loaded> LoadFiles(const TlsFiles& files) {
  INFERD_ASSIGN_OR_RETURN(const std::vector<Certificate> chain,
                          ReadCertificates(files.certificate));
  INFERD_ASSIGN_OR_RETURN(const std::string key_text,
                          ReadSmallFile(files.key, /*must_be_private=*/true));
  const Bio key_bio(BIO_new_mem_buf(key_text.data(), static_cast<int>(key_text.size())), &BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
      key_bio ? PEM_read_bio_PrivateKey(key_bio.get(), nullptr, &NoPassphrase, nullptr) : nullptr,
      &EVP_PKEY_free);
  ERR_clear_error();
  if (!key) return Bad(files.key, "is not a PEM file of a private key without a passphrase");

  Loaded loaded;
  loaded.context = std::shared_ptr<SSL_CTX>(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  SSL_CTX* context = loaded.context.get();
  if (context == nullptr) return InternalError("TLS cannot be set up");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_options(
      context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  static constexpr std::string_view kSessionContext = "inferd";
  SSL_CTX_set_session_id_context(context,
                                 reinterpret_cast<const unsigned char*>(kSessionContext.data()),
                                 static_cast<unsigned>(kSessionContext.size()));
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context, &ChooseProtocol, nullptr);

  if (SSL_CTX_use_certificate(context, chain.front().get()) != 1) {
    ERR_clear_error();
    return Bad(files.certificate, "cannot be used");
  }
  for (size_t i = 1; i < chain.size(); ++i) SSL_CTX_add1_chain_cert(context, chain[i].get());
  const bool fits =
      SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
  ERR_clear_error();
  if (!fits) return Bad(files.key, "is not the key of " + files.certificate);
  if (!files.client_ca.empty()) INFERD_RETURN_IF_ERROR(UseClientCa(context, files.client_ca));

  loaded.not_after_unix_s = NotAfter(chain.front().get());
  for (const Certificate& certificate : chain) {
    loaded.not_after_unix_s = std::min(loaded.not_after_unix_s, NotAfter(certificate.get()));
  }
  return loaded;
}

}  // namespace

Status TlsServerContextImpl::Reload() {
  INFERD_ASSIGN_OR_RETURN(Loaded loaded, LoadFiles(files_));
  std::lock_guard lock(mutex_);
  context_ = std::move(loaded.context);
  not_after_unix_s_ = loaded.not_after_unix_s;
  return OkStatus();
}

int64_t TlsServerContextImpl::not_after_unix_s() const {
  std::lock_guard lock(mutex_);
  return not_after_unix_s_;
}

std::shared_ptr<SSL_CTX> TlsServerContextImpl::Current() const {
  std::lock_guard lock(mutex_);
  return context_;
}

}  // namespace inferd::net

namespace inferd {

StatusOr<std::shared_ptr<TlsServerContext>> TlsServerContext::Load(TlsFiles files) {
  auto context = std::make_shared<net::TlsServerContextImpl>(std::move(files));
  INFERD_RETURN_IF_ERROR(context->Reload());
  return std::shared_ptr<TlsServerContext>(std::move(context));
}

}  // namespace inferd
