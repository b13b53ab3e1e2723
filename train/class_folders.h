#pragma once

#include <string>
#include <vector>

#include "engine/status.h"
#include "train/csv.h"
#include "train/listed_file.h"

namespace nacre {

struct ClassFolders {
  std::vector<std::string> labels;  ///< class names, by number
  std::vector<ListedImage> images;  ///< by class and name
};

/// The names of the folders in `folder` that are not hidden, links to folders among them, in order of their
/// bytes. kIo when it cannot be read.
Result<std::vector<std::string>> class_folder_names(const std::string& folder);

/// Lists a folder that has a sub-folder for each class: the names of the sub-folders in order of their bytes
/// are the classes, or, with `labels` given, each must be one of these. All files below a sub-folder are its
/// images, however deep (as Keras's image_dataset_from_directory has it); each must begin like a JPEG or PNG.
/// What is hidden (its name starts with a dot) is passed over. Symbolic links to folders are not followed but
/// errors; those to files are read. Files beside the sub-folders are passed over unless they are images.
/// Errors are kBadData `path: reason`, those of single files go to `bad_rows`; kIo when a folder cannot be
/// read; kLimit for more than 2^24 files.
Result<ClassFolders> list_class_folders(const std::string& folder, const std::vector<std::string>& labels,
                                        BadRows& bad_rows);

}  // namespace nacre
