#include "train/dataset_state.h"

#include <algorithm>
#include <new>
#include <utility>

#include "engine/file.h"
#include "engine/parallel.h"
#include "engine/vector_math.h"
#include "train/dataset_digest.h"

namespace nacre {
namespace {

Status bad(std::string reason) {
  return {StatusCode::kBadData, std::move(reason)};
}

std::vector<uint8_t> grey_to_rgb(std::span<const uint8_t> grey) {
  std::vector<uint8_t> rgb(grey.size() * 3);
  for (size_t i = 0; i < grey.size(); ++i) rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = grey[i];
  return rgb;
}

}  // namespace

Image Pictures::at(int64_t i, int64_t wanted_channels) const {
  const std::span<const uint8_t> own = pixels_of(i);
  if (channels == wanted_channels) return {height, width, channels, {own.begin(), own.end()}};
  return {height, width, wanted_channels, grey_to_rgb(own)};
}

Status Pictures::check(const InputContract& contract) const {
  if (channels != contract.channels && !(channels == 1 && contract.channels == 3)) {
    return bad("the pictures have " + std::to_string(channels) + " channels, the network takes " +
               std::to_string(contract.channels))
        .at(what);
  }
  if (contract.resize == ResizePolicy::kExact && (height != contract.height || width != contract.width)) {
    return bad("the pictures have " + std::to_string(height) + "x" + std::to_string(width) +
               " pixels, the network takes exactly " + std::to_string(contract.height) + "x" +
               std::to_string(contract.width))
        .at(what);
  }
  return {};
}

std::string Dataset::State::name(int64_t i) const {
  if (whole != nullptr) return whole->name(members[static_cast<size_t>(i)]);
  return files.empty() ? pictures.what + "[" + std::to_string(i) + "]" : files[static_cast<size_t>(i)].path;
}

bool Dataset::State::has_contract_size(int64_t height, int64_t width) const {
  return height == contract.height && width == contract.width;
}

bool Dataset::State::in_memory() const {
  if (whole != nullptr) return whole->in_memory();
  return files.empty() && has_contract_size(pictures.height, pictures.width);
}

Status Dataset::State::with_hint(const Status& error) const {
  // With skip_bad every image was decoded when the list was opened.
  if (error.ok() || options.skip_bad > 0 || options.skip_option.empty()) return error;
  return {error.code(), error.message() + " (" + options.skip_option + " N leaves such files out)"};
}

Result<Image> Dataset::State::decode_file(const ListedFile& listed) const {
  NACRE_ASSIGN_OR_RETURN(const ListedFile now, look_up(listed.path, "was deleted after the list was opened"));
  if (now != listed) return bad("was changed after the list was opened").at(listed.path);
  NACRE_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes,
                         read_file(listed.path, options.limits.max_encoded_bytes));
  if (static_cast<int64_t>(bytes.size()) != listed.size) {
    return bad("was changed after the list was opened").at(listed.path);
  }
  Result<Image> image = decode_image(bytes, contract, options.limits);
  if (!image.ok()) return with_hint(image.status().at(listed.path));
  return image;
}

Status Dataset::State::read(int64_t i, float* out) const {
  if (whole != nullptr) return whole->read(members[static_cast<size_t>(i)], out);
  if (in_memory() && pictures.channels == contract.channels) {
    const std::span<const uint8_t> pixels = pictures.pixels_of(i);
    scale_bytes(static_cast<int64_t>(pixels.size()), pixels.data(), contract.scale, out);
    return {};
  }
  const CacheEntry* cached = cache->find(i);
  if (cached != nullptr && cached->input.empty()) return convert(cached->image, name(i), out);
  if (cached != nullptr) {
    std::copy(cached->input.begin(), cached->input.end(), out);
    return {};
  }
  if (files.empty()) {
    const Image image = pictures.at(i, contract.channels);
    NACRE_RETURN_IF_ERROR(convert(image, name(i), out));
    // Pictures of the right size are in memory already.
    if (!in_memory()) keep_input(i, out);
    return {};
  }
  NACRE_ASSIGN_OR_RETURN(Image image, decode_file(files[static_cast<size_t>(i)]));
  NACRE_RETURN_IF_ERROR(with_hint(convert(image, name(i), out)));
  if (!has_contract_size(image.height, image.width)) {
    keep_input(i, out);
  } else if (cache->reserve(image.pixels.size())) {
    image.pixels.shrink_to_fit();
    cache->put(i, std::make_unique<const CacheEntry>(CacheEntry{std::move(image), {}}));
  }
  return {};
}

Status Dataset::State::convert(const Image& image, const std::string& name, float* out) const {
  return image_to_input(image, contract, out).at(name);
}

void Dataset::State::keep_input(int64_t i, const float* out) const {
  const auto count = static_cast<size_t>(contract.height * contract.width * contract.channels);
  if (!cache->reserve(count * sizeof(float))) return;
  cache->put(i, std::make_unique<const CacheEntry>(CacheEntry{{}, std::vector<float>(out, out + count)}));
}

Status Dataset::State::drop_undecodable(std::vector<ListedImage>& images, BadRows& bad_rows) const {
  std::vector<Status> results(images.size());
  std::vector<uint8_t> exhausted(images.size());  // whether memory ran out
  parallel_for(static_cast<int64_t>(images.size()), options.threads, [&](int64_t i, int /*worker*/) {
    const ListedFile& file = images[static_cast<size_t>(i)].file;
    Status& result = results[static_cast<size_t>(i)];
    try {
      const Result<Image> image = decode_file(file);
      result = image.ok() ? check_image_size(*image, contract).at(file.path) : image.status();
    } catch (const std::bad_alloc&) {
      result = Status(StatusCode::kLimit, file.path + ": out of memory");
      exhausted[static_cast<size_t>(i)] = 1;
    }
  });
  std::vector<ListedImage> good;
  for (size_t i = 0; i < images.size(); ++i) {
    if (exhausted[i] != 0) return results[i];  // which says nothing of the file
    if (results[i].ok()) {
      good.push_back(std::move(images[i]));
    } else {
      const std::string& where = images[i].where;
      NACRE_RETURN_IF_ERROR(bad_rows.add(images[i].line, where.empty() ? results[i] : results[i].at(where)));
    }
  }
  images = std::move(good);
  return {};
}

void Dataset::State::take(std::vector<ListedImage> images) {
  DatasetDigest list;
  list.add_all(contract.labels);
  for (ListedImage& image : images) {
    list.add(image.name);
    list.add(image.label);
    list.add(image.file.size);
    classes.push_back(image.label);
    files.push_back(std::move(image.file));
  }
  digest = list.hex();
}

}  // namespace nacre
