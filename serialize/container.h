#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/status.h"
#include "serialize/file_system.h"
#include "serialize/read_options.h"

namespace nacre {

/// The layout that checkpoints and bundles share (little-endian; docs/bundle-format.md draws it):
///
///   header    64 bytes: magic, version, sizes, checksums
///   metadata  a FlatBuffer, then zeros up to a multiple of 64
///   blobs     each a multiple of 64 bytes, the last ones zeros, one right after the other
///   footer    40 bytes: magic, SHA-256 of all before the digest
struct ContainerFormat {
  std::array<char, 8> magic;
  std::string_view kind;  ///< "checkpoint", for messages
  uint16_t major;         ///< what is written; older ones are read, newer ones refused
  uint16_t minor;         ///< what is written; newer ones are read (they only add)
};

// As with PNG's, the first byte keeps the file from being taken for text, and the line ends show a transfer
// that converted them.
inline constexpr ContainerFormat kCheckpointFormat{
    {'\x89', 'N', 'C', 'K', '\r', '\n', '\x1a', '\n'}, "checkpoint", 1, 1};
inline constexpr ContainerFormat kBundleFormat{
    {'\x89', 'N', 'C', 'B', '\r', '\n', '\x1a', '\n'}, "bundle", 1, 0};

inline constexpr size_t kHeaderBytes = 64;
inline constexpr size_t kFooterBytes = 40;
/// Limit of a file's metadata.
inline constexpr size_t kMaxMetadataBytes = size_t{64} << 20;

/// Parts of a file whose layout, checksums of header and metadata and (at kVerify) digest have been checked;
/// the blobs' checksums lie in the metadata and are for its reader to check.
struct Container {
  std::span<const std::byte> metadata;  ///< without padding, 64-byte aligned
  std::span<const std::byte> blobs;     ///< 64-byte aligned
};

/// Takes a file's bytes (64-byte aligned) apart. Errors, without the file's name: kCorrupt, kUnsupported
/// (newer major version), kLimit (metadata too large).
Result<Container> parse_container(const ContainerFormat& format, std::span<const std::byte> bytes,
                                  LoadDepth depth);

/// A file's bytes, 64-byte aligned, and what keeps them alive.
struct FileBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<void> keep_alive;
};

/// Maps the file or reads it into memory. Errors are `path: reason`, kIo.
Result<FileBytes> open_file(const std::string& path, bool use_mmap);

/// Takes bytes that follow those of the calls before.
using ByteSink = std::function<Status(std::span<const std::byte>)>;

/// Gives the bytes of a file, in order, to `sink`: `metadata` (at most kMaxMetadataBytes), then `blobs`, each
/// padded with zeros. An error is the sink's.
Status stream_container(const ContainerFormat& format, std::span<const std::byte> metadata,
                        std::span<const std::span<const std::byte>> blobs, const ByteSink& sink);

/// Writes such a file atomically: `metadata` (at most kMaxMetadataBytes), then `blobs`, each padded with
/// zeros.
Status write_container(const std::string& path, const ContainerFormat& format,
                       std::span<const std::byte> metadata, std::span<const std::span<const std::byte>> blobs,
                       bool overwrite, FileSystem& file_system);

}  // namespace nacre
