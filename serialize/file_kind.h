#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "engine/status.h"

namespace nacre {

enum class FileKind { kCheckpoint, kBundle, kOther };

/// What `path` is by its first bytes, never by its extension. Errors are `path: reason` with kIo: not there,
/// not readable, not a regular file.
Result<FileKind> detect_kind(const std::string& path);

/// The same for bytes at hand (the first 8 suffice).
FileKind kind_of(std::span<const std::byte> first_bytes);

/// What a file that begins so seems to be, as a phrase for messages: "a JPEG image", "a nacre checkpoint",
/// "text", "of an unknown kind".
std::string describe_content(std::span<const std::byte> first_bytes);

}  // namespace nacre
