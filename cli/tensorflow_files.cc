#include "cli/tensorflow_files.h"

#include <filesystem>
#include <system_error>

#include "serialize/file_kind.h"
#include "serialize/tensorflow/saved_model_import.h"
#include "serialize/tensorflow/tf_checkpoint.h"
#include "train/csv.h"

namespace nacre {

BundlePath TensorflowFile::bundle() const {
  return saved_model ? BundlePath{path + "/variables/variables", path} : BundlePath{path, root};
}

Result<std::optional<TensorflowFile>> find_tensorflow_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(fs::path(path) / "saved_model.pb", error)) return std::optional(TensorflowFile{true, path});
  if (fs::is_regular_file(path, error)) {
    NACRE_ASSIGN_OR_RETURN(const FileKind kind, detect_kind(path));
    if (kind != FileKind::kOther) return std::optional<TensorflowFile>();
  }
  NACRE_ASSIGN_OR_RETURN(const std::optional<BundlePath> found, find_tf_checkpoint(path));
  if (!found.has_value()) return std::optional<TensorflowFile>();
  return std::optional(TensorflowFile{false, found->prefix, found->root});
}

Result<std::vector<std::string>> labels_of_saved_model(const std::string& folder) {
  NACRE_ASSIGN_OR_RETURN(const std::string text, read_labels_asset(folder));
  if (text.empty()) return std::vector<std::string>();
  return parse_labels(text, folder + "/assets/labels.txt");
}

}  // namespace nacre
