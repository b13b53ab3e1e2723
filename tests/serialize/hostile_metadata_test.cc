// Metadata that the FlatBuffers verifier lets pass and that is wrong all the same (items 22 to 29). Every
// file here has right checksums.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "schemas/bundle_generated.h"
#include "schemas/checkpoint_generated.h"
#include "serialize/bundle_file.h"
#include "serialize/checkpoint_file.h"
#include "serialize/checksum.h"
#include "serialize/utf8.h"
#include "test_files.h"

namespace nacre {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using ::testing::HasSubstr;

std::vector<std::byte> take(const FlatBufferBuilder& builder) {
  const auto* data = reinterpret_cast<const std::byte*>(builder.GetBufferPointer());
  return {data, data + builder.GetSize()};
}

Offset<fb::InputContract> contract(FlatBufferBuilder& builder, uint8_t jpeg_dct = 0, uint8_t exif = 0,
                                   uint8_t resize = 0, int64_t height = 1, float scale = 1.0F) {
  const auto labels = builder.CreateVectorOfStrings(std::vector<std::string>{});
  return fb::CreateInputContract(builder, height, 1, 1, jpeg_dct, exif, resize, scale, labels);
}

struct TensorSpec {
  std::string name = "a";
  std::vector<int64_t> dims = {16};
  uint64_t offset = 0;
  fb::DType dtype = fb::DType::Float32;
};

/// A file of `blob_count` blobs of 64 zeros and this table.
Status load_tensors(const std::vector<TensorSpec>& specs, size_t blob_count = 1) {
  const std::vector<std::byte> blob(64);
  FlatBufferBuilder builder;
  std::vector<Offset<fb::Tensor>> tensors;
  for (const TensorSpec& spec : specs) {
    const auto name = builder.CreateString(spec.name);
    const auto dims = builder.CreateVector(spec.dims);
    const bool empty = std::ranges::find(spec.dims, 0) != spec.dims.end();
    tensors.push_back(
        fb::CreateTensor(builder, name, spec.dtype, dims, spec.offset, empty ? xxh3({}) : xxh3(blob)));
  }
  const auto table = builder.CreateVector(tensors);
  const auto text = builder.CreateString("");
  fb::FinishCheckpointBuffer(
      builder, fb::CreateCheckpoint(builder, table, contract(builder), 0, 0, 0, 0, text, 0, 0, text, text));
  const auto file = aligned(make_container(kCheckpointFormat, take(builder),
                                           std::vector<std::vector<std::byte>>(blob_count, blob)));
  return parse_checkpoint(file.bytes, file.keep_alive).status();
}

void expect_bad_tensors(const std::vector<TensorSpec>& specs, size_t blobs, const std::string& reason,
                        StatusCode code = StatusCode::kCorrupt) {
  const Status status = load_tensors(specs, blobs);
  EXPECT_EQ(status.code(), code) << status.message();
  EXPECT_THAT(status.message(), HasSubstr(reason));
}

TEST(HostileTensorsTest, GoodOnesAreRead) {
  EXPECT_TRUE(load_tensors({TensorSpec{}}).ok());
  EXPECT_TRUE(load_tensors({{"a"}, {"b", {1}, 64}, {"c", {}, 128}, {"d", {0, 9}, 192}}, 3).ok());
}

TEST(HostileTensorsTest, ShapesThatCannotBe) {
  expect_bad_tensors({{"a", {4194305, 4194305, 211106198978564}}}, 1, "more than 2^48 elements");
  const int64_t most = std::numeric_limits<int64_t>::max();
  expect_bad_tensors({{"a", {most, most}}}, 1, "more than 2^48 elements");
  expect_bad_tensors({{"a", {0, most, most}}}, 0, "more than 2^48 elements");
  expect_bad_tensors({{"a", {-16}}}, 1, "negative extent -16");
  expect_bad_tensors({{"a", {-4, -4}}}, 1, "negative extent -4");
  expect_bad_tensors({{"a", {1, 1, 1, 1, 1, 1, 1, 1, 16}}}, 1, "rank 9");
}

TEST(HostileTensorsTest, PlacesThatCannotBe) {
  expect_bad_tensors({{"a"}, {"b"}}, 2, "'b' overlaps");
  expect_bad_tensors({{"a", {32}}, {"b", {16}, 64}}, 3, "'b' overlaps");
  expect_bad_tensors({{"a"}, {"b", {16}, 128}}, 3, "'b' leaves a hole of 64 bytes");
  expect_bad_tensors({{"a", {16}, 64}}, 2, "'a' leaves a hole of 64 bytes");
  expect_bad_tensors({{"a", {16}, 64}, {"b"}}, 2, "leaves a hole");
  expect_bad_tensors({{"a"}, {"b", {8}, 32}}, 2, "'b' begins at 32");
  expect_bad_tensors({{"a", {17}}}, 1, "ends past the end");
  expect_bad_tensors({{"a", {16}, 64}}, 1, "ends past the end");
  expect_bad_tensors({{"a", {16}, ~uint64_t{63}}}, 1, "ends past the end");
  expect_bad_tensors({{"a"}}, 2, "64 bytes after the last tensor belong to none");
  expect_bad_tensors({}, 1, "64 bytes after the last tensor belong to none");
}

TEST(HostileTensorsTest, NamesThatCannotBe) {
  expect_bad_tensors({{"a"}, {"a", {16}, 64}}, 2, "two tensors have the name 'a'");
  expect_bad_tensors({{"b"}, {"a", {16}, 64}}, 2, "not in the order of names");
  for (const char* name : {"", "/", "a/", "/a", "a//b", "..", "../a", "a/../b", "a/./b", ".a", "a\\b", "a b",
                           "a\nb", "C:a", "\xc3\xa4"}) {
    expect_bad_tensors({{name}}, 1, "tensor 0 has the name");
  }
  expect_bad_tensors({{std::string("a\0b", 3)}}, 1, "tensor 0 has the name 'a?b'");
  expect_bad_tensors({{std::string(256, 'a')}}, 1, "tensor 0 has the name");
  std::string deep = "a";
  while (deep.size() <= 1024) deep += "/a";
  expect_bad_tensors({{deep}}, 1, "tensor 0 has the name");
}

TEST(HostileTensorsTest, ElementTypesThatAreNotKnown) {
  for (const int type : {0, 2, 255}) {
    expect_bad_tensors({{"a", {16}, 0, static_cast<fb::DType>(type)}}, 1,
                       "the element type " + std::to_string(type), StatusCode::kUnsupported);
  }
}

TEST(HostileTensorsTest, DamageUnderARightFileIsFoundByTheTensorsOwnChecksum) {
  FlatBufferBuilder builder;
  std::vector<std::byte> blob(64);
  blob[63] = std::byte{1};
  const auto load = [&](uint64_t checksum) {
    builder.Clear();
    const auto dims = builder.CreateVector(std::vector<int64_t>{15});
    const auto name = builder.CreateString("a");
    const std::vector<Offset<fb::Tensor>> tensors = {
        fb::CreateTensor(builder, name, fb::DType::Float32, dims, 0, checksum)};
    const auto table = builder.CreateVector(tensors);
    const auto text = builder.CreateString("");
    fb::FinishCheckpointBuffer(
        builder, fb::CreateCheckpoint(builder, table, contract(builder), 0, 0, 0, 0, text, 0, 0, text, text));
    const auto file = aligned(make_container(kCheckpointFormat, take(builder), {blob}));
    return parse_checkpoint(file.bytes, file.keep_alive).status().message();
  };
  EXPECT_EQ(load(xxh3(blob) + 1), "is damaged: the checksum of tensor 'a' differs");
  EXPECT_EQ(load(xxh3(blob)), "has padding after tensor 'a' that is not zero");
}

/// A checkpoint whose contract is what `make` builds.
template <typename Make>
Status load_contract(Make make) {
  FlatBufferBuilder builder;
  const auto made = make(builder);
  const auto table = builder.CreateVector(std::vector<Offset<fb::Tensor>>{});
  const auto text = builder.CreateString("");
  fb::FinishCheckpointBuffer(builder,
                             fb::CreateCheckpoint(builder, table, made, 0, 0, 0, 0, text, 0, 0, text, text));
  const auto file = aligned(make_container(kCheckpointFormat, take(builder)));
  return parse_checkpoint(file.bytes, file.keep_alive).status();
}

TEST(HostileContractTest, EnumerationsOutOfRange) {
  using B = FlatBufferBuilder;
  EXPECT_TRUE(load_contract([](B& b) { return contract(b, 1, 1, 1); }).ok());
  for (const uint8_t value : {2, 255}) {
    EXPECT_EQ(load_contract([&](B& b) { return contract(b, value); }).code(), StatusCode::kUnsupported);
    EXPECT_EQ(load_contract([&](B& b) { return contract(b, 0, value); }).code(), StatusCode::kUnsupported);
    EXPECT_EQ(load_contract([&](B& b) { return contract(b, 0, 0, value); }).code(), StatusCode::kUnsupported);
  }
}

TEST(HostileContractTest, NumbersOutOfRange) {
  using B = FlatBufferBuilder;
  for (const int64_t height :
       {int64_t{-1}, int64_t{0}, int64_t{65537}, std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(load_contract([&](B& b) { return contract(b, 0, 0, 0, height); }).code(), StatusCode::kCorrupt);
  }
  for (const float scale : {0.0F, -1.0F, std::numeric_limits<float>::infinity(), std::nanf("")}) {
    EXPECT_EQ(load_contract([&](B& b) { return contract(b, 0, 0, 0, 1, scale); }).code(),
              StatusCode::kCorrupt);
  }
}

TEST(HostileContractTest, ManyReferencesToOneStringAreNotUnfolded) {
  // 100,000 labels of a megabyte: 100 GB out of a file of 1.4 MB.
  const Status status = load_contract([](FlatBufferBuilder& builder) {
    const auto text = builder.CreateString(std::string(1000000, 'x'));
    const auto labels = builder.CreateVector(std::vector<Offset<flatbuffers::String>>(100000, text));
    return fb::CreateInputContract(builder, 1, 1, 1, 0, 0, 0, 1.0F, labels);
  });
  EXPECT_EQ(status.code(), StatusCode::kLimit);
  EXPECT_THAT(status.message(), HasSubstr("unfolds to more than its own size"));
}

struct NodeSpec {
  std::string name;
  std::vector<int32_t> inputs = {-1};
  std::string op = "ReLU";
  int32_t version = 1;
};

using Extra = Offset<flatbuffers::Vector<Offset<fb::Attribute>>>;

template <typename MakeAttributes>
Result<Bundle> load_nodes(const std::vector<NodeSpec>& specs, MakeAttributes make_attributes,
                          const std::string& model = "m", const std::vector<std::string>& provenance = {},
                          const std::string& dtype = "float32", int64_t dim = -1) {
  FlatBufferBuilder builder;
  std::vector<Offset<fb::Node>> nodes;
  for (const NodeSpec& spec : specs) {
    const Extra attributes = make_attributes(builder);
    const auto name = builder.CreateString(spec.name);
    const auto op = builder.CreateString(spec.op);
    nodes.push_back(
        fb::CreateNode(builder, name, op, spec.version, attributes, builder.CreateVector(spec.inputs)));
  }
  const auto model_at = builder.CreateString(model);
  const auto tensors = builder.CreateVector(std::vector<Offset<fb::Tensor>>{});
  const auto contract_at = contract(builder);
  const auto nodes_at = builder.CreateVector(nodes);
  const auto tensor_name = builder.CreateString("x");
  const auto dtype_at = builder.CreateString(dtype);
  const auto shape = builder.CreateVector(std::vector<int64_t>{dim});
  const auto inputs =
      builder.CreateVector(std::vector{fb::CreateSignatureTensor(builder, tensor_name, dtype_at, shape)});
  const auto signatures = builder.CreateVector(
      std::vector{fb::CreateSignature(builder, tensor_name, tensor_name, inputs, inputs)});
  const auto golden = builder.CreateVector(std::vector<Offset<fb::GoldenVector>>{});
  std::vector<Offset<fb::Provenance>> entries;
  for (const std::string& key : provenance) {
    const auto key_at = builder.CreateString(key);
    entries.push_back(fb::CreateProvenance(builder, key_at, key_at));
  }
  const auto provenance_at = builder.CreateVector(entries);
  fb::FinishBundleBuffer(builder, fb::CreateBundle(builder, model_at, tensors, nodes_at, contract_at,
                                                   signatures, golden, provenance_at));
  const auto file = aligned(make_container(kBundleFormat, take(builder)));
  return parse_bundle(file.bytes, file.keep_alive);
}

Extra no_attributes(FlatBufferBuilder& builder) {
  return builder.CreateVector(std::vector<Offset<fb::Attribute>>{});
}

void expect_bad_nodes(const std::vector<NodeSpec>& specs, const std::string& reason,
                      StatusCode code = StatusCode::kCorrupt) {
  const Status status = load_nodes(specs, no_attributes).status();
  EXPECT_EQ(status.code(), code) << status.message();
  EXPECT_THAT(status.message(), HasSubstr(reason));
}

TEST(HostileGraphTest, EdgesThatCannotBe) {
  EXPECT_TRUE(load_nodes({{"a"}, {"b", {0}}, {"c", {0, 1, -1}}}, no_attributes).ok());
  expect_bad_nodes({}, "graph");
  expect_bad_nodes({{"a", {0}}}, "'a' reads node 0");              // itself
  expect_bad_nodes({{"a", {1}}, {"b", {0}}}, "'a' reads node 1");  // a cycle
  expect_bad_nodes({{"a"}, {"b", {7}}}, "'b' reads node 7");       // a node that is not there
  expect_bad_nodes({{"a", {-2}}}, "'a' reads node -2");
  expect_bad_nodes({{"a", {std::numeric_limits<int32_t>::min()}}}, "'a' reads node -2147483648");
  expect_bad_nodes({{"a", {}}}, "no input");
  expect_bad_nodes({{"a"}, {"b"}}, "outputs");
}

TEST(HostileGraphTest, NamesAndVersionsThatCannotBe) {
  expect_bad_nodes({{"a"}, {"a", {0}}}, "named");
  for (const char* name : {"", "../a", "a/b", ".a", "a b"}) expect_bad_nodes({{name}}, "node 0 has the name");
  expect_bad_nodes({{"input"}}, "input");
  expect_bad_nodes({{"a", {-1}, ""}}, "its op has the name");
  for (const int32_t version : {-1, 0, 1000001}) expect_bad_nodes({{"a", {-1}, "ReLU", version}}, "version");
}

TEST(HostileGraphTest, DeepAndLargeGraphsNeedNoRecursion) {
  std::vector<NodeSpec> chain(Graph::kMaxNodes);
  for (size_t i = 0; i < chain.size(); ++i) {
    chain[i] = {"n" + std::to_string(i), {static_cast<int32_t>(i) - 1}};
  }
  EXPECT_TRUE(load_nodes(chain, no_attributes).ok());
  chain.push_back({"more", {static_cast<int32_t>(chain.size()) - 1}});
  expect_bad_nodes(chain, "65537 nodes");
  expect_bad_nodes({{"a"}, {"b", std::vector<int32_t>(300000, 0)}}, "edges", StatusCode::kLimit);
}

/// The status of loading a bundle with one node whose attributes are (name, type, value).
Status load_attributes(
    const std::vector<std::pair<std::string, std::function<Offset<void>(FlatBufferBuilder&)>>>& values,
    fb::AttributeValue type) {
  return load_nodes({{"a"}},
                    [&](FlatBufferBuilder& builder) {
                      std::vector<Offset<fb::Attribute>> attributes;
                      for (const auto& [name, make] : values) {
                        const auto name_at = builder.CreateString(name);
                        attributes.push_back(fb::CreateAttribute(builder, name_at, type, make(builder)));
                      }
                      return builder.CreateVector(attributes);
                    })
      .status();
}

TEST(HostileGraphTest, AttributesThatCannotBe) {
  const auto one = [](FlatBufferBuilder& b) { return fb::CreateIntValue(b, 1).Union(); };
  const auto nan = [](FlatBufferBuilder& b) { return fb::CreateFloatValue(b, std::nan("")).Union(); };
  const auto two = [](FlatBufferBuilder& b) { return fb::CreateBoolValue(b, 2).Union(); };
  const auto text = [](FlatBufferBuilder& b) {
    return fb::CreateStringValue(b, b.CreateString("\xff")).Union();
  };
  EXPECT_TRUE(load_attributes({{"k", one}, {"l", one}}, fb::AttributeValue::IntValue).ok());
  const auto code = [](const Status& status) { return status.code(); };
  EXPECT_EQ(code(load_attributes({{"k", one}, {"k", one}}, fb::AttributeValue::IntValue)),
            StatusCode::kCorrupt);
  EXPECT_EQ(code(load_attributes({{"l", one}, {"k", one}}, fb::AttributeValue::IntValue)),
            StatusCode::kCorrupt);
  EXPECT_EQ(code(load_attributes({{"", one}}, fb::AttributeValue::IntValue)), StatusCode::kCorrupt);
  EXPECT_EQ(code(load_attributes({{"k", nan}}, fb::AttributeValue::FloatValue)), StatusCode::kCorrupt);
  EXPECT_EQ(code(load_attributes({{"k", two}}, fb::AttributeValue::BoolValue)), StatusCode::kCorrupt);
  EXPECT_EQ(code(load_attributes({{"k", text}}, fb::AttributeValue::StringValue)), StatusCode::kCorrupt);
  EXPECT_EQ(code(load_attributes({{"k", one}}, fb::AttributeValue::NONE)), StatusCode::kCorrupt);
  EXPECT_EQ(code(load_attributes({{"k", one}}, static_cast<fb::AttributeValue>(9))),
            StatusCode::kUnsupported);
  // A type that is not the value's: a number read as a text lies outside the file.
  EXPECT_FALSE(load_attributes({{"k", one}}, fb::AttributeValue::StringValue).ok());
}

TEST(HostileBundleTest, OtherFieldsThatCannotBe) {
  const std::vector<NodeSpec> nodes = {{"a"}};
  const auto code = [&](const std::string& model, const std::vector<std::string>& provenance,
                        const std::string& dtype = "float32", int64_t dim = -1) {
    return load_nodes(nodes, no_attributes, model, provenance, dtype, dim).status().code();
  };
  EXPECT_EQ(code("My net", {"a", "b"}), StatusCode::kOk);
  for (const char* model : {"", "../m", "a/b", ".m", "a\nb", "\xff"})
    EXPECT_EQ(code(model, {}), StatusCode::kCorrupt);
  EXPECT_EQ(code("m", {"a", "a"}), StatusCode::kCorrupt);
  EXPECT_EQ(code("m", {"b", "a"}), StatusCode::kCorrupt);
  EXPECT_EQ(code("m", {""}), StatusCode::kCorrupt);
  EXPECT_EQ(code("m", {}, "int8"), StatusCode::kUnsupported);
  EXPECT_EQ(code("m", {}, "float32", -2), StatusCode::kCorrupt);
}

TEST(Utf8Test, WellAndIllFormed) {
  for (const char* good :
       {"", "a", "Zürich", "\u0800", "\uffff", "\U00010000", "\U0010ffff", "\ud7ff", "\ue000"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x80\x80", "\xe0\x9f\xbf",
                          "\xe2\x82", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf0\x9f\x92",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "ok\xfe"}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

}  // namespace
}  // namespace nacre
