#pragma once

#include <string>
#include <vector>

namespace nacre {

/// A request and what TensorFlow Serving's clients may expect of the reply.
struct RestCase {
  std::string name;
  std::string request;  ///< "METHOD TARGET"
  std::string body;     ///< $A, $B: base64 of pictures; $F: a 6x6x3 list of numbers; $X: base64 of no picture
  int status = 200;
  std::vector<std::string> parts;  ///< of the reply's body, which is empty when there are none
};

/// For the models `m` (version 1, also labelled "stable"; 3 classes) and `one` (1 class), which take pictures
/// of 6x6 pixels.
const std::vector<RestCase>& rest_cases();

}  // namespace nacre
