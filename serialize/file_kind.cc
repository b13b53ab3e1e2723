#include "serialize/file_kind.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "engine/file.h"
#include "serialize/container.h"

namespace nacre {
namespace {

struct Signature {
  std::string_view bytes;
  std::string_view phrase;
};

// "\0" in a literal would end it: these are made with their lengths.
using namespace std::string_view_literals;
constexpr std::array kSignatures{
    Signature{"\xff\xd8\xff"sv, "a JPEG image"},
    Signature{"\x89PNG\r\n\x1a\n"sv, "a PNG image"},
    Signature{"GIF8"sv, "a GIF image"},
    Signature{"BM"sv, "a BMP image"},
    Signature{"RIFF"sv, "a RIFF file"},
    Signature{"\x1f\x8b"sv, "a gzip file"},
    Signature{"PK\x03\x04"sv, "a zip file"},
    Signature{"\x89HDF\r\n\x1a\n"sv, "an HDF5 file"},
    Signature{"\x7f"
              "ELF"sv,
              "a program"},
    Signature{"%PDF"sv, "a PDF file"},
    Signature{"\0\0\x08"sv, "an IDX file"},
};

bool is_text(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 ? byte != 0x7f : byte == '\n' || byte == '\r' || byte == '\t';
  });
}

}  // namespace

FileKind kind_of(std::span<const std::byte> first_bytes) {
  const auto begins_with = [&](const ContainerFormat& format) {
    return first_bytes.size() >= format.magic.size() &&
           std::ranges::equal(first_bytes.first(format.magic.size()), std::as_bytes(std::span(format.magic)));
  };
  if (begins_with(kCheckpointFormat)) return FileKind::kCheckpoint;
  if (begins_with(kBundleFormat)) return FileKind::kBundle;
  return FileKind::kOther;
}

std::string describe_content(std::span<const std::byte> first_bytes) {
  if (first_bytes.empty()) return "an empty file";
  switch (kind_of(first_bytes)) {
    case FileKind::kCheckpoint:
      return "a nacre checkpoint";
    case FileKind::kBundle:
      return "a nacre bundle";
    case FileKind::kOther:
      break;
  }
  const auto head = first_bytes.first(std::min<size_t>(first_bytes.size(), 64));
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  for (const Signature& signature : kSignatures) {
    if (text.starts_with(signature.bytes)) return std::string(signature.phrase);
  }
  if (is_text(text)) {
    const size_t start = std::min(text.find_first_not_of(" \t\r\n"), text.size());
    if (text.substr(start).starts_with('<')) return "HTML or XML text";
    if (text.substr(start).starts_with('{')) return "JSON text";
    return "text";
  }
  return "of an unknown kind";
}

Result<FileKind> detect_kind(const std::string& path) {
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> head,
                         read_file_head(path, kCheckpointFormat.magic.size()));
  return kind_of(head);
}

}  // namespace nacre
