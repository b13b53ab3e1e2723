#pragma once

#include <vector>

#include "cli/classifier.h"
#include "engine/bundle.h"
#include "engine/status.h"

namespace nacre {

/// Generated pictures (a gradient, shapes, noise; PNG and JPEG; one of another size than the input unless the
/// contract says exact) with the answers of `classifier`. The same classifier gives the same bytes.
Result<std::vector<GoldenVector>> make_golden_vectors(Classifier& classifier);

}  // namespace nacre
