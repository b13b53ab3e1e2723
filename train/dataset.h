#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/input_contract.h"
#include "engine/status.h"
#include "image/decode.h"
#include "image/peek.h"

namespace nacre {

/// Which half of an IDX folder: `train-*` or `t10k-*`.
enum class IdxSplit : uint8_t { kTrain, kTest };

class BadRows;
class Dataset;
struct ListedImage;

/// Two parts that together are a data set.
struct DatasetParts {
  std::shared_ptr<const Dataset> training;
  std::shared_ptr<const Dataset> validation;
};

/// Which sizes images have, by what their files declare.
struct SizeSurvey {
  int64_t looked_at = 0;  ///< images whose size was found; the rest says nothing when it is 0
  ImageSize smallest;     ///< by number of pixels
  ImageSize largest;
  bool keeps_ratio = true;  ///< all have the shape of the network's input
  bool of_files = false;    ///< JPEGs and PNGs, which may have colours
};

struct DatasetOptions {
  /// Folder that relative file names of a CSV start from; empty: the CSV's own folder.
  std::string image_root;
  /// Class names in the order of the outputs. Empty: taken from the data. Give the training set's names when
  /// reading a validation set: a label outside them is then an error.
  std::vector<std::string> labels;
  /// Up to this many bad CSV rows or bad files of a folder are left out and listed by skipped(); one more is
  /// an error. When it is not 0, every image is decoded once while opening, so that an image which does not
  /// decode counts as a bad row too.
  int64_t skip_bad = 0;
  /// The caller's name for skip_bad, such as "--skip-bad", for errors about bad files to suggest; empty: none
  /// does.
  std::string skip_option;
  /// Bytes of decoded images kept in memory.
  size_t cache_bytes = size_t{1} << 30;
  /// Threads that decode while opening with skip_bad.
  int threads = 1;
  ImageLimits limits;
};

/// A list of labelled images, in a fixed order. Immutable once opened and shared as const between threads:
/// every member function may be called by any thread at any time.
class Dataset {
 public:
  /// Opens a CSV list (train/csv.h). Every file must exist and be a regular file with something in it.
  /// Errors: kBadData `FILE:LINE: reason`, kIo when the CSV or a folder cannot be read.
  static Result<std::shared_ptr<const Dataset>> from_csv(const std::string& path,
                                                         const InputContract& contract,
                                                         const DatasetOptions& options = {});

  /// Opens a folder with one sub-folder per class (train/class_folders.h).
  static Result<std::shared_ptr<const Dataset>> from_folder(const std::string& folder,
                                                            const InputContract& contract,
                                                            const DatasetOptions& options = {});

  /// Opens one split of a folder of IDX files (train/idx.h), plain or gzip. Class names: options.labels, else
  /// the lines of `labels.txt` in the folder, else the numbers "0", "1", ... up to the largest label there
  /// is. Grey pictures serve a contract of 3 channels by repeating the channel; colour ones do not serve a
  /// grey contract (kBadData).
  static Result<std::shared_ptr<const Dataset>> from_idx(const std::string& folder, IdxSplit split,
                                                         const InputContract& contract,
                                                         const DatasetOptions& options = {});

  /// Pictures in memory: `pixels` is [N, height, width, channels] row-major, `classes` holds N numbers below
  /// `names.size()`. `what` starts the name of every picture in messages ("what[7]"). kBadData when sizes
  /// disagree.
  static Result<std::shared_ptr<const Dataset>> from_pixels(
      std::vector<uint8_t> pixels, int64_t height, int64_t width, int64_t channels,
      std::vector<int32_t> classes, std::vector<std::string> names, const InputContract& contract,
      const std::string& what = "pixels", const DatasetOptions& options = {});

  /// Splits a set by chance, but class by class: of each class `fraction` (0 to 1, rounded) goes to
  /// validation, and at least one image stays for training. Which images is a function of the order of the
  /// list, fraction and seed. The parts keep the order of the list and share the whole's cache. kBadData when
  /// nothing is left for validation.
  static Result<DatasetParts> split(const std::shared_ptr<const Dataset>& whole, double fraction,
                                    uint64_t seed);

  /// True when `folder` holds the images file of the split, plain or gzip.
  static bool has_idx(const std::string& folder, IdxSplit split);

  ~Dataset();
  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  /// Number of images, at least 1.
  [[nodiscard]] int64_t size() const;
  /// Class names in the order of the outputs; at least 1.
  [[nodiscard]] const std::vector<std::string>& labels() const;
  /// The class of image i, in [0, labels().size()).
  [[nodiscard]] int32_t label(int64_t i) const;
  /// How many images each class has.
  [[nodiscard]] std::vector<int64_t> class_counts() const;
  /// The name of image i for messages: its path, or `FILE[i]`.
  [[nodiscard]] std::string name(int64_t i) const;
  /// The contract it was opened with, with `labels` filled in.
  [[nodiscard]] const InputContract& contract() const;
  /// Bad ones that were left out, each `FILE[:LINE]: reason`, in the order of the list.
  [[nodiscard]] const std::vector<std::string>& skipped() const;
  /// 32 hexadecimal digits (XXH3, 128 bits) of what is listed: class names, and of files each one's name as
  /// the list has it, its label and its size; for pixels their shape, labels and bytes. Equal lists have
  /// equal digests wherever they lie.
  [[nodiscard]] const std::string& digest() const;

  /// Looks at up to `most` images, evenly spread, for the sizes that they declare (of a part: at those of the
  /// whole). Files that cannot be read are passed over.
  [[nodiscard]] SizeSurvey survey_sizes(int64_t most) const;

  /// Floats of one image: height * width * channels of the contract.
  [[nodiscard]] int64_t image_floats() const;

  /// Whether images come out of memory and need only be scaled: none is decoded or resized.
  [[nodiscard]] bool in_memory() const;

  /// Writes image i as network input [H, W, C] into `out`: decoded, scaled and resized as the contract says,
  /// not augmented. The same bits every time, whether cached or not. Errors `name: reason`: kBadData for an
  /// image that does not decode or that was deleted or changed after the list was opened, kIo when it cannot
  /// be read, kLimit when memory runs out.
  Status read(int64_t i, float* out) const;

 private:
  struct State;
  explicit Dataset(std::unique_ptr<State> state);
  static Result<std::shared_ptr<const Dataset>> finish(std::unique_ptr<State> state);
  static Result<std::shared_ptr<const Dataset>> finish_pictures(std::unique_ptr<State> state);
  static Result<std::shared_ptr<const Dataset>> finish_files(std::unique_ptr<State> state,
                                                             std::vector<ListedImage> images,
                                                             BadRows& bad_rows, const std::string& what);
  static Result<std::shared_ptr<const Dataset>> part(const std::shared_ptr<const Dataset>& whole,
                                                     std::vector<int64_t> members);

  std::unique_ptr<State> state_;
};

}  // namespace nacre
