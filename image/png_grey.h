#pragma once

#include <cstdint>
#include <span>

namespace nacre {

// The grey of a PNG's colours, bit for bit as libpng 1.6 makes it where TensorFlow asks for one channel
// (png_set_rgb_to_gray with the weights 0.299 and 0.587, png_set_strip_16): weights of 15 bits; samples that
// a significant `gamma` encoded (PngColour) are weighed as light and encoded again. `rgb` holds three samples
// a pixel, and `grey` is as long as there are pixels.

/// Of 8-bit samples; palettes are such whatever the depth of their indices. `grey` may begin where `rgb`
/// does.
void grey_of_rgb(std::span<const uint8_t> rgb, int64_t gamma, uint8_t* grey);

/// Of 16-bit samples; only so many bits of them as `significant_bits` says (0: not known) and as a table of
/// 2,048 entries takes are looked at where there is a gamma.
void grey_of_rgb(std::span<const uint16_t> rgb, int64_t gamma, int significant_bits, uint8_t* grey);

}  // namespace nacre
