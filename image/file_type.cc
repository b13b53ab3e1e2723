#include "image/file_type.h"

#include <algorithm>
#include <array>

namespace nacre {
namespace {

using namespace std::string_view_literals;

struct Signature {
  size_t offset;
  std::string_view magic;
  std::string_view name;
};

// Longer signatures come before those that are their beginning.
constexpr std::array kSignatures = {
    Signature{0, "GIF87a"sv, "a GIF"},
    Signature{0, "GIF89a"sv, "a GIF"},
    Signature{8, "WEBP"sv, "a WebP"},
    Signature{8, "AVI "sv, "an AVI video"},
    Signature{8, "WAVE"sv, "a WAVE sound"},
    Signature{0, "II*\0"sv, "a TIFF"},
    Signature{0, "MM\0*"sv, "a TIFF"},
    Signature{4, "ftypavif"sv, "an AVIF"},
    Signature{4, "ftyphei"sv, "a HEIC"},
    Signature{4, "ftypmif1"sv, "a HEIF"},
    Signature{4, "ftyp"sv, "an MP4 or QuickTime video"},
    Signature{0, "\xFF\x0A"sv, "a JPEG XL"},
    Signature{0, "\0\0\0\x0CJXL \r\n\x87\n"sv, "a JPEG XL"},
    Signature{0, "\0\0\0\x0CjP  \r\n\x87\n"sv, "a JPEG 2000"},
    Signature{0, "\xFF\x4F\xFF\x51"sv, "a JPEG 2000"},
    Signature{0, "\0\0\1\0"sv, "an ICO"},
    Signature{0, "\x8AMNG\r\n\x1A\n"sv, "an MNG"},
    Signature{0, "8BPS"sv, "a Photoshop file"},
    Signature{0, "%PDF-"sv, "a PDF"},
    Signature{0, "%!PS"sv, "a PostScript file"},
    Signature{0, "\x1F\x8B"sv, "a gzip file"},
    Signature{0, "PK\x03\x04"sv, "a ZIP file"},
    Signature{0, "PK\x05\x06"sv, "a ZIP file"},
    Signature{0, "BZh"sv, "a bzip2 file"},
    Signature{0,
              "\xFD"
              "7zXZ\0"sv,
              "an xz file"},
    Signature{0, "\x28\xB5\x2F\xFD"sv, "a Zstandard file"},
    Signature{0, "7z\xBC\xAF\x27\x1C"sv, "a 7z file"},
    Signature{0, "Rar!\x1A\x07"sv, "a RAR file"},
    Signature{257, "ustar"sv, "a tar file"},
    Signature{0,
              "\x7F"
              "ELF"sv,
              "an ELF program"},
    Signature{0, "BM"sv, "a BMP"},
};

constexpr std::array kMarkup = {
    Signature{0, "<!doctype html"sv, "an HTML page"},
    Signature{0, "<html"sv, "an HTML page"},
    Signature{0, "<head"sv, "an HTML page"},
    Signature{0, "<body"sv, "an HTML page"},
    Signature{0, "<svg"sv, "an SVG"},
    Signature{0, "<?xml"sv, "an XML file"},
};

char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool is_text(std::string_view head) {
  return std::all_of(head.begin(), head.end(), [](char c) {
    return (c >= 0x20 && c < 0x7F) || c == '\t' || c == '\r' || c == '\n' || c == '\f';
  });
}

std::string_view markup_name(std::string_view head) {
  if (head.starts_with("\xEF\xBB\xBF")) head.remove_prefix(3);
  head.remove_prefix(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  for (const Signature& tag : kMarkup) {
    if (head.size() < tag.magic.size()) continue;
    if (std::equal(tag.magic.begin(), tag.magic.end(), head.begin(),
                   [](char lower, char c) { return lower == to_lower(c); })) {
      return tag.name;
    }
  }
  return {};
}

}  // namespace

DetectedType detect_file_type(std::span<const std::byte> bytes) {
  constexpr size_t kHeadBytes = 512;
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min(bytes.size(), kHeadBytes));
  if (head.starts_with("\xFF\xD8\xFF"sv)) return {FileType::kJpeg, "a JPEG"};
  if (head.starts_with("\x89PNG"sv)) return {FileType::kPng, "a PNG"};
  for (const Signature& signature : kSignatures) {
    if (head.size() >= signature.offset && head.substr(signature.offset).starts_with(signature.magic)) {
      return {FileType::kOther, signature.name};
    }
  }
  if (const std::string_view name = markup_name(head); !name.empty()) return {FileType::kOther, name};
  if (!head.empty() && is_text(head)) return {FileType::kOther, "a text file"};
  return {};
}

}  // namespace nacre
