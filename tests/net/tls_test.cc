// TLS: certificates made here, clients made of OpenSSL.
#include "inferd/net/tls.h"

#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>

#include "http1_harness.h"
#include "raw_client.h"

namespace inferd::net {
namespace {

using Key = std::shared_ptr<EVP_PKEY>;
using Cert = std::shared_ptr<X509>;

struct Identity {
  Key key;
  Cert cert;
};

// A certificate for `name`, signed by `issuer` or by itself. `units` make its subject
// longer; RFC 2253 writes them first.
Identity MakeIdentity(const std::string& name, const Identity* issuer = nullptr,
                      int64_t lifetime_s = 3600, int units = 0) {
  static int serial = 0;
  Identity made;
  made.key = Key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  made.cert = Cert(X509_new(), &X509_free);
  X509* cert = made.cert.get();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(cert), -7200);
  X509_gmtime_adj(X509_getm_notAfter(cert), lifetime_s);
  X509_set_pubkey(cert, made.key.get());
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  const std::string unit(64, 'u');
  for (int i = 0; i < units; ++i) {
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "OU", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(unit.c_str()), -1, -1, 0);
  }
  X509_set_issuer_name(cert, X509_get_subject_name(issuer == nullptr ? cert : issuer->cert.get()));
  if (issuer == nullptr) {
    X509_EXTENSION* ca = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints,
                                             const_cast<char*>("critical,CA:TRUE"));
    X509_add_ext(cert, ca, -1);
    X509_EXTENSION_free(ca);
  }
  X509_sign(cert, issuer == nullptr ? made.key.get() : issuer->key.get(), EVP_sha256());
  return made;
}

class TlsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::filesystem::temp_directory_path() / "inferd-tls-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  TlsFiles Write(const Identity& identity) {
    const TlsFiles files{
        .certificate = directory_ / "cert.pem", .key = directory_ / "key.pem", .client_ca = {}};
    WriteCert(files.certificate, identity.cert.get());
    WriteKey(files.key, identity.key.get(), 0600);
    return files;
  }
  static void WriteCert(const std::string& path, X509* cert) {
    const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(path.c_str(), "w"),
                                                         &BIO_free);
    PEM_write_bio_X509(file.get(), cert);
  }
  static void WriteKey(const std::string& path, EVP_PKEY* key, mode_t mode) {
    {
      const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(path.c_str(), "w"),
                                                           &BIO_free);
      PEM_write_bio_PrivateKey(file.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    }
    ::chmod(path.c_str(), mode);
  }

  std::filesystem::path directory_;
};

// A TLS client; what it trusts is not the point here.
class TlsClient {
 public:
  struct Options {
    int max_version = TLS1_3_VERSION;
    std::string alpn;  // as in the protocol: length, name...
    const Identity* identity = nullptr;
  };
  TlsClient(int port, const Options& options)
      : socket_(port), context_(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free) {
    SSL_CTX_set_max_proto_version(context_.get(), options.max_version);
    SSL_CTX_set_security_level(context_.get(), 0);
    if (options.identity != nullptr) {
      SSL_CTX_use_certificate(context_.get(), options.identity->cert.get());
      SSL_CTX_use_PrivateKey(context_.get(), options.identity->key.get());
    }
    ssl_ = {SSL_new(context_.get()), &SSL_free};
    if (!options.alpn.empty()) {
      SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(options.alpn.data()),
                          static_cast<unsigned>(options.alpn.size()));
    }
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(socket_.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    SSL_set_fd(ssl_.get(), socket_.fd());
    connected_ = SSL_connect(ssl_.get()) == 1;
  }
  bool connected() const { return connected_; }
  // The first piece of the answer.
  std::string Ask(const std::string& bytes) {
    if (SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())) <= 0) return {};
    std::string answer(65536, '\0');
    answer.resize(static_cast<size_t>(
        std::max(0, SSL_read(ssl_.get(), answer.data(), static_cast<int>(answer.size())))));
    return answer;
  }
  std::string version() const { return SSL_get_version(ssl_.get()); }
  std::string alpn() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_.get(), &name, &size);
    return {reinterpret_cast<const char*>(name), size};
  }
  std::string server_name() const {
    const std::unique_ptr<X509, decltype(&X509_free)> cert(SSL_get1_peer_certificate(ssl_.get()),
                                                           &X509_free);
    std::string name(100, '\0');
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert.get()), NID_commonName, name.data(), 100);
    return name.c_str();
  }

 private:
  RawClient socket_;
  std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context_;
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_{nullptr, &SSL_free};
  bool connected_ = false;
};

