#pragma once

#include <xxhash.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace nacre {

/// XXH3 over numbers and length-prefixed strings, so that no two lists run together.
class DatasetDigest {
 public:
  DatasetDigest() : state_(XXH3_createState()) {
    if (state_ == nullptr) throw std::bad_alloc();
    XXH3_128bits_reset(state_.get());
  }
  void add_bytes(const void* data, size_t size) { XXH3_128bits_update(state_.get(), data, size); }
  void add(int64_t number) {
    std::array<uint8_t, 8> bytes{};
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<uint8_t>(static_cast<uint64_t>(number) >> 8 * i);
    add_bytes(bytes.data(), bytes.size());
  }
  void add(const std::string& text) {
    add(static_cast<int64_t>(text.size()));
    add_bytes(text.data(), text.size());
  }
  void add_all(const std::vector<std::string>& texts) {
    add(static_cast<int64_t>(texts.size()));
    for (const std::string& text : texts) add(text);
  }
  /// 32 hexadecimal digits.
  [[nodiscard]] std::string hex() const {
    static constexpr char kDigits[] = "0123456789abcdef";
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_.get()));
    std::string text;
    for (const unsigned char byte : canonical.digest) {
      text += kDigits[byte >> 4U];
      text += kDigits[byte & 15U];
    }
    return text;
  }

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> state_;
};

}  // namespace nacre
