#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <string_view>

#include "engine/status.h"

namespace nacre {

/// Keys for encrypted connections: text of PEM files.
struct SslOptions {
  std::string key;
  std::string certificate;
  std::string ca;              ///< of clients' certificates; empty: none is asked for
  bool client_verify = false;  ///< a client must show a certificate of `ca`'s
};

/// What encrypted connections of a server share. TLS 1.2 and later, HTTP/2 alone (ALPN). Thread-safe.
class TlsContext {
 public:
  /// kBadData `the keys are no PEM texts`, also for a key that is not the certificate's.
  static Result<TlsContext> make(const SslOptions& options);

  [[nodiscard]] SSL_CTX* get() const { return context_.get(); }

 private:
  using Owned = std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)>;
  explicit TlsContext(Owned context) : context_(std::move(context)) {}

  Owned context_;
};

/// The server's end of an encrypted connection. Knows no socket.
class TlsSession {
 public:
  /// Throws std::bad_alloc when there is no memory for it.
  explicit TlsSession(const TlsContext& context);

  /// Takes in what the client has sent: adds what it says to `plain`, and what it must be sent to `out`.
  /// False when the connection is over: the client has ended it, or broken the protocol, or is refused;
  /// `out` may say why.
  [[nodiscard]] bool receive(std::string_view bytes, std::string& plain, std::string& out);
  /// Encrypts `plain` behind `out`; once it is established. False as above.
  [[nodiscard]] bool send(std::string_view plain, std::string& out);
  [[nodiscard]] bool is_established() const { return established_; }

 private:
  bool read(std::string& plain);
  void take_output(std::string& out);

  std::unique_ptr<SSL, void (*)(SSL*)> ssl_;
  BIO* in_ = nullptr;  ///< belongs to ssl_, as does the next
  BIO* out_ = nullptr;
  bool established_ = false;
};

}  // namespace nacre
