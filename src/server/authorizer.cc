#include "server/authorizer.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <utility>

#include "server/errors.h"

namespace inferd {
namespace {

constexpr std::string_view kScheme = "bearer ";

// The secret of "Bearer <secret>", whatever the case of the scheme; empty if it is
// anything else.
std::string_view BearerSecret(std::string_view authorization) {
  if (authorization.size() <= kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    if (std::tolower(static_cast<unsigned char>(authorization[i])) != kScheme[i]) return {};
  }
  authorization.remove_prefix(kScheme.size());
  const size_t begin = authorization.find_first_not_of(' ');
  if (begin == std::string_view::npos) return {};
  return authorization.substr(begin, authorization.find_last_not_of(' ') - begin + 1);
}

// The rights of a certificate: everything but the admin service, without limits. Each
// subject is a tenant.
Principal OfCertificate(std::string_view certificate) {
  auto rights = std::make_shared<ApiKey>();
  rights->id = "certificate-" + std::string(certificate);
  rights->tenant = rights->id;
  return rights;
}

}  // namespace

Authorizer::Authorizer(const Clock& clock, std::shared_ptr<const KeyRing> keys, bool certificates)
    : certificates_(certificates), keys_(std::move(keys)), limiter_(clock) {}

void Authorizer::SetKeys(std::shared_ptr<const KeyRing> keys) {
  std::lock_guard lock(mutex_);
  if ((keys == nullptr) == (keys_ == nullptr)) keys_ = std::move(keys);
}

StatusOr<Principal> Authorizer::Authenticate(const Credentials& credentials) const {
  std::shared_ptr<const KeyRing> keys;
  {
    std::lock_guard lock(mutex_);
    keys = keys_;
  }
  if (keys == nullptr) {
    if (!certificates_) return Principal();
    if (credentials.certificate.empty()) {
      return UnauthenticatedError("a client certificate is needed");
    }
    return OfCertificate(credentials.certificate);
  }
  const bool has_authorization = !credentials.authorization.empty();
  const std::string_view secret =
      has_authorization ? BearerSecret(credentials.authorization) : credentials.x_api_key;
  if (secret.empty()) {
    return UnauthenticatedError("an API key is needed: authorization: Bearer <key>");
  }
  const ApiKey* key = keys->Find(secret);
  if (key == nullptr) return UnauthenticatedError("the API key is not valid");
  return Principal(std::move(keys), key);  // keeps the whole ring alive
}

StatusOr<Principal> Authorizer::AuthenticateAdmin(const Credentials& credentials) const {
  INFERD_ASSIGN_OR_RETURN(Principal principal, Authenticate(credentials));
  if (principal != nullptr && !principal->admin) {
    return PermissionDeniedError("this key is not for the admin service", "NOT_ADMIN");
  }
  return principal;
}

Status CheckModelAccess(const Principal& principal, const ServedModel& model) {
  if (principal == nullptr || principal->MayUse(model.id)) return OkStatus();
  const bool by_alias = std::any_of(model.aliases.begin(), model.aliases.end(),
                                    [&](const std::string& a) { return principal->MayUse(a); });
  if (by_alias) return OkStatus();
  return PermissionDeniedError("this key may not use the model", "MODEL_NOT_ALLOWED");
}

StatusOr<QuotaShare> QuotaShare::Take(RateLimiter& limiter, Principal principal) {
  if (principal != nullptr) INFERD_RETURN_IF_ERROR(limiter.Acquire(*principal));
  return QuotaShare(limiter, std::move(principal));
}

void QuotaShare::Charge(int64_t tokens) {
  if (principal_ != nullptr) limiter_->Charge(*principal_, tokens);
}

QuotaShare::~QuotaShare() {
  if (principal_ != nullptr) limiter_->Release(*principal_);
}

}  // namespace inferd