const std::string kEcho = "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(TlsTest, ServesBothVersionsAndBothProtocols) {
  auto context = TlsServerContext::Load(Write(MakeIdentity("server")));
  ASSERT_TRUE(context.ok()) << context.status().ToString();
  Http1Harness harness(Http1Harness::LoopbackOptions(), *context);
  TlsClient plain(harness.port(), {});
  EXPECT_NE(plain.Ask(kEcho).find("GET /echo"), std::string::npos);
  EXPECT_EQ(plain.version(), "TLSv1.3");
  EXPECT_EQ(plain.alpn(), "");
  TlsClient old(
      harness.port(),
      {.max_version = TLS1_2_VERSION, .alpn = std::string("\x08http/1.1"), .identity = nullptr});
  EXPECT_NE(old.Ask(kEcho).find("GET /echo"), std::string::npos);
  EXPECT_EQ(old.version(), "TLSv1.2");
  EXPECT_EQ(old.alpn(), "http/1.1");
  EXPECT_EQ(TlsClient(harness.port(), {.alpn = std::string("\x02h2")}).alpn(), "h2");
  for (const char* both : {"\x08http/1.1\x02h2", "\x02h2\x08http/1.1"}) {
    EXPECT_EQ(TlsClient(harness.port(), {.alpn = both}).alpn(), "http/1.1");
  }
}

TEST_F(TlsTest, RefusesOldVersionsOtherProtocolsAndPlainText) {
  auto context = TlsServerContext::Load(Write(MakeIdentity("server")));
  ASSERT_TRUE(context.ok());
  Http1Harness harness(Http1Harness::LoopbackOptions(), *context);
  EXPECT_FALSE(TlsClient(harness.port(), {.max_version = TLS1_1_VERSION, .alpn = {}}).connected());
  EXPECT_FALSE(TlsClient(harness.port(), {.alpn = std::string("\x06spdy/3")}).connected());
  EXPECT_TRUE(harness.AwaitConnections(0));
  EXPECT_EQ(harness.listener().Stats().handshakes_failed, 2);
}

