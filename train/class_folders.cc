#include "train/class_folders.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/file.h"
#include "image/peek.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFiles = size_t{1} << 24;

Status bad(const fs::path& path, const std::string& reason) {
  return Status(StatusCode::kBadData, reason).at(path.string());
}

/// What a desktop leaves in folders of photos.
bool is_hidden(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with('.') || name == "Thumbs.db" || name == "desktop.ini";
}

/// Success when the file begins like an image.
Status check_type(const std::string& path) {
  constexpr size_t kHead = 512;
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> head, read_file_head(path, kHead));
  return check_image_type(head).at(path);
}

/// What a folder holds: folders to look into, and all else.
struct Entries {
  std::vector<fs::path> folders;
  std::vector<fs::path> files;
};

Result<Entries> entries_of(const fs::path& folder) {
  Entries entries;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (is_hidden(entry->path())) continue;
    std::error_code none;
    const bool is_folder = fs::is_directory(entry->symlink_status(none));
    (is_folder ? entries.folders : entries.files).push_back(entry->path());
    if (entries.files.size() > kMaxFiles) {
      return Status(StatusCode::kLimit,
                    folder.string() + ": more than " + std::to_string(kMaxFiles) + " files");
    }
  }
  if (error) return Status(StatusCode::kIo, folder.string() + ": " + error.message());
  std::sort(entries.folders.begin(), entries.folders.end());
  std::sort(entries.files.begin(), entries.files.end());
  return entries;
}

class Lister {
 public:
  Lister(const std::string& folder, BadRows& bad_rows) : folder_(folder), bad_rows_(bad_rows) {}

  /// Adds all images below `top`.
  Status add_class(const fs::path& top, int32_t label) {
    std::vector<fs::path> files;
    std::vector<fs::path> pending{top};
    while (!pending.empty()) {
      const fs::path next = std::move(pending.back());
      pending.pop_back();
      NACRE_ASSIGN_OR_RETURN(Entries entries, entries_of(next));
      std::move(entries.folders.begin(), entries.folders.end(), std::back_inserter(pending));
      std::move(entries.files.begin(), entries.files.end(), std::back_inserter(files));
      if (files.size() + images.size() > kMaxFiles) {
        return {StatusCode::kLimit, folder_ + ": more than " + std::to_string(kMaxFiles) + " files"};
      }
    }
    std::sort(files.begin(), files.end());
    for (const fs::path& file : files) {
      ++line_;
      Result<ListedFile> listed = look_up_image(file);
      if (listed.ok()) {
        images.push_back({line_, "", file.lexically_relative(folder_).string(), label, std::move(*listed)});
      } else {
        NACRE_RETURN_IF_ERROR(bad_rows_.add(line_, listed.status()));
      }
    }
    return {};
  }

  /// An image beside the class folders is one that nobody would learn of.
  Status check_beside(const std::vector<fs::path>& files) {
    for (const fs::path& file : files) {
      std::error_code none;
      Status status;
      if (fs::is_directory(file, none)) {
        status = bad(file, "is a symbolic link to a folder, which is not followed");
      } else if (fs::is_regular_file(file, none) && check_type(file.string()).ok()) {
        status = bad(file, "is an image beside the class folders, expected in one of them");
      }
      if (!status.ok()) NACRE_RETURN_IF_ERROR(bad_rows_.add(++line_, status));
    }
    return {};
  }

  std::vector<ListedImage> images;

 private:
  Result<ListedFile> look_up_image(const fs::path& file) const {
    std::string path = file.string();
    if (!can_be_listed(file.lexically_relative(folder_).string())) {
      // A message is one line whatever the name is.
      std::replace_if(
          path.begin(), path.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
      return bad(path, "the name holds a control character (shown as ?), which no list can hold; rename it");
    }
    std::error_code none;
    if (fs::is_directory(path, none))
      return bad(path, "is a symbolic link to a folder, which is not followed");
    NACRE_ASSIGN_OR_RETURN(ListedFile listed, look_up(path, "is a symbolic link that leads nowhere"));
    NACRE_RETURN_IF_ERROR(check_type(path));
    return listed;
  }

  std::string folder_;
  BadRows& bad_rows_;
  int64_t line_ = 0;
};

}  // namespace

Result<std::vector<std::string>> class_folder_names(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code none;
    if (!is_hidden(entry->path()) && entry->is_directory(none)) {
      names.push_back(entry->path().filename().string());
    }
  }
  if (error) return Status(StatusCode::kIo, folder + ": " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

Result<ClassFolders> list_class_folders(const std::string& folder, const std::vector<std::string>& labels,
                                        BadRows& bad_rows) {
  NACRE_ASSIGN_OR_RETURN(const Entries entries, entries_of(folder));
  ClassFolders result;
  result.labels = labels;
  Lister lister(folder, bad_rows);
  NACRE_RETURN_IF_ERROR(lister.check_beside(entries.files));
  for (const fs::path& top : entries.folders) {
    const std::string name = top.filename().string();
    if (labels.empty()) {
      NACRE_RETURN_IF_ERROR(check_class_name(name).at(top.string()));
      result.labels.push_back(name);
      if (result.labels.size() > static_cast<size_t>(kMaxClasses)) {
        return Status(StatusCode::kLimit, folder + ": more than " + std::to_string(kMaxClasses) + " classes");
      }
    }
    const auto label = labels.empty() ? result.labels.end() - 1
                                      : std::find(result.labels.begin(), result.labels.end(), name);
    if (label == result.labels.end()) {
      return bad(top, "unknown class: not one of the " + std::to_string(labels.size()) + " classes given");
    }
    const size_t before = lister.images.size();
    NACRE_RETURN_IF_ERROR(lister.add_class(top, static_cast<int32_t>(label - result.labels.begin())));
    if (lister.images.size() == before && labels.empty()) {
      NACRE_RETURN_IF_ERROR(bad_rows.check());
      return bad(top, "holds no images, expected those of a class; remove the folder if it is none");
    }
  }
  NACRE_RETURN_IF_ERROR(bad_rows.check());
  result.images = std::move(lister.images);
  if (result.images.empty()) return bad(folder, "holds no images in folders of classes");
  return result;
}

}  // namespace nacre
