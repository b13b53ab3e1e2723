#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "engine/file.h"
#include "engine/random.h"
#include "image/peek.h"
#include "train/dataset_digest.h"
#include "train/dataset_state.h"
#include "train/loader.h"

namespace nacre {
namespace {

/// The size that the file declares. Most stand at its start; what an EXIF picture or a colour profile pushes
/// back is looked for further on.
std::optional<ImageSize> size_of(const std::string& path, ExifPolicy exif) {
  constexpr size_t kFirst = 4096;
  for (const size_t count : {kFirst, kPeekBytes}) {
    const auto head = read_file_head(path, count);
    if (!head.ok()) return std::nullopt;
    if (const auto size = peek_size(*head, exif)) return size;
  }
  return std::nullopt;
}

}  // namespace

Result<std::shared_ptr<const Dataset>> Dataset::part(const std::shared_ptr<const Dataset>& whole,
                                                     std::vector<int64_t> members) {
  auto state = std::make_unique<State>();
  state->contract = whole->contract();
  DatasetDigest digest;
  digest.add(whole->digest());
  for (const int64_t i : members) {
    state->classes.push_back(whole->label(i));
    digest.add(i);
  }
  state->digest = digest.hex();
  state->skipped = whole->skipped();
  state->whole = whole;
  state->members = std::move(members);
  return finish(std::move(state));
}

Result<DatasetParts> Dataset::split(const std::shared_ptr<const Dataset>& whole, double fraction,
                                    uint64_t seed) {
  std::vector<std::vector<int64_t>> of_class(whole->labels().size());
  for (int64_t i = 0; i < whole->size(); ++i) of_class[static_cast<size_t>(whole->label(i))].push_back(i);
  std::vector<int64_t> training;
  std::vector<int64_t> validation;
  for (size_t label = 0; label < of_class.size(); ++label) {
    const std::vector<int64_t>& images = of_class[label];
    const auto count = static_cast<int64_t>(images.size());
    if (count == 0) continue;
    const auto wanted = static_cast<int64_t>(std::llround(fraction * static_cast<double>(count)));
    const int64_t taken = std::clamp<int64_t>(wanted, 0, count - 1);
    const RandomStream random(seed, hash_name(std::string_view("validation")), label);
    const std::vector<int64_t> order = shuffled(count, random);
    for (int64_t k = 0; k < count; ++k) {
      (k < taken ? validation : training)
          .push_back(images[static_cast<size_t>(order[static_cast<size_t>(k)])]);
    }
  }
  if (validation.empty()) {
    return Status(StatusCode::kBadData,
                  fmt::format("a share of {} of every class leaves no image for validation", fraction));
  }
  std::sort(training.begin(), training.end());
  std::sort(validation.begin(), validation.end());
  DatasetParts parts;
  NACRE_ASSIGN_OR_RETURN(parts.training, part(whole, std::move(training)));
  NACRE_ASSIGN_OR_RETURN(parts.validation, part(whole, std::move(validation)));
  return parts;
}

SizeSurvey Dataset::survey_sizes(int64_t most) const {
  SizeSurvey survey;
  const auto add = [&survey, this](const ImageSize& size) {
    const auto area = [](const ImageSize& s) { return s.height * s.width; };
    if (survey.looked_at == 0 || area(size) < area(survey.smallest)) survey.smallest = size;
    if (survey.looked_at == 0 || area(size) > area(survey.largest)) survey.largest = size;
    const bool same_ratio = size.height * contract().width == size.width * contract().height;
    survey.keeps_ratio = survey.keeps_ratio && same_ratio;
    ++survey.looked_at;
  };
  if (state_->whole != nullptr) return state_->whole->survey_sizes(most);
  if (state_->files.empty()) {
    add({state_->pictures.height, state_->pictures.width});
    survey.looked_at = size();
    return survey;
  }
  survey.of_files = true;
  const int64_t looks = std::min(most, size());
  for (int64_t k = 0; k < looks; ++k) {
    // Evenly over the list; looks <= 2^31 keeps the product in range.
    const ListedFile& file = state_->files[static_cast<size_t>(k * size() / looks)];
    if (const auto found = size_of(file.path, contract().exif)) add(*found);
  }
  return survey;
}

}  // namespace nacre
