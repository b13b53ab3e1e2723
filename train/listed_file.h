#pragma once

#include <cstdint>
#include <string>

#include "engine/status.h"

namespace nacre {

/// A file as the file system showed it.
struct ListedFile {
  std::string path;
  int64_t size = 0;
  int64_t modified_seconds = 0;
  int64_t modified_nanoseconds = 0;

  [[nodiscard]] bool operator==(const ListedFile&) const = default;
};

/// What the file system says of the file now: a regular file with something in it. Errors are kBadData `path:
/// reason`, where `gone` words the case that it is not there; kIo when the file system refuses.
Result<ListedFile> look_up(const std::string& path, const char* gone);

/// An image of a list.
struct ListedImage {
  int64_t line = 0;   ///< its place in the list: of a CSV the line, from 1
  std::string where;  ///< begins messages about it, before the file's path: "list.csv:12"; may be empty
  std::string name;   ///< as the list writes it: independent of where the list lies
  int32_t label = 0;
  ListedFile file;
};

}  // namespace nacre