TEST_F(TlsTest, PlainHttpIsToldSoAndAnythingElseGetsAnAlert) {
  auto context = TlsServerContext::Load(Write(MakeIdentity("server")));
  ASSERT_TRUE(context.ok());
  Http1Harness harness(Http1Harness::LoopbackOptions(), *context);
  for (const std::string& request :
       {kEcho, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" +
                   std::string(100'000, 'x')}) {
    RawClient plain(harness.port());
    ASSERT_TRUE(plain.Send(request));
    const std::string answer = plain.ReadAll(5'000);
    EXPECT_EQ(answer.find("HTTP/1.1 400 Bad Request\r\n"), 0U) << answer;
    EXPECT_NE(answer.find("This port speaks TLS: use https."), std::string::npos) << answer;
    EXPECT_EQ(answer.find("GET /echo"), std::string::npos);
  }
  for (const std::string& bytes : {std::string(kHttp2Preface), std::string(2'000, 'x')}) {
    RawClient other(harness.port());
    ASSERT_TRUE(other.Send(bytes));
    const std::string answer = other.ReadAll(5'000);
    ASSERT_EQ(answer.size(), 7U);  // a record of one alert
    EXPECT_EQ(answer[0], '\x15');
    EXPECT_EQ(answer[5], '\x02');  // fatal
  }
  EXPECT_TRUE(harness.AwaitConnections(0));
  EXPECT_EQ(harness.listener().Stats().handshakes_failed, 4);
}

TEST_F(TlsTest, ASlowHandshakeEnds) {
  auto context = TlsServerContext::Load(Write(MakeIdentity("server")));
  ASSERT_TRUE(context.ok());
  ListenerOptions options = Http1Harness::LoopbackOptions();
  options.handshake_timeout_ms = 150;
  Http1Harness harness(options, *context);
  RawClient client(harness.port());
  ASSERT_TRUE(client.Send(std::string("\x16\x03\x01\x02\x00\x01", 6)));
  EXPECT_TRUE(client.AwaitClose(2'000));
  EXPECT_EQ(harness.listener().Stats().handshakes_failed, 1);
}

TEST_F(TlsTest, ClientsShowACertificateOfTheGivenAuthority) {
  const Identity authority = MakeIdentity("authority");
  const Identity stranger = MakeIdentity("stranger");
  const Identity alice = MakeIdentity("alice", &authority);
  const Identity expired = MakeIdentity("late", &authority, -60);
  TlsFiles files = Write(MakeIdentity("server"));
  files.client_ca = directory_ / "ca.pem";
  WriteCert(files.client_ca, authority.cert.get());
  auto context = TlsServerContext::Load(files);
  ASSERT_TRUE(context.ok()) << context.status().ToString();
  Http1Harness harness(Http1Harness::LoopbackOptions(), *context);
  TlsClient good(harness.port(), {.alpn = {}, .identity = &alice});
  EXPECT_NE(good.Ask(kEcho).find("x-subject: CN=alice\r\n"), std::string::npos);
  // With TLS 1.3 a client learns of its refusal when it reads.
  EXPECT_EQ(TlsClient(harness.port(), {}).Ask(kEcho), "");
  EXPECT_EQ(TlsClient(harness.port(), {.alpn = {}, .identity = &stranger}).Ask(kEcho), "");
  EXPECT_EQ(TlsClient(harness.port(), {.alpn = {}, .identity = &expired}).Ask(kEcho), "");
  EXPECT_EQ(harness.listener().Stats().http1_requests, 1);
}

// A subject says who it is in full or not at all: half of one could be another's.
TEST_F(TlsTest, LongSubjectsAreNotMistakenForEachOther) {
  const Identity authority = MakeIdentity("authority");
  const Identity alice = MakeIdentity("alice", &authority, 3600, /*units=*/30);
  const Identity endless = MakeIdentity("endless", &authority, 3600, /*units=*/300);
  TlsFiles files = Write(MakeIdentity("server"));
  files.client_ca = directory_ / "ca.pem";
  WriteCert(files.client_ca, authority.cert.get());
  auto context = TlsServerContext::Load(files);
  ASSERT_TRUE(context.ok()) << context.status().ToString();
  Http1Harness harness(Http1Harness::LoopbackOptions(), *context);
  TlsClient long_one(harness.port(), {.alpn = {}, .identity = &alice});
  EXPECT_NE(long_one.Ask(kEcho).find(",CN=alice\r\n"), std::string::npos);
  TlsClient longer(harness.port(), {.alpn = {}, .identity = &endless});
  const std::string answer = longer.Ask(kEcho);
  EXPECT_NE(answer.find("GET /echo"), std::string::npos);
  EXPECT_EQ(answer.find("OU="), std::string::npos);
}

TEST_F(TlsTest, ReloadIsForNewConnectionsAndAllOrNothing) {
  const TlsFiles files = Write(MakeIdentity("first", nullptr, 1'000));
  auto context = TlsServerContext::Load(files);
  ASSERT_TRUE(context.ok());
  EXPECT_NEAR(static_cast<double>((*context)->not_after_unix_s()),
              static_cast<double>(std::time(nullptr) + 1'000), 5);
  Http1Harness harness(Http1Harness::LoopbackOptions(), *context);
  TlsClient before(harness.port(), {});
  EXPECT_EQ(before.server_name(), "first");

  Write(MakeIdentity("second", nullptr, 5'000));
  ASSERT_TRUE((*context)->Reload().ok());
  EXPECT_EQ(TlsClient(harness.port(), {}).server_name(), "second");
  EXPECT_NEAR(static_cast<double>((*context)->not_after_unix_s()),
              static_cast<double>(std::time(nullptr) + 5'000), 5);
  EXPECT_NE(before.Ask(kEcho).find("GET /echo"), std::string::npos);

  WriteKey(files.key, MakeIdentity("other").key.get(), 0600);
  EXPECT_FALSE((*context)->Reload().ok());
  EXPECT_EQ(TlsClient(harness.port(), {}).server_name(), "second");
}

TEST_F(TlsTest, BadFilesAreNamed) {
  const Identity server = MakeIdentity("server");
  const TlsFiles good = Write(server);
  const auto expect = [](const TlsFiles& files, const std::string& named, const std::string& why) {
    const auto result = TlsServerContext::Load(files);
    ASSERT_FALSE(result.ok()) << why;
    EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(result.status().message().find(named), std::string::npos)
        << result.status().message();
    EXPECT_NE(result.status().message().find(why), std::string::npos) << result.status().message();
  };
  TlsFiles files = good;
  files.certificate = directory_ / "missing.pem";
  expect(files, "missing.pem", "No such file");
  files.certificate = directory_;
  expect(files, directory_, "not a regular file");
  files.certificate = good.key;
  expect(files, "key.pem", "certificates");
  files = good;
  files.key = good.certificate;
  expect(files, "cert.pem", "must not be readable");
  ::chmod(good.certificate.c_str(), 0600);
  expect(files, "cert.pem", "private key");
  files = good;
  for (const mode_t mode : {0640, 0604, 0620}) {
    ::chmod(good.key.c_str(), mode);
    expect(good, "key.pem", "must not be readable");
  }
  WriteKey(good.key, MakeIdentity("other").key.get(), 0600);
  expect(good, "key.pem", "is not the key of");
  WriteKey(good.key, server.key.get(), 0600);
  files = good;
  files.client_ca = good.key;
  expect(files, "key.pem", "certificates");
  {
    std::ofstream damaged(directory_ / "damaged.pem");
    damaged << "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  }
  files = good;
  files.certificate = directory_ / "damaged.pem";
  expect(files, "damaged.pem", "certificates");
  EXPECT_TRUE(TlsServerContext::Load(good).ok());
}

// As Kubernetes mounts a secret: root's, readable by the group of the daemon's user.
TEST_F(TlsTest, AKeyMayComeFromRootThroughTheGroup) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become another user";
  constexpr uid_t kUser = 65534;
  const TlsFiles files = Write(MakeIdentity("server"));
  ::chmod(directory_.c_str(), 0755);
  ::chmod(files.certificate.c_str(), 0644);
  const auto loads = [&files](uid_t owner, mode_t mode) {
    EXPECT_EQ(::chown(files.key.c_str(), owner, kUser), 0);
    EXPECT_EQ(::chmod(files.key.c_str(), mode), 0);
    EXPECT_EQ(::setegid(kUser), 0);
    EXPECT_EQ(::seteuid(kUser), 0);
    const bool ok = TlsServerContext::Load(files).ok();
    EXPECT_EQ(::seteuid(0), 0);
    EXPECT_EQ(::setegid(0), 0);
    return ok;
  };
  EXPECT_TRUE(loads(0, 0440));
  EXPECT_TRUE(loads(0, 0640));
  EXPECT_TRUE(loads(kUser, 0600));
  for (const mode_t mode : {0444, 0660, 0641}) EXPECT_FALSE(loads(0, mode)) << mode;
  EXPECT_FALSE(loads(kUser, 0640));
  EXPECT_FALSE(loads(1, 0640));
}

}  // namespace
}  // namespace inferd::net
