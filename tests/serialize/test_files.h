#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bundle.h"
#include "engine/checkpoint.h"
#include "serialize/container.h"

namespace nacre {

/// A folder that goes with the object.
class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  /// Names of all that lies in it, sorted.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  std::string path_;
};

std::vector<std::byte> bytes_of(std::string_view text);
std::vector<std::byte> read_bytes(const std::string& path);
std::string read_text(const std::string& path);
void write_bytes(const std::string& path, std::span<const std::byte> bytes);
void write_text(const std::string& path, std::string_view text);

/// `bytes`, copied to memory that is aligned as the parsers want it.
FileBytes aligned(std::span<const std::byte> bytes);

/// A file with right checksums around whatever metadata and blobs.
std::vector<std::byte> make_container(const ContainerFormat& format, std::span<const std::byte> metadata,
                                      const std::vector<std::vector<std::byte>>& blobs = {});
/// Makes the checksum of a changed header right again.
void repair_header(std::vector<std::byte>& file);

Tensor make_tensor(const Shape& shape, const std::vector<float>& values);

/// Small, with a value of every kind. The fixtures of format version 1 hold exactly these: do not change
/// them.
Checkpoint sample_checkpoint();
Bundle sample_bundle();

/// Equal to the bit.
bool same_bits(const VariableStore& a, const VariableStore& b);
void expect_equal(const Checkpoint& a, const Checkpoint& b);
void expect_equal(const Bundle& a, const Bundle& b);

}  // namespace nacre
