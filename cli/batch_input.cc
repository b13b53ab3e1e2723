#include "cli/batch_input.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "layers/strict_json.h"
#include "serialize/checksum.h"

namespace nacre {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

}  // namespace

BatchInput::BatchInput(std::string path, FileStream file, uint64_t digest)
    : path_(std::move(path)), file_(std::move(file)), digest_(digest), buffer_(kBufferBytes) {}

Result<BatchInput> BatchInput::open(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(FileStream file, FileStream::open(path));
  std::vector<std::byte> buffer(kBufferBytes);
  Xxh3 digest;
  for (;;) {
    NACRE_ASSIGN_OR_RETURN(const size_t got, file.read(buffer));
    if (got == 0) break;
    digest.update(std::span(buffer).first(got));
  }
  NACRE_RETURN_IF_ERROR(file.rewind());
  return BatchInput(path, std::move(file), digest.finish());
}

/// Adds what the buffer has of a line; true when that was its end.
bool BatchInput::take_line(std::string& line) {
  const auto* const text = reinterpret_cast<const char*>(buffer_.data()) + begin_;
  const void* const feed = std::memchr(text, '\n', end_ - begin_);
  const size_t size = feed == nullptr ? end_ - begin_ : static_cast<const char*>(feed) - text;
  line.append(text, std::min(size, kMaxJsonBytes + 1 - line.size()));
  const size_t taken = size + (feed == nullptr ? 0 : 1);
  begin_ += taken;
  taken_ += taken;
  return feed != nullptr;
}

Result<std::optional<std::string>> BatchInput::next() {
  std::string line;
  for (bool more = true; more;) {
    while (!take_line(line)) {
      NACRE_ASSIGN_OR_RETURN(end_, file_.read(buffer_));
      begin_ = 0;
      more = end_ > 0;
      if (!more) break;
    }
    ++line_number_;
    if (line.find_first_not_of(" \t\r") != std::string::npos) return std::optional(std::move(line));
    line.clear();
  }
  return std::optional<std::string>();
}

double BatchInput::share() const {
  return file_.size() == 0 ? 1
                           : std::min(1.0, static_cast<double>(taken_) / static_cast<double>(file_.size()));
}

Status BatchInput::check_unchanged() const {
  if (!file_.changed()) return {};
  return {StatusCode::kBadData,
          path_ + ": changed while it was read; what was answered before is kept for when it is as it was"};
}

}  // namespace nacre
