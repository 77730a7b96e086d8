#include "net/tls.hpp"

#include <openssl/err.h>

#include "errors.hpp"

namespace sidekick::host {

namespace {

std::string tls_error() {
  const unsigned long code = ERR_peek_error();
  if (ERR_GET_LIB(code) == ERR_LIB_SYS) return errno_text(ERR_GET_REASON(code));
  const char* text = ERR_reason_error_string(code);
  return text == nullptr ? "unknown error" : text;
}

TlsContext new_context(const SSL_METHOD* method) {
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(method));
  if (context == nullptr) throw StartError("TLS: " + tls_error());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  return context;
}

}  // namespace

TlsContext server_tls(const std::string& cert_file, const std::string& key_file) {
  TlsContext context = new_context(TLS_server_method());
  SSL_CTX_set_default_passwd_cb(
      // otherwise it would prompt on the terminal
      context.get(), [](char*, int, int, void*) { return 0; });
  if (SSL_CTX_use_certificate_chain_file(context.get(), cert_file.c_str()) != 1) {
    throw UsageError("--tls-cert " + cert_file +
                     ": expected PEM certificates, the server's first: " + tls_error());
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    throw UsageError(
        "--tls-key " + key_file +
        ": expected the certificate's private key in PEM without a passphrase: " + tls_error());
  }
  return context;
}

TlsContext client_tls() {
  TlsContext context = new_context(TLS_client_method());
  SSL_CTX_set_default_verify_paths(context.get());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

}  // namespace sidekick::host
