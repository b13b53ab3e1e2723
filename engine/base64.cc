#include "engine/base64.h"

#include <array>
#include <cstdint>

namespace nacre {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kPadding = 64;
constexpr uint8_t kBlank = 65;
constexpr uint8_t kOther = 66;

constexpr std::array<uint8_t, 256> make_values() {
  std::array<uint8_t, 256> values{};
  values.fill(kOther);
  for (size_t i = 0; i < kAlphabet.size(); ++i)
    values[static_cast<uint8_t>(kAlphabet[i])] = static_cast<uint8_t>(i);
  values['='] = kPadding;
  for (const char c : std::string_view(" \t\r\n")) values[static_cast<uint8_t>(c)] = kBlank;
  return values;
}

constexpr std::array<uint8_t, 256> kValues = make_values();

/// The value of a character as the digit `place` (0 is the first) of a group's 24 bits; kNoDigit for others.
constexpr uint32_t kNoDigit = uint32_t{1} << 24;

constexpr std::array<std::array<uint32_t, 256>, 4> make_digits() {
  std::array<std::array<uint32_t, 256>, 4> digits{};
  for (size_t place = 0; place < digits.size(); ++place) {
    for (size_t c = 0; c < kValues.size(); ++c)
      digits[place][c] = kValues[c] < kPadding ? uint32_t{kValues[c]} << (18 - 6 * place) : kNoDigit;
  }
  return digits;
}

constexpr std::array<std::array<uint32_t, 256>, 4> kDigits = make_digits();

Status bad(std::string reason) {
  return {StatusCode::kBadData, "base64: " + std::move(reason)};
}

}  // namespace

Result<std::vector<std::byte>> decode_base64(std::string_view text) {
  std::vector<std::byte> bytes(text.size() / 4 * 3 + 3);
  std::byte* out = bytes.data();
  uint32_t group = 0;
  int digits = 0;   // of the group
  int padding = 0;  // characters
  const auto value_at = [&](size_t i) { return kValues[static_cast<uint8_t>(text[i])]; };
  for (size_t i = 0; i < text.size(); ++i) {
    // Whole groups without blanks are what there is nearly always.
    while (digits == 0 && padding == 0 && i + 4 <= text.size()) {
      uint32_t bits = 0;
      for (size_t place = 0; place < 4; ++place)
        bits |= kDigits[place][static_cast<uint8_t>(text[i + place])];
      if (bits >= kNoDigit) break;
      *out++ = static_cast<std::byte>(bits >> 16);
      *out++ = static_cast<std::byte>(bits >> 8);
      *out++ = static_cast<std::byte>(bits);
      i += 4;
    }
    if (i == text.size()) break;
    const uint8_t value = value_at(i);
    if (value == kBlank) continue;
    if (value == kPadding && digits >= 2 && digits + padding < 4) {
      ++padding;
      continue;
    }
    if (value >= kPadding || padding > 0) return bad("unexpected character at position " + std::to_string(i));
    group = group << 6 | value;
    if (++digits < 4) continue;
    for (int shift = 16; shift >= 0; shift -= 8) *out++ = static_cast<std::byte>(group >> shift);
    group = 0;
    digits = 0;
  }
  if (digits == 1) return bad("the last character stands alone");
  if (padding > 0 && digits + padding != 4) return bad("too little padding");
  if (digits > 0) {
    const int spare = digits * 6 % 8;
    if ((group & ((1U << spare) - 1)) != 0) return bad("bits are left over at the end");
    group >>= spare;
    if (digits == 3) *out++ = static_cast<std::byte>(group >> 8);
    *out++ = static_cast<std::byte>(group);
  }
  bytes.resize(static_cast<size_t>(out - bytes.data()));
  return bytes;
}

std::string encode_base64(std::span<const std::byte> bytes) {
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k)
      group = group << 8 | (i + k < bytes.size() ? std::to_integer<uint32_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k)
      text += i + k <= bytes.size() ? kAlphabet[group >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

}  // namespace nacre
