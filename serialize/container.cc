#include "serialize/container.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "engine/file.h"
#include "engine/tensor.h"
#include "serialize/atomic_file.h"
#include "serialize/checksum.h"
#include "serialize/file_kind.h"

namespace nacre {
namespace {

constexpr std::array<char, 8> kFooterMagic{'\x89', 'N', 'C', 'E', 'N', 'D', '\r', '\n'};

// Where the header's fields lie.
constexpr size_t kMajorAt = 8;
constexpr size_t kMinorAt = 10;
constexpr size_t kReserved1At = 12;
constexpr size_t kFileSizeAt = 16;
constexpr size_t kMetadataSizeAt = 24;
constexpr size_t kBlobSizeAt = 32;
constexpr size_t kMetadataChecksumAt = 40;
constexpr size_t kReserved2At = 48;
constexpr size_t kHeaderChecksumAt = 56;

template <typename T>
void put(std::span<std::byte> bytes, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

template <typename T>
T get(std::span<const std::byte> bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(static_cast<T>(bytes[at + i]) << (8 * i)));
  }
  return value;
}

bool starts_with(std::span<const std::byte> bytes, const std::array<char, 8>& magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

Status corrupt(std::string reason) {
  return Status(StatusCode::kCorrupt, std::move(reason));
}

/// Checks all of the header that does not depend on the file's length.
Status check_header(const ContainerFormat& format, std::span<const std::byte> bytes) {
  if (bytes.empty()) return corrupt(fmt::format("is empty; expected a nacre {}", format.kind));
  if (!starts_with(bytes, format.magic)) {
    const size_t common = std::min(bytes.size(), format.magic.size());
    if (bytes.size() < format.magic.size() && std::memcmp(bytes.data(), format.magic.data(), common) == 0) {
      return corrupt(fmt::format("is cut off after {} bytes, within the header", bytes.size()));
    }
    return corrupt(fmt::format("is {}, not a nacre {}", describe_content(bytes), format.kind));
  }
  if (bytes.size() < kHeaderBytes) {
    return corrupt(fmt::format("is cut off after {} bytes, within the header", bytes.size()));
  }
  if (get<uint64_t>(bytes, kHeaderChecksumAt) != xxh3(bytes.first(kHeaderChecksumAt))) {
    return corrupt("is damaged: the header's checksum differs");
  }
  const auto major = get<uint16_t>(bytes, kMajorAt);
  const auto minor = get<uint16_t>(bytes, kMinorAt);
  if (major > format.major) {
    return Status(StatusCode::kUnsupported,
                  fmt::format("has version {}.{} of the {} format; this nacre reads up to version {}.{}",
                              major, minor, format.kind, format.major, format.minor));
  }
  if (major == 0) return corrupt("names version 0 of its format, which never was");
  if (get<uint32_t>(bytes, kReserved1At) != 0 || get<uint64_t>(bytes, kReserved2At) != 0) {
    return corrupt("has reserved bytes of the header that are not zero");
  }
  return {};
}

Status read_error(const std::string& path, std::string_view action, int error) {
  return Status(StatusCode::kIo,
                fmt::format("{}: cannot {}: {}", path, action, std::generic_category().message(error)));
}

Result<FileBytes> read_into_memory(const std::string& path) {
  struct Closer {
    int fd;
    ~Closer() { ::close(fd); }
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd == -1) return read_error(path, "open", errno);
  const Closer closer{fd};
  struct stat found {};
  if (::fstat(fd, &found) == -1) return read_error(path, "look at it", errno);
  if (!S_ISREG(found.st_mode)) return Status(StatusCode::kIo, path + ": is not a regular file");
  const auto size = static_cast<size_t>(found.st_size);
  if (size == 0) return FileBytes{};
  const std::shared_ptr<void> keep_alive = zeroed_memory(size);
  if (keep_alive == nullptr) {
    return Status(StatusCode::kIo, fmt::format("{}: no memory for its {} bytes", path, size));
  }
  auto* const memory = static_cast<std::byte*>(keep_alive.get());
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(fd, memory + done, size - done);
    if (count == -1 && errno == EINTR) continue;
    if (count == -1) return read_error(path, "read", errno);
    if (count == 0) return Status(StatusCode::kIo, path + ": became shorter while it was read");
    done += static_cast<size_t>(count);
  }
  return FileBytes{{memory, size}, keep_alive};
}

/// Hands bytes on, and to the digest of the whole.
class HashingWriter {
 public:
  explicit HashingWriter(const ByteSink& sink) : sink_(sink) {}
  Status write(std::span<const std::byte> bytes) {
    // In pieces that stay in the cache between the two.
    constexpr size_t kPiece = size_t{256} << 10;
    while (!bytes.empty()) {
      const auto piece = bytes.first(std::min(bytes.size(), kPiece));
      digest_.update(piece);
      NACRE_RETURN_IF_ERROR(sink_(piece));
      bytes = bytes.subspan(piece.size());
    }
    return {};
  }
  Status write_padded(std::span<const std::byte> bytes) {
    static constexpr std::array<std::byte, kAlignment> kZeros{};
    NACRE_RETURN_IF_ERROR(write(bytes));
    return write(std::span(kZeros).first(align_up(bytes.size()) - bytes.size()));
  }
  Sha256Digest digest() { return digest_.finish(); }

