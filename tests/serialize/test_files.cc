#include "test_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "serialize/checksum.h"

namespace nacre {

TempFolder::TempFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "nacre-test-XXXXXX").string();
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  path_ = pattern;
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> TempFolder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.is_open()) << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::byte> read_bytes(const std::string& path) {
  return bytes_of(read_text(path));
}

void write_bytes(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  EXPECT_TRUE(out.good()) << path;
}

void write_text(const std::string& path, std::string_view text) {
  write_bytes(path, bytes_of(text));
}

FileBytes aligned(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  // No byte more than there are, so that AddressSanitizer sees a read past the end.
  void* memory = nullptr;
  EXPECT_EQ(posix_memalign(&memory, kAlignment, bytes.size()), 0);
  std::memcpy(memory, bytes.data(), bytes.size());
  return {{static_cast<const std::byte*>(memory), bytes.size()}, std::shared_ptr<void>(memory, std::free)};
}

std::vector<std::byte> make_container(const ContainerFormat& format, std::span<const std::byte> metadata,
                                      const std::vector<std::vector<std::byte>>& blobs) {
  const TempFolder folder;
  const std::vector<std::span<const std::byte>> views(blobs.begin(), blobs.end());
  const Status status = write_container(folder.file("x"), format, metadata, views, false, real_file_system());
  EXPECT_TRUE(status.ok()) << status.message();
  return read_bytes(folder.file("x"));
}

void repair_header(std::vector<std::byte>& file) {
  const uint64_t checksum = xxh3(std::span(file).first(56));
  std::memcpy(file.data() + 56, &checksum, sizeof(checksum));
}

Tensor make_tensor(const Shape& shape, const std::vector<float>& values) {
  Tensor tensor(shape);
  EXPECT_EQ(static_cast<size_t>(tensor.size()), values.size());
  if (!values.empty()) std::memcpy(tensor.data(), values.data(), values.size() * sizeof(float));
  return tensor;
}

Checkpoint sample_checkpoint() {
  Checkpoint checkpoint;
  const std::vector<float> odd = {-0.0F,
                                  std::bit_cast<float>(uint32_t{0x7fc12345}),  // quiet NaN with a payload
                                  std::bit_cast<float>(uint32_t{0xffabcdef}),  // negative NaN
                                  std::bit_cast<float>(uint32_t{0x00000001}),  // smallest denormal
                                  std::bit_cast<float>(uint32_t{0xff800000}),  // -infinity
                                  3.5F};
  EXPECT_TRUE(checkpoint.variables.add("conv1/kernel", make_tensor({1, 2, 3}, odd)).ok());
  EXPECT_TRUE(checkpoint.variables.add("conv1/kernel/adam_m", make_tensor({0, 5}, {})).ok());
  EXPECT_TRUE(checkpoint.variables.add("global_step", make_tensor({}, {7})).ok());
  checkpoint.state = {.step = uint64_t{1} << 63,
                      .epoch = 3,
                      .batch_in_epoch = 5,
                      .seed = ~uint64_t{0},
                      .data_digest = "00ff",
                      .best_accuracy = 0.875,
                      .best_step = 11,
                      .validations_since_best = 2};
  checkpoint.contract = {.height = 4,
                         .width = 6,
                         .channels = 3,
                         .jpeg_dct = JpegDct::kFast,
                         .exif = ExifPolicy::kApply,
                         .resize = ResizePolicy::kExact,
                         .scale = 0.5F,
                         .labels = {"Zürich", "b c"}};
  checkpoint.recipe = "{\n \"epochs\": 2\n}";
  checkpoint.nacre_version = "0.1.0";
  return checkpoint;
}

Bundle sample_bundle() {
  Bundle bundle;
  bundle.name = "tiny";
  std::vector<Node> nodes(3);
  nodes[0] = {"flatten", "Flatten", 1, {}, {"input"}};
  nodes[1] = {"out",
              "Dense",
              2,
              {{"flag", true},
               {"list", std::vector<int64_t>{-1, int64_t{1} << 40}},
               {"rate", -0.0},
               {"text", std::string("same")},
               {"units", int64_t{2}}},
              {"flatten"}};
  nodes[2] = {"prediction", "Softmax", 1, {}, {"out"}};
  auto graph = Graph::make(std::move(nodes));
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  bundle.graph = std::move(*graph);
  EXPECT_TRUE(bundle.variables.add("out/bias", make_tensor({2}, {-0.0F, 1e-42F})).ok());
  EXPECT_TRUE(bundle.variables.add("out/kernel", make_tensor({2, 2}, {1, 2, 3, 4})).ok());
  bundle.contract = {.height = 1, .width = 2, .channels = 1, .labels = {"no", "yes"}};
  bundle.signatures = {{"serving_default",
                        "tensorflow/serving/predict",
                        {{"image", "string", {-1}}},
                        {{"prediction", "float32", {-1, 2}}}}};
  bundle.golden = {{"ramp", bytes_of("not a real image"), {0.25F, 0.75F}}};
  bundle.provenance = {{"nacre_version", "0.1.0"}, {"step", "120"}};
  return bundle;
}

bool same_bits(const VariableStore& a, const VariableStore& b) {
  return std::ranges::equal(a.tensors(), b.tensors(), [](const auto& x, const auto& y) {
    const auto size = static_cast<size_t>(x.second.size()) * sizeof(float);
    return x.first == y.first && x.second.shape() == y.second.shape() &&
           (size == 0 || std::memcmp(x.second.data(), y.second.data(), size) == 0);
  });
}

void expect_equal(const Checkpoint& a, const Checkpoint& b) {
  EXPECT_TRUE(same_bits(a.variables, b.variables));
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.contract, b.contract);
  EXPECT_EQ(a.recipe, b.recipe);
  EXPECT_EQ(a.nacre_version, b.nacre_version);
}

void expect_equal(const Bundle& a, const Bundle& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.graph.nodes(), b.graph.nodes());
  EXPECT_EQ(a.graph.producers(), b.graph.producers());
  EXPECT_TRUE(same_bits(a.variables, b.variables));
  EXPECT_EQ(a.contract, b.contract);
  EXPECT_EQ(a.signatures, b.signatures);
  EXPECT_EQ(a.golden, b.golden);
  EXPECT_EQ(a.provenance, b.provenance);
}

}  // namespace nacre
