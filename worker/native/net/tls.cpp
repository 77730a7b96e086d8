#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "errors.hpp"
#include "store/file.hpp"
#include "store/private_file.hpp"

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

/// Returns whether it is a key without a passphrase, and the certificate's.
bool use_key(SSL_CTX& context, std::string_view pem) {
  BIO* const bytes = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  const auto no_passphrase = [](char*, int, int, void*) { return 0; };  // instead of a prompt
  EVP_PKEY* const key = PEM_read_bio_PrivateKey(bytes, nullptr, no_passphrase, nullptr);
  const bool is_used = key != nullptr && SSL_CTX_use_PrivateKey(&context, key) == 1;
  EVP_PKEY_free(key);
  BIO_free(bytes);
  return is_used;
}

}  // namespace

TlsContext server_tls(const std::string& cert_file, const std::string& key_file, Log& log) {
  TlsContext context = new_context(TLS_server_method());
  if (SSL_CTX_use_certificate_chain_file(context.get(), cert_file.c_str()) != 1) {
    throw UsageError("--tls-cert " + cert_file +
                     ": expected PEM certificates, the server's first: " + tls_error());
  }
  const File key = read_file(key_file);
  if (key.error != 0 || !use_key(*context, key.bytes)) {
    throw UsageError("--tls-key " + key_file +
                     ": expected the certificate's private key in PEM without a passphrase: " +
                     (key.error != 0 ? errno_text(key.error) : tls_error()));
  }
  warn_if_public(key.status, "the private key", key_file, log);
  return context;
}

TlsContext client_tls() {
  TlsContext context = new_context(TLS_client_method());
  SSL_CTX_set_default_verify_paths(context.get());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

TlsContext client_tls(const std::string& flag, const std::string& ca_file) {
  TlsContext context = new_context(TLS_client_method());
  if (SSL_CTX_load_verify_file(context.get(), ca_file.c_str()) != 1)
    throw UsageError(flag + " " + ca_file + ": expected PEM certificates: " + tls_error());
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  return context;
}

}  // namespace sidekick::host
