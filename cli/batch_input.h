#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/file_stream.h"
#include "engine/status.h"

namespace nacre {

/// The lines of a batch's input, read as they are needed: the file may be larger than memory, and may change.
/// Errors name the file.
class BatchInput {
 public:
  /// Reads the file once, for its digest.
  static Result<BatchInput> open(const std::string& path);

  [[nodiscard]] uint64_t digest() const { return digest_; }  ///< of all its bytes
  /// The next line without its line feed; those of blanks alone are left out, nothing at the end. Of a line
  /// of more than kMaxJsonBytes the first kMaxJsonBytes + 1: what parses it says that it is too long.
  Result<std::optional<std::string>> next();
  /// Of the line that next() gave, from 1.
  [[nodiscard]] int64_t line_number() const { return line_number_; }
  /// How much of the file the lines so far are.
  [[nodiscard]] double share() const;
  /// kBadData once the file is not what the digest is of.
  [[nodiscard]] Status check_unchanged() const;

 private:
  BatchInput(std::string path, FileStream file, uint64_t digest);
  bool take_line(std::string& line);

  std::string path_;
  FileStream file_;
  uint64_t digest_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0;  ///< of what has been read and not taken
  size_t end_ = 0;
  size_t taken_ = 0;  ///< bytes in all
  int64_t line_number_ = 0;
};

}  // namespace nacre