 private:
  const ByteSink& sink_;
  Sha256 digest_;
};

}  // namespace

Result<Container> parse_container(const ContainerFormat& format, std::span<const std::byte> bytes,
                                  LoadDepth depth) {
  NACRE_RETURN_IF_ERROR(check_header(format, bytes));
  const auto file_size = get<uint64_t>(bytes, kFileSizeAt);
  if (bytes.size() < file_size) {
    return corrupt(fmt::format("is cut off: {} of {} bytes are there", bytes.size(), file_size));
  }
  if (bytes.size() > file_size) {
    return corrupt(fmt::format("has {} bytes after its end", bytes.size() - file_size));
  }
  const auto metadata_size = get<uint64_t>(bytes, kMetadataSizeAt);
  const auto blob_size = get<uint64_t>(bytes, kBlobSizeAt);
  if (metadata_size > kMaxMetadataBytes) {
    return Status(StatusCode::kLimit,
                  fmt::format("has metadata of {} bytes; the limit is {}", metadata_size, kMaxMetadataBytes));
  }
  const size_t blobs_at = kHeaderBytes + align_up(metadata_size);
  // Subtractions on the side that cannot wrap: file_size is the length of bytes in memory.
  if (file_size < blobs_at + kFooterBytes || file_size - blobs_at - kFooterBytes != blob_size ||
      blob_size % kAlignment != 0) {
    return corrupt(
        fmt::format("has sizes that do not fit together: {} bytes of metadata and {} of tensors in {}",
                    metadata_size, blob_size, file_size));
  }
  const auto padded_metadata = bytes.subspan(kHeaderBytes, align_up(metadata_size));
  if (get<uint64_t>(bytes, kMetadataChecksumAt) != xxh3(padded_metadata)) {
    return corrupt("is damaged: the metadata's checksum differs");
  }
  if (!all_zero(padded_metadata.subspan(metadata_size))) {
    return corrupt("has padding after the metadata that is not zero");
  }
  const auto footer = bytes.last(kFooterBytes);
  if (!starts_with(footer, kFooterMagic)) return corrupt("is damaged: the footer does not begin as it must");
  if (depth == LoadDepth::kVerify) {
    Sha256 digest;
    digest.update(bytes.first(bytes.size() - sizeof(Sha256Digest)));
    if (!std::ranges::equal(digest.finish(), footer.subspan(kFooterMagic.size()))) {
      return corrupt("is damaged: the SHA-256 of the whole differs");
    }
  }
  return Container{bytes.subspan(kHeaderBytes, metadata_size), bytes.subspan(blobs_at, blob_size)};
}

Result<FileBytes> open_file(const std::string& path, bool use_mmap) {
  if (!use_mmap) return read_into_memory(path);
  NACRE_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  // All of it is read at once, for its checksums: one call in place of a fault for every few pages. Systems
  // that do not know it lose nothing but that.
  static_cast<void>(
      ::madvise(const_cast<std::byte*>(file->bytes().data()), file->bytes().size(), MADV_POPULATE_READ));
  return FileBytes{file->bytes(), std::const_pointer_cast<MappedFile>(file)};
}

Status stream_container(const ContainerFormat& format, std::span<const std::byte> metadata,
                        std::span<const std::span<const std::byte>> blobs, const ByteSink& sink) {
  uint64_t blob_size = 0;
  for (const auto& blob : blobs) blob_size += align_up(blob.size());
  std::array<std::byte, kHeaderBytes> header{};
  std::memcpy(header.data(), format.magic.data(), format.magic.size());
  put<uint16_t>(header, kMajorAt, format.major);
  put<uint16_t>(header, kMinorAt, format.minor);
  put<uint64_t>(header, kFileSizeAt, kHeaderBytes + align_up(metadata.size()) + blob_size + kFooterBytes);
  put<uint64_t>(header, kMetadataSizeAt, metadata.size());
  put<uint64_t>(header, kBlobSizeAt, blob_size);
  put<uint64_t>(header, kMetadataChecksumAt, padded_xxh3(metadata));
  put<uint64_t>(header, kHeaderChecksumAt, xxh3(std::span(header).first(kHeaderChecksumAt)));

  HashingWriter writer(sink);
  NACRE_RETURN_IF_ERROR(writer.write(header));
  NACRE_RETURN_IF_ERROR(writer.write_padded(metadata));
  for (const auto& blob : blobs) NACRE_RETURN_IF_ERROR(writer.write_padded(blob));
  NACRE_RETURN_IF_ERROR(writer.write(std::as_bytes(std::span(kFooterMagic))));
  const Sha256Digest digest = writer.digest();
  return sink(digest);
}

Status write_container(const std::string& path, const ContainerFormat& format,
                       std::span<const std::byte> metadata, std::span<const std::span<const std::byte>> blobs,
                       bool overwrite, FileSystem& file_system) {
  if (metadata.size() > kMaxMetadataBytes) {
    return Status(StatusCode::kLimit, fmt::format("{}: would have metadata of {} bytes; the limit is {}",
                                                  path, metadata.size(), kMaxMetadataBytes));
  }
  NACRE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path, overwrite, file_system));
  NACRE_RETURN_IF_ERROR(stream_container(
      format, metadata, blobs, [&file](std::span<const std::byte> bytes) { return file.write(bytes); }));
  return file.commit();
}

}  // namespace nacre
