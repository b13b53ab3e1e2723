#include "train/listed_file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>

namespace nacre {

Result<ListedFile> look_up(const std::string& path, const char* gone) {
  const auto bad = [&](const char* reason) { return Status(StatusCode::kBadData, reason).at(path); };
  struct stat info {};
  if (stat(path.c_str(), &info) != 0) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG || error == ELOOP) return bad(gone);
    return Status(StatusCode::kIo, path + ": " + std::strerror(error));
  }
  if (S_ISDIR(info.st_mode)) return bad("is a folder, expected an image file");
  if (!S_ISREG(info.st_mode)) return bad("is not a regular file");
  if (info.st_size == 0) return bad("is empty");
  return ListedFile{path, info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
}

}  // namespace nacre
