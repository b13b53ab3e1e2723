#pragma once

namespace nacre {

/// How much of a file is checked before it is used. Both depths check structure, limits and the checksums of
/// header, metadata and every tensor, which cover every byte but those of the digest; kVerify also computes
/// the SHA-256 of the whole.
enum class LoadDepth { kLoad, kVerify };

struct ReadOptions {
  LoadDepth depth = LoadDepth::kLoad;
  /// True: tensors refer to the mapped file, in place. The file may be replaced (by rename) meanwhile, but a
  /// process dies of SIGBUS when someone truncates it in place. False: the file is read into memory first, as
  /// a server should do.
  bool use_mmap = true;
  /// Accept NaN and infinity among a bundle's weights, which are refused otherwise (kDiverged). Checkpoints
  /// are never refused for them.
  bool allow_nonfinite = false;
};

}  // namespace nacre
