#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/checkpoint.h"
#include "engine/status.h"
#include "serialize/file_system.h"
#include "serialize/tensorflow/tensor_names.h"
#include "serialize/tensorflow/within_folder.h"

namespace nacre {

struct TfWriteOptions {
  NameMap names;     ///< of variables, slots and global_step
  double beta1 = 0;  ///< of Adam; for beta1_power, when there are slots of Adam's
  double beta2 = 0;
  bool overwrite = false;
};

/// Writes a checkpoint as TensorFlow's V2 checkpoint PREFIX (tensor_bundle_writer.h), and then as the latest
/// one into the file `checkpoint` of its folder. Variables and slots keep every bit and are named as
/// TensorNames says; global_step and, with slots of Adam's, beta1_power and beta2_power are there for
/// tf.compat.v1.train; nacre/state holds the rest, so that read_tf_checkpoint gives all of it back.
///
/// Errors are `path: reason`: kBadData when names would meet, or come back as others; kLimit for more than
/// 2^63 - 1 steps; those of the writers, and of reading a file `checkpoint` that is there.
Status write_tf_checkpoint(const std::string& prefix, const Checkpoint& checkpoint,
                           const TfWriteOptions& options, FileSystem& file_system = real_file_system());

/// What nacre has a use for in a TensorFlow checkpoint.
struct TfCheckpoint {
  VariableStore variables;               ///< float32 tensors under nacre's names: variables and slots
  NameMap theirs;                        ///< their names in the file
  std::optional<uint64_t> step;          ///< global_step
  std::optional<Checkpoint> own;         ///< of nacre/state; without variables
  std::vector<std::string> passed_over;  ///< other tensors and why: "words (string)"
};

/// Reads a V2 checkpoint, all of it checked (tensor_bundle_reader.h); every name of `names` must be there.
/// Errors are `path: reason`: those of TensorBundle; kBadData for a name that is not there (listing what is)
/// or a step below 0, when two tensors would have one name, or nacre/state and global_step disagree.
Result<TfCheckpoint> read_tf_checkpoint(const BundlePath& path, const NameMap& names);

/// The TensorFlow checkpoint that `path` stands for: itself as its prefix, PREFIX.index, or a folder with a
/// file `checkpoint` (its latest), which is then the root. Nothing when it is none of these.
Result<std::optional<BundlePath>> find_tf_checkpoint(const std::string& path);

}  // namespace nacre
