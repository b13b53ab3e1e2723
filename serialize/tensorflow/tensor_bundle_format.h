#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace nacre {

// What writer and reader of tensor bundles share: names of files, and limits.

/// The largest index, in bytes.
inline constexpr size_t kMaxBundleIndexBytes = size_t{64} << 20;
/// The longest name of a tensor, in bytes.
inline constexpr size_t kMaxTensorNameBytes = 1024;
/// The most data files of one bundle.
inline constexpr int kMaxBundleShards = 10000;
/// The longest string tensor that nacre writes or reads, in bytes.
inline constexpr size_t kMaxBundleTextBytes = size_t{64} << 20;
/// The version of the format that nacre writes and reads (TensorFlow's kTensorBundleVersion).
inline constexpr int kTensorBundleVersion = 1;

/// "PREFIX.index"
std::string bundle_index_path(const std::string& prefix);
/// "PREFIX.data-00000-of-00001"
std::string bundle_shard_path(const std::string& prefix, int shard, int num_shards);

}  // namespace nacre
