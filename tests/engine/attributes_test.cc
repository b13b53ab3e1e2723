#include "engine/attributes.h"

#include <array>
#include <limits>

namespace nacre {
namespace {

enum class Padding : uint8_t { kSame, kValid };

std::span<const EnumName<Padding>> enum_names(Padding) {
  static constexpr std::array<EnumName<Padding>, 2> kNames{
      {{Padding::kSame, "same"}, {Padding::kValid, "valid"}}};
  return kNames;
}

struct Attrs {
  int64_t filters = 0;  // out of its own range: required
  int64_t groups = 1;
  double rate = 0.5;
  double factor = -1;  // required
  bool use_bias = true;
  Extent2 kernel;  // required
  Extent2 strides{1, 2};
  Padding padding = Padding::kValid;

  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("filters", filters, 1, 4096, "number of filters");
    v.field("groups", groups, 1, 8, "number of groups");
    v.field("rate", rate, 0.0, 0.99, "share");
    v.field("factor", factor, 0.0, 10.0, "factor");
    v.field("use_bias", use_bias, "whether there is a bias");
    v.field("kernel", kernel, 1, 64, "size of the kernel");
    v.field("strides", strides, 1, 64, "steps");
    v.field("padding", padding, "what is beyond the edge");
  }
  bool operator==(const Attrs&) const = default;
};

AttrMap required() {
  return {{"filters", int64_t{8}}, {"factor", 2.5}, {"kernel", int64_t{3}}};
}

AttrMap with(const std::string& name, AttrValue value) {
  AttrMap map = required();
  map.insert_or_assign(name, std::move(value));
  return map;
}

std::string error_of(const AttrMap& map) {
  const auto parsed = parse_attributes<Attrs>(map);
  if (parsed.ok()) return "no error";
  EXPECT_EQ(parsed.status().code(), StatusCode::kBadData);
  EXPECT_EQ(parsed.status().message().find('\n'), std::string::npos);
  return parsed.status().message();
}

using Ints = std::vector<int64_t>;

TEST(Attributes, MissingOnesKeepTheirDefaults) {
  const auto parsed = parse_attributes<Attrs>(required());
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  Attrs expected;
  expected.filters = 8;
  expected.factor = 2.5;
  expected.kernel = {3, 3};
  EXPECT_EQ(*parsed, expected);
}

TEST(Attributes, WhatIsWrittenIsRead) {
  Attrs attrs;
  attrs.filters = 4096;
  attrs.groups = 8;
  attrs.rate = 0.1;
  attrs.factor = 1.0 / 3.0;
  attrs.use_bias = false;
  attrs.kernel = {5, 7};
  attrs.strides = {2, 2};
  attrs.padding = Padding::kSame;
  const AttrMap map = write_attributes(attrs);
  EXPECT_EQ(map.size(), 8U);
  EXPECT_EQ(map.at("kernel"), AttrValue(Ints{5, 7}));
  EXPECT_EQ(map.at("strides"), AttrValue(int64_t{2}));
  EXPECT_EQ(map.at("padding"), AttrValue(std::string("same")));
  const auto parsed = parse_attributes<Attrs>(map);
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(*parsed, attrs);
}

TEST(Attributes, DefaultsAreWrittenToo) {
  const auto parsed = parse_attributes<Attrs>(required());
  const AttrMap map = write_attributes(*parsed);
  EXPECT_EQ(map.size(), 8U);
  EXPECT_EQ(map.at("groups"), AttrValue(int64_t{1}));
  EXPECT_EQ(map.at("strides"), AttrValue(Ints{1, 2}));
  EXPECT_EQ(map.at("use_bias"), AttrValue(true));
}

TEST(Attributes, RequiredOnesMustBeThere) {
  for (const std::string name : {"filters", "factor", "kernel"}) {
    AttrMap map = required();
    map.erase(name);
    EXPECT_EQ(error_of(map), "attribute \"" + name + "\" is missing");
  }
}

TEST(Attributes, WrongTypesAreRefused) {
  EXPECT_EQ(error_of(with("filters", 8.0)), "attribute \"filters\" is 8, expected an integer from 1 to 4096");
  EXPECT_EQ(error_of(with("filters", true)),
            "attribute \"filters\" is true, expected an integer from 1 to 4096");
  EXPECT_EQ(error_of(with("rate", std::string("0.5"))),
            "attribute \"rate\" is \"0.5\", expected a number from 0 to 0.99");
  EXPECT_EQ(error_of(with("rate", false)), "attribute \"rate\" is false, expected a number from 0 to 0.99");
  EXPECT_EQ(error_of(with("use_bias", int64_t{1})), "attribute \"use_bias\" is 1, expected true or false");
  EXPECT_EQ(error_of(with("padding", int64_t{0})),
            "attribute \"padding\" is 0; known are \"same\", \"valid\"");
  EXPECT_EQ(error_of(with("padding", std::string("Same"))),
            "attribute \"padding\" is \"Same\"; known are \"same\", \"valid\"");
}

TEST(Attributes, RangesAreInclusive) {
  for (const int64_t value : {1, 4096}) EXPECT_EQ(error_of(with("filters", value)), "no error");
  for (const int64_t value : {int64_t{0}, int64_t{4097}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
    EXPECT_NE(error_of(with("filters", value)).find("expected an integer from 1 to 4096"), std::string::npos);
  }
  for (const double value : {0.0, 0.99}) EXPECT_EQ(error_of(with("rate", value)), "no error");
  for (const double value :
       {-1e-9, 0.9901, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    EXPECT_NE(error_of(with("rate", value)).find("expected a number from 0 to 0.99"), std::string::npos);
  }
}

TEST(Attributes, AnIntegerServesAsANumber) {
  const auto parsed = parse_attributes<Attrs>(with("factor", int64_t{7}));
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->factor, 7.0);
}

TEST(Attributes, AnExtentIsOneIntegerOrTwo) {
  EXPECT_EQ(parse_attributes<Attrs>(with("kernel", int64_t{5}))->kernel, (Extent2{5, 5}));
  EXPECT_EQ(parse_attributes<Attrs>(with("kernel", Ints{5, 2}))->kernel, (Extent2{5, 2}));
  for (const AttrValue& value :
       {AttrValue(Ints{}), AttrValue(Ints{3}), AttrValue(Ints{3, 3, 3}), AttrValue(Ints{0, 3}),
        AttrValue(Ints{3, 65}), AttrValue(int64_t{0}), AttrValue(3.0), AttrValue(std::string("3"))}) {
    EXPECT_EQ(error_of(with("kernel", value)),
              "attribute \"kernel\" is " + to_string(value) +
                  ", expected an integer from 1 to 64 or two of them, [height, width]");
  }
}

TEST(Attributes, AnUnknownOneIsNamedAndTheKnownAreListed) {
  EXPECT_EQ(
      error_of(with("filter", int64_t{1})),
      "unknown attribute \"filter\"; known are filters, groups, rate, factor, use_bias, kernel, strides, "
      "padding");
}

TEST(Attributes, TheFirstErrorIsTold) {
  AttrMap map = with("rate", 3.0);
  map.insert_or_assign("padding", AttrValue(std::string("none")));
  EXPECT_NE(error_of(map).find("\"rate\""), std::string::npos);
  // But for a name that is not known: misspelt, it is the reason why the right one is missing.
  map.erase("filters");
  map.insert_or_assign("filtres", AttrValue(true));
  EXPECT_NE(error_of(map).find("unknown attribute \"filtres\""), std::string::npos);
}

TEST(Attributes, HostileValuesDoNotMakeLongMessages) {
  EXPECT_LT(error_of(with("padding", std::string(1 << 20, 'x'))).size(), 1000U);
  EXPECT_LT(error_of(with("kernel", Ints(1 << 16, 3))).size(), 1000U);
  EXPECT_LT(error_of(with(std::string(1 << 20, 'x'), int64_t{1})).size(), 1000U);
  EXPECT_NE(error_of(with("padding", std::string("a\nb"))).find("a\\nb"), std::string::npos);
}

TEST(Attributes, ToStringWritesJson) {
  EXPECT_EQ(to_string(AttrValue(true)), "true");
  EXPECT_EQ(to_string(AttrValue(int64_t{-3})), "-3");
  EXPECT_EQ(to_string(AttrValue(0.25)), "0.25");
  EXPECT_EQ(to_string(AttrValue(std::string("a\"b"))), "\"a\\\"b\"");
  EXPECT_EQ(to_string(AttrValue(Ints{1, 2})), "[1, 2]");
}

TEST(Attributes, DocumentationTellsTypeAndDefault) {
  const std::vector<AttrDoc> docs = document_attributes<Attrs>();
  ASSERT_EQ(docs.size(), 8U);
  const auto expect = [&](size_t i, const char* name, const char* type, const char* value, const char* text) {
    EXPECT_EQ(docs[i].name, name);
    EXPECT_EQ(docs[i].type, type);
    EXPECT_EQ(docs[i].default_value, value);
    EXPECT_EQ(docs[i].text, text);
  };
  expect(0, "filters", "integer, 1 to 4096", "", "number of filters");
  expect(1, "groups", "integer, 1 to 8", "1", "number of groups");
  expect(2, "rate", "number, 0 to 0.99", "0.5", "share");
  expect(3, "factor", "number, 0 to 10", "", "factor");
  expect(4, "use_bias", "true | false", "true", "whether there is a bias");
  expect(5, "kernel", "integer or [height, width], 1 to 64", "", "size of the kernel");
  expect(6, "strides", "integer or [height, width], 1 to 64", "[1, 2]", "steps");
  expect(7, "padding", "\"same\" | \"valid\"", "\"valid\"", "what is beyond the edge");
}

struct NanDefault {
  double rate = std::numeric_limits<double>::quiet_NaN();
  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("rate", rate, 0.0, 1.0, "share");
  }
};

TEST(Attributes, ADefaultThatIsNoNumberMeansRequired) {
  EXPECT_EQ(document_attributes<NanDefault>()[0].default_value, "");
  EXPECT_FALSE(parse_attributes<NanDefault>({}).ok());
}

struct PadAttrs {
  Sides padding{1, 1, 1, 1};
  template <typename Visitor>
  void visit(Visitor& v) {
    v.field("padding", padding, 0, 9, "cells around the image");
  }
};

TEST(Attributes, SidesTakeOneTwoOrFourNumbers) {
  const auto read = [](const AttrValue& value) { return parse_attributes<PadAttrs>({{"padding", value}}); };
  EXPECT_EQ(parse_attributes<PadAttrs>({})->padding, (Sides{1, 1, 1, 1}));
  EXPECT_EQ(read(int64_t{2})->padding, (Sides{2, 2, 2, 2}));
  EXPECT_EQ(read(Ints{2, 3})->padding, (Sides{2, 2, 3, 3}));
  EXPECT_EQ(read(Ints{1, 2, 3, 4})->padding, (Sides{1, 2, 3, 4}));
  for (const AttrValue& wrong :
       {AttrValue(int64_t{10}), AttrValue(Ints{1, 2, 3}), AttrValue(Ints{}), AttrValue(Ints{1, 2, 3, -1}),
        AttrValue(2.0), AttrValue(std::string("same"))}) {
    ASSERT_FALSE(read(wrong).ok());
    EXPECT_NE(read(wrong).status().message().find("[top, bottom, left, right]"), std::string::npos);
  }
  const auto written = [](const Sides& sides) { return write_attributes(PadAttrs{sides}).at("padding"); };
  EXPECT_EQ(written({2, 2, 2, 2}), AttrValue(int64_t{2}));
  EXPECT_EQ(written({2, 2, 3, 3}), AttrValue(Ints{2, 3}));
  EXPECT_EQ(written({1, 2, 3, 3}), AttrValue(Ints{1, 2, 3, 3}));
  EXPECT_EQ(document_attributes<PadAttrs>()[0].default_value, "1");
}

}  // namespace
}  // namespace nacre
