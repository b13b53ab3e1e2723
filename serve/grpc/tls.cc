#include "serve/grpc/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <utility>

namespace nacre {
namespace {

using OwnedBio = std::unique_ptr<BIO, int (*)(BIO*)>;
using OwnedKey = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
using OwnedCertificate = std::unique_ptr<X509, void (*)(X509*)>;

/// Most that OpenSSL is given at once.
constexpr size_t kMostBytes = std::numeric_limits<int>::max();
/// A record of TLS holds no more.
constexpr size_t kRecordBytes = size_t{16} << 10;

OwnedBio reader_of(std::string_view text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(std::min(text.size(), kMostBytes))), BIO_free};
}

/// No key is encrypted: nobody is here to be asked for a password.
int no_password(char* /*out*/, int /*room*/, int /*writes*/, void* /*user*/) {
  return 0;
}

OwnedCertificate next_certificate(BIO* bio) {
  return {PEM_read_bio_X509(bio, nullptr, no_password, nullptr), X509_free};
}

/// That no certificate was found is because there are no more, not because the next is damaged.
bool is_at_end() {
  return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

/// The server's certificate, and those that lead to its authority.
bool use_certificates(SSL_CTX* context, std::string_view text) {
  const OwnedBio bio = reader_of(text);
  const OwnedCertificate first = next_certificate(bio.get());
  if (first == nullptr || SSL_CTX_use_certificate(context, first.get()) != 1) return false;
  while (const OwnedCertificate more = next_certificate(bio.get()))
    if (SSL_CTX_add1_chain_cert(context, more.get()) != 1) return false;
  return is_at_end();
}

bool use_key(SSL_CTX* context, std::string_view text) {
  const OwnedBio bio = reader_of(text);
  const OwnedKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_password, nullptr), EVP_PKEY_free);
  return key != nullptr && SSL_CTX_use_PrivateKey(context, key.get()) == 1 &&
         SSL_CTX_check_private_key(context) == 1;
}

/// Whose certificates clients must show.
bool use_authorities(SSL_CTX* context, std::string_view text) {
  const OwnedBio bio = reader_of(text);
  size_t count = 0;
  while (const OwnedCertificate authority = next_certificate(bio.get())) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1)
      return false;
    ++count;
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  return count > 0 && is_at_end();
}

/// HTTP/2, which a client must offer.
int choose_protocol(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* chosen_size,
                    const unsigned char* offered, unsigned int offered_size, void* /*user*/) {
  constexpr std::string_view kHttp2 = "h2";
  for (unsigned int at = 0; at < offered_size; at += offered[at] + 1U) {
    const unsigned int size = std::min<unsigned int>(offered[at], offered_size - at - 1);
    const std::string_view name(reinterpret_cast<const char*>(offered + at + 1), size);
    if (name != kHttp2) continue;
    *chosen = offered + at + 1;
    *chosen_size = static_cast<unsigned char>(size);
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

bool has_protocol(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return size > 0;
}

}  // namespace

Result<TlsContext> TlsContext::make(const SslOptions& options) {
  Owned context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (context == nullptr) return Status(StatusCode::kInternal, "OpenSSL does not start");
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  // Of TLS 1.2 what HTTP/2 allows (RFC 9113, 9.2.2); 1.3 has nothing else.
  SSL_CTX_set_cipher_list(raw, "ECDHE+AESGCM:ECDHE+CHACHA20");
  // Connections live for long: resuming sessions would spare little, and remember who was trusted.
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_alpn_select_cb(raw, choose_protocol, nullptr);
  bool good = use_certificates(raw, options.certificate) && use_key(raw, options.key);
  if (good && options.client_verify) good = use_authorities(raw, options.ca);
  ERR_clear_error();
  if (!good) return Status(StatusCode::kBadData, "the keys are no PEM texts");
  return TlsContext(std::move(context));
}

TlsSession::TlsSession(const TlsContext& context) : ssl_(SSL_new(context.get()), SSL_free) {
  OwnedBio in(BIO_new(BIO_s_mem()), BIO_free);
  OwnedBio out(BIO_new(BIO_s_mem()), BIO_free);
  if (ssl_ == nullptr || in == nullptr || out == nullptr) throw std::bad_alloc();
  in_ = in.get();
  out_ = out.get();
  SSL_set_bio(ssl_.get(), in.release(), out.release());
  SSL_set_accept_state(ssl_.get());
}

bool TlsSession::receive(std::string_view bytes, std::string& plain, std::string& out) {
  ERR_clear_error();
  if (bytes.size() > kMostBytes || BIO_write(in_, bytes.data(), static_cast<int>(bytes.size())) < 0)
    return false;
  const bool good = read(plain);
  take_output(out);
  return good;
}

bool TlsSession::read(std::string& plain) {
  if (!established_) {
    const int result = SSL_do_handshake(ssl_.get());
    if (result != 1) return SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ;
    if (!has_protocol(ssl_.get())) return false;
    established_ = true;
  }
  std::array<char, kRecordBytes> record;  // NOLINT: is written before it is read
  while (true) {
    const int count = SSL_read(ssl_.get(), record.data(), static_cast<int>(record.size()));
    if (count <= 0) return SSL_get_error(ssl_.get(), count) == SSL_ERROR_WANT_READ;
    plain.append(record.data(), static_cast<size_t>(count));
  }
}

bool TlsSession::send(std::string_view plain, std::string& out) {
  ERR_clear_error();
  while (!plain.empty()) {
    const size_t part = std::min(plain.size(), kMostBytes);
    const int count = SSL_write(ssl_.get(), plain.data(), static_cast<int>(part));
    if (count <= 0) return false;
    plain.remove_prefix(static_cast<size_t>(count));
  }
  take_output(out);
  return true;
}

void TlsSession::take_output(std::string& out) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out_, &bytes);
  if (size > 0) out.append(bytes, static_cast<size_t>(size));
  BIO_reset(out_);
}

}  // namespace nacre
