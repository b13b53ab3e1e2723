#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace nacre {

/// What went wrong. The value of an error is the exit code of the command line (docs/cli.md).
enum class StatusCode : int {
  kOk = 0,
  kUsage = 2,          ///< wrong option or argument
  kBadData = 3,        ///< an image, CSV line or IDX file is not what it should be
  kCorrupt = 4,        ///< a nacre file is damaged or hostile
  kIo = 5,             ///< the operating system refused to read or write
  kUnsupported = 6,    ///< well-formed, but of a kind or version that is not supported
  kLimit = 7,          ///< over a stated limit
  kDiverged = 8,       ///< a network produced a value that is not finite
  kInternal = 70,      ///< a bug of nacre's own
  kLocked = 75,        ///< another process holds the lock
  kInterrupted = 130,  ///< SIGINT, after a checkpoint
  kTerminated = 143,   ///< SIGTERM, after a checkpoint
};

/// Success, or a code and one line of text `FILE[:where]: reason`. Libraries return it; they never print or
/// exit.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  [[nodiscard]] bool ok() const { return code_ == StatusCode::kOk; }
  [[nodiscard]] StatusCode code() const { return code_; }
  [[nodiscard]] const std::string& message() const { return message_; }

  /// The same error with "`place`: " before its message; success stays success.
  [[nodiscard]] Status at(std::string_view place) const {
    return ok() ? *this : Status(code_, std::string(place) + ": " + message_);
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

/// A value, or the error that says why there is none: a Status, or another such class. `value()` may be
/// called only when `ok()`.
template <typename T, typename Error = Status>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}  // NOLINT(google-explicit-constructor): reads as `return x;`
  Result(Error status) : state_(std::move(status)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return std::holds_alternative<T>(state_); }
  [[nodiscard]] Error status() const { return ok() ? Error() : std::get<Error>(state_); }
  [[nodiscard]] T& value() & { return std::get<T>(state_); }
  [[nodiscard]] const T& value() const& { return std::get<T>(state_); }
  [[nodiscard]] T&& value() && { return std::get<T>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

#define NACRE_CONCAT_INNER(a, b) a##b
#define NACRE_CONCAT(a, b) NACRE_CONCAT_INNER(a, b)

/// Returns from the enclosing function when `expression` (a Status) is an error.
#define NACRE_RETURN_IF_ERROR(expression)                                                     \
  do {                                                                                        \
    if (::nacre::Status nacre_status = (expression); !nacre_status.ok()) return nacre_status; \
  } while (false)

/// `NACRE_ASSIGN_OR_RETURN(auto x, f())`: x is the value of the Result, or the enclosing function returns its
/// error.
#define NACRE_ASSIGN_OR_RETURN(declaration, expression) \
  NACRE_ASSIGN_OR_RETURN_INNER(NACRE_CONCAT(nacre_result_, __LINE__), declaration, expression)
#define NACRE_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                         \
  if (!result.ok()) return result.status();                           \
  declaration = std::move(result).value()

}  // namespace nacre
