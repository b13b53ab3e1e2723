#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/status.h"
#include "engine/tensor.h"
#include "serialize/container.h"
#include "serialize/tensorflow/tensor_bundle_index.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {

/// TensorFlow's tensor bundle (a V2 checkpoint, the variables of a SavedModel), open for reading, its files
/// checked: every tensor lies within its data file, none overlap, and the checksum of each is right. What no
/// tensor covers must be zeros, fewer than 4,096 in a row (TensorFlow can align tensors, and pads with
/// zeros), and nothing may follow the last one: so nothing that is damaged goes unnoticed, but for the
/// contents of types whose checksums nacre does not know (variants), which cannot be read either.
///
/// The files stay mapped. Thread-safe once made.
class TensorBundle {
 public:
  /// Opens PREFIX.index and the data files PREFIX.data-0000i-of-0000n. Errors are `FILE[:where]: reason`: kIo
  /// when there is no such index or the system refuses; kCorrupt for damage, a data file that is not there,
  /// and a file outside the folder (check_within_folder); kUnsupported, kLimit as parse_bundle_index.
  static Result<TensorBundle> open(const BundlePath& path);

  /// The same for bytes at hand; data files are named `shard 0`, ... in messages, the index is not.
  static Result<TensorBundle> parse(std::string_view index, std::vector<FileBytes> shards);

  [[nodiscard]] const std::map<std::string, BundleTensor, std::less<>>& tensors() const {
    return index_.tensors;
  }

  /// A float32 tensor, joined of its slices if it is partitioned. The name must be there. kUnsupported, not
  /// naming the file, for another type.
  [[nodiscard]] Result<Tensor> floats(std::string_view name) const;
  /// A scalar of int32 or int64.
  [[nodiscard]] Result<int64_t> integer(std::string_view name) const;
  /// A scalar of strings.
  [[nodiscard]] Result<std::string> text(std::string_view name) const;

 private:
  struct Shard {
    std::string name;  ///< for messages
    FileBytes file;
  };
  static Result<TensorBundle> check(BundleIndex index, std::vector<Shard> shards);
  [[nodiscard]] Status check_shard(size_t shard) const;
  [[nodiscard]] Status check_sums() const;
  [[nodiscard]] Status check_sum(BundleType type, const BundlePart& part) const;
  [[nodiscard]] std::string_view bytes_of(const BundlePart& part) const;
  [[nodiscard]] Result<std::string_view> scalar(std::string_view name, bool (*accepts)(BundleType),
                                                std::string_view expected) const;

  BundleIndex index_;
  std::vector<Shard> shards_;
};

}  // namespace nacre
