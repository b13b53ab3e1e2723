// The input contract as nodes.
#include "serialize/tensorflow/decode_graph.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/tensorflow/network_fixture.h"

namespace nacre {
namespace {

using ::testing::ElementsAre;

const InputContract kContract{.height = 6, .width = 5, .channels = 3, .labels = {}};

struct Decoded {
  tensorflow::GraphDef graph;
  std::string output;
};

Decoded decode(const InputContract& contract, const std::string& prefix = "") {
  Decoded result;
  GraphBuilder builder(result.graph);
  add_decode_functions(result.graph, contract);
  result.output = decode_batch(builder, contract, prefix, "images");
  return result;
}

const tensorflow::FunctionDef& body_of(const tensorflow::GraphDef& graph) {
  return graph.library().function(1);
}

std::vector<std::string> calls(const tensorflow::FunctionDef& function) {
  std::vector<std::string> list;
  for (const auto& node : function.node_def()) {
    if (node.op() != "Const") list.push_back(node.name() + " = " + call_of(node));
  }
  return list;
}

TEST(DecodeGraph, ABatchIsALoopOverAList) {
  const Decoded decoded = decode(kContract, "copy/");
  EXPECT_EQ(decoded.output, "copy/decoded");
  const auto call = [&](const std::string& name) { return call_of(node_of(decoded.graph, "copy/" + name)); };
  EXPECT_EQ(call("decode/count/shape"), "Shape(images)");
  EXPECT_EQ(call("decode/count"),
            "StridedSlice(copy/decode/count/shape, copy/decode/count/stack, copy/decode/count/stack_1, "
            "copy/decode/count/stack_2)");
  EXPECT_EQ(call("decode/reserve"), "TensorListReserve(copy/decode/item_shape, copy/decode/count)");
  EXPECT_EQ(call("decode/loop"),
            "StatelessWhile(copy/decode/first, copy/decode/count, copy/decode/reserve, images)");
  EXPECT_EQ(call("decoded"), "TensorListStack(copy/decode/loop:2, copy/decode/item_shape)");
  const auto& item = node_of(decoded.graph, "copy/decode/item_shape").attr().at("value").tensor();
  EXPECT_THAT(item.int_val(), ElementsAre(6, 5, 3));
  const auto& loop = node_of(decoded.graph, "copy/decode/loop").attr();
  EXPECT_THAT(loop.at("T").list().type(), ElementsAre(tensorflow::DT_INT32, tensorflow::DT_INT32,
                                                      tensorflow::DT_VARIANT, tensorflow::DT_STRING));
  EXPECT_EQ(loop.at("output_shapes").list().shape_size(), 4);
  EXPECT_EQ(loop.at("output_shapes").list().shape(3).dim(0).size(), -1);
  ASSERT_EQ(decoded.graph.library().function_size(), 2);
  EXPECT_EQ(loop.at("cond").func().name(), decoded.graph.library().function(0).signature().name());
  EXPECT_EQ(loop.at("body").func().name(), body_of(decoded.graph).signature().name());
}

TEST(DecodeGraph, TheLoopGoesOnWhileThereAreImages) {
  const Decoded decoded = decode(kContract);
  const auto& condition = decoded.graph.library().function(0);
  EXPECT_THAT(calls(condition), ElementsAre("less = Less(i, count)"));
  EXPECT_EQ(condition.ret().at("go_on"), "less:z:0");
  EXPECT_EQ(condition.signature().input_arg_size(), 4);
}

TEST(DecodeGraph, ATurnDecodesScalesAndResizes) {
  const Decoded decoded = decode(kContract);
  const auto& body = body_of(decoded.graph);
  EXPECT_THAT(
      calls(body),
      ElementsAre("jpeg = GatherV2(images, i, axis:output:0)", "DecodeJpeg = DecodeJpeg(jpeg:output:0)",
                  "convert_image/Cast = Cast(DecodeJpeg:image:0)",
                  "convert_image = Mul(convert_image/Cast:y:0, convert_image/y:output:0)",
                  "ExpandDims = ExpandDims(convert_image:z:0, ExpandDims/dim:output:0)",
                  "resize = ResizeBilinear(ExpandDims:output:0, resize/size:output:0)",
                  "resized_image = Squeeze(resize:resized_images:0)",
                  "set = TensorListSetItem(decoded, i, resized_image:output:0)",
                  "next = AddV2(i, one:output:0)", "same_count = Identity(count)",
                  "same_images = Identity(images)"));
  EXPECT_EQ(node_of(body, "DecodeJpeg").attr().at("dct_method").s(), "INTEGER_ACCURATE");
  EXPECT_EQ(node_of(body, "DecodeJpeg").attr().at("channels").i(), 3);
  EXPECT_TRUE(node_of(body, "resize").attr().at("half_pixel_centers").b());
  EXPECT_THAT(node_of(body, "resize/size").attr().at("value").tensor().int_val(), ElementsAre(6, 5));
  EXPECT_THAT(node_of(body, "resized_image").attr().at("squeeze_dims").list().i(), ElementsAre(0));
  EXPECT_EQ(node_of(body, "convert_image/y").attr().at("value").tensor().float_val(0), 1.0F / 255.0F);
  std::vector<std::string> results;
  for (const auto& result : body.signature().output_arg()) results.push_back(body.ret().at(result.name()));
  EXPECT_THAT(results,
              ElementsAre("next:z:0", "same_count:output:0", "set:output_handle:0", "same_images:output:0"));
}

TEST(DecodeGraph, TheContractDecides) {
  InputContract contract = kContract;
  contract.channels = 1;
  contract.jpeg_dct = JpegDct::kFast;
  contract.scale = 0.25F;
  contract.resize = ResizePolicy::kExact;
  const Decoded decoded = decode(contract);
  const auto& body = body_of(decoded.graph);
  EXPECT_EQ(node_of(body, "DecodeJpeg").attr().at("dct_method").s(), "INTEGER_FAST");
  EXPECT_EQ(node_of(body, "DecodeJpeg").attr().at("channels").i(), 1);
  EXPECT_EQ(node_of(body, "convert_image/y").attr().at("value").tensor().float_val(0), 0.25F);
  for (const auto& node : body.node_def()) EXPECT_NE(node.op(), "ResizeBilinear");
  EXPECT_EQ(call_of(node_of(body, "set")), "TensorListSetItem(decoded, i, convert_image:z:0)");
  EXPECT_THAT(node_of(decoded.graph, "decode/item_shape").attr().at("value").tensor().int_val(),
              ElementsAre(6, 5, 1));
}

TEST(DecodeGraph, WhatTensorflowCannotDecodeIsRefused) {
  EXPECT_TRUE(check_decodable(kContract).ok());
  InputContract turned = kContract;
  turned.exif = ExifPolicy::kApply;
  EXPECT_EQ(check_decodable(turned).code(), StatusCode::kUnsupported);
  InputContract four = kContract;
  four.channels = 4;
  EXPECT_EQ(check_decodable(four).code(), StatusCode::kUnsupported);
  InputContract huge = kContract;
  huge.width = int64_t{1} << 31;
  EXPECT_EQ(check_decodable(huge).code(), StatusCode::kUnsupported);
}

}  // namespace
}  // namespace nacre
