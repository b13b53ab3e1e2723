#pragma once

#include <string>
#include <vector>

namespace nacre {

/// Takes a file of TFRecords apart by their definition, not by the writer's code. The test fails when it
/// finds anything wrong.
std::vector<std::string> records_of(const std::string& bytes);

}  // namespace nacre
