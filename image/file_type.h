#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace nacre {

/// What the first bytes of a file say it is.
enum class FileType { kJpeg, kPng, kOther };

/// A file's type and its name with an article for messages ("a GIF"); the name of bytes that nothing is known
/// of is empty.
struct DetectedType {
  FileType type = FileType::kOther;
  std::string_view name;
};

/// Tells a file's type by its first bytes. A PNG whose signature was damaged by a text-mode transfer counts
/// as a PNG.
DetectedType detect_file_type(std::span<const std::byte> bytes);

}  // namespace nacre
