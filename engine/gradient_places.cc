#include "engine/gradient_places.h"

#include <algorithm>
#include <numeric>

namespace nacre {
namespace {

class Sharing {
 public:
  explicit Sharing(const std::vector<GradientWrites>& operators)
      : operators_(operators),
        places_(operators.size() + 1),
        writers_(places_.size()),
        holds_(places_.size()),
        written_(places_.size(), false) {
    std::iota(places_.begin(), places_.end(), 0);
    for (size_t i = 0; i < operators.size(); ++i) {
      for (const int value : operators[i].values) writers_[at(value)].push_back(static_cast<int>(i));
    }
  }

  std::vector<int> run() {
    for (int i = static_cast<int>(operators_.size()) - 1; i >= 0; --i) write_gradients(i);
    return std::move(places_);
  }

 private:
  static size_t at(int index) { return static_cast<size_t>(index); }

  void write_gradients(int i) {
    const GradientWrites& writes = operators_[at(i)];
    std::vector<int> candidates;
    const int output = i + 1;
    // The last value's gradient is the caller's.
    if (writes.in_place && at(output) < operators_.size() && nothing_else_in(places_[at(output)], i)) {
      candidates.push_back(places_[at(output)]);
    }
    for (const int value : writes.values) {
      if (written_[at(value)]) continue;
      written_[at(value)] = true;
      // Where the operator reads the value twice, it is itself the next to add to the gradient.
      writers_[at(value)].pop_back();
      if (!writes.in_place) {
        holds_[at(value)] = {value};
        continue;
      }
      const auto place = std::ranges::find_if(candidates, [&](int each) { return suits(value, each); });
      if (place == candidates.end()) {
        candidates.push_back(value);
        holds_[at(value)] = {value};
      } else {
        places_[at(value)] = *place;
        holds_[at(*place)].push_back(value);
      }
    }
    for (const int value : writes.values) {
      std::vector<int>& writers = writers_[at(value)];
      while (!writers.empty() && writers.back() == i) writers.pop_back();
    }
  }

  /// Whether all that the buffer holds has been read when operator i's own gradient has; it is empty then.
  bool nothing_else_in(int buffer, int i) {
    std::vector<int>& values = holds_[at(buffer)];
    if (std::ranges::any_of(values, [&](int value) { return value - 1 < i; })) return false;
    values.clear();
    return true;
  }

  /// Whether what the buffer holds and the gradient of `value` are read before anything is added to either.
  [[nodiscard]] bool suits(int value, int buffer) const {
    return std::ranges::all_of(holds_[at(buffer)], [&](int other) {
      return other - 1 > next_writer(value) && value - 1 > next_writer(other);
    });
  }
  [[nodiscard]] int next_writer(int value) const {
    return writers_[at(value)].empty() ? -1 : writers_[at(value)].back();
  }

  const std::vector<GradientWrites>& operators_;
  std::vector<int> places_;
  // Of each value: the operators that will write its gradient, the next one last.
  std::vector<std::vector<int>> writers_;
  // Of each buffer: the values whose gradients may still be read.
  std::vector<std::vector<int>> holds_;
  std::vector<bool> written_;
};

}  // namespace

std::vector<int> share_gradients(const std::vector<GradientWrites>& operators) {
  return Sharing(operators).run();
}

}  // namespace nacre
