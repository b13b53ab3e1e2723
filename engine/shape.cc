#include "engine/shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>

namespace nacre {

Shape::Shape(std::initializer_list<int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  assert(dims.size() <= static_cast<size_t>(kMaxRank));
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

Result<Shape> Shape::make(std::span<const int64_t> dims) {
  if (dims.size() > static_cast<size_t>(kMaxRank)) {
    return Status(StatusCode::kBadData,
                  fmt::format("a shape of rank {} (the most is {})", dims.size(), kMaxRank));
  }
  Shape shape;
  int64_t elements = 1;
  for (const int64_t dim : dims) {
    if (dim < 0) return Status(StatusCode::kBadData, fmt::format("negative extent {} in a shape", dim));
    // A zero extent anywhere makes the product zero, but the others must still be sane.
    const int64_t factor = std::max<int64_t>(dim, 1);
    if (elements > kMaxElements / factor) {
      return Status(StatusCode::kBadData,
                    fmt::format("a shape of more than 2^48 elements: [{}]", fmt::join(dims, ", ")));
    }
    elements *= factor;
    shape.dims_[static_cast<size_t>(shape.rank_++)] = dim;
  }
  return shape;
}

int64_t Shape::num_elements() const {
  int64_t elements = 1;
  for (const int64_t dim : dims()) elements *= dim;
  return elements;
}

Shape Shape::with_batch(int64_t n) const {
  assert(rank_ >= 1);
  Shape result = *this;
  result.dims_[0] = n;
  return result;
}

int64_t Shape::elements_per_row() const {
  int64_t elements = 1;
  for (int i = 1; i < rank_; ++i) elements *= (*this)[i];
  return elements;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(dims(), other.dims());
}

std::string Shape::to_string() const {
  return fmt::format("[{}]", fmt::join(dims(), ", "));
}

}  // namespace nacre
