// TLS contexts: for clients, with the operator's certificate; for the app server and the engine,
// whose certificates this machine must trust.
#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>

#include "log.hpp"

namespace sidekick::host {

struct FreeTlsContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTlsContext>;

/// cert_file: PEM, the server's certificate first, then the intermediate ones. Throws UsageError.
TlsContext server_tls(const std::string& cert_file, const std::string& key_file, Log& log);

/// Trusts the authorities that this machine trusts.
TlsContext client_tls();
/// Trusts only these authorities, in PEM. Throws UsageError, which names the flag.
TlsContext client_tls(const std::string& flag, const std::string& ca_file);

}  // namespace sidekick::host
