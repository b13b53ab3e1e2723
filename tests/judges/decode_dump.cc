// Writes the pixels that nacre decodes from image files, for judges of other frameworks:
//
//   decode_dump accurate|fast CHANNELS FILE...
//
// For each file a line `HEIGHT WIDTH CHANNELS`, then as many bytes. Stops at the first file that is refused.

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "image/decode.h"

int main(int count, char** values) {
  const std::vector<std::string> arguments(values + 1, values + count);
  if (arguments.size() < 3 || (arguments[0] != "accurate" && arguments[0] != "fast")) {
    std::fprintf(stderr, "usage: decode_dump accurate|fast CHANNELS FILE...\n");
    return 2;
  }
  nacre::InputContract contract;
  contract.jpeg_dct = arguments[0] == "fast" ? nacre::JpegDct::kFast : nacre::JpegDct::kAccurate;
  contract.channels = std::atoi(arguments[1].c_str());
  for (const std::string& path : std::span(arguments).subspan(2)) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    const auto image = nacre::decode_image(std::as_bytes(std::span(bytes)), contract);
    if (!image.ok()) {
      std::fprintf(stderr, "decode_dump: %s: %s\n", path.c_str(), image.status().message().c_str());
      return 3;
    }
    std::printf("%ld %ld %ld\n", image->height, image->width, image->channels);
    std::fwrite(image->pixels.data(), 1, image->pixels.size(), stdout);
  }
  return 0;
}
