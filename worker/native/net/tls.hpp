// TLS contexts: for clients (with the operator's certificate), and for the app server (which must
// have one that this machine trusts).
#pragma once

#include <memory>
#include <string>

#include <openssl/ssl.h>

namespace sidekick::host {

struct FreeTlsContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using TlsContext = std::unique_ptr<SSL_CTX, FreeTlsContext>;

/// cert_file: PEM, the server's certificate first, then those between it and the root. Throws
/// UsageError.
TlsContext server_tls(const std::string& cert_file, const std::string& key_file);

TlsContext client_tls();

}  // namespace sidekick::host
