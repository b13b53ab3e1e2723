#include "train/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace nacre {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

Result<CsvList> parse(std::string_view text, const std::vector<std::string>& labels = {}) {
  BadRows none(0);
  return parse_csv(text, "L.csv", labels, none);
}

void expect_error(std::string_view text, const std::string& message,
                  const std::vector<std::string>& labels = {}) {
  const auto list = parse(text, labels);
  ASSERT_FALSE(list.ok()) << message;
  EXPECT_EQ(list.status().code(), StatusCode::kBadData);
  EXPECT_THAT(list.status().message(), StartsWith(message));
  EXPECT_EQ(list.status().message().find('\n'), std::string::npos);
}

std::vector<std::string> files(const CsvList& list) {
  std::vector<std::string> names;
  for (const CsvRow& row : list.rows) names.push_back(row.file);
  return names;
}

TEST(Csv, WrittenRowsAreReadAsTheyWere) {
  EXPECT_EQ(csv_line("a b.jpg", "dog", 1), "a b.jpg,dog,1\n");
  const auto list = parse(csv_line("a,\"b\".jpg", "T-shirt, \"top\"", 0) + csv_line(" c.jpg ", "dog", 1));
  ASSERT_TRUE(list.ok()) << list.status().message();
  EXPECT_THAT(list->labels, ElementsAre("T-shirt, \"top\"", "dog"));
  EXPECT_THAT(files(*list), ElementsAre("a,\"b\".jpg", " c.jpg "));
}

TEST(Csv, ReadsRowsAndOrdersLabelsByNumber) {
  const auto list = parse("a.jpg,dog,1\nb.jpg,cat,0\nsub/c.jpg,dog,1");
  ASSERT_TRUE(list.ok()) << list.status().message();
  EXPECT_THAT(list->labels, ElementsAre("cat", "dog"));
  EXPECT_THAT(files(*list), ElementsAre("a.jpg", "b.jpg", "sub/c.jpg"));
  EXPECT_EQ(list->rows[0].label, 1);
  EXPECT_EQ(list->rows[2].line, 3);
}

TEST(Csv, CrlfByteOrderMarkEmptyLinesAndHeaderAreAccepted) {
  const auto list = parse(
      "\xef\xbb\xbf"
      "file,label-name,label-number\r\n\r\na.jpg,cat,0\r\nb.jpg,dog, 1\r\n\r\n");
  ASSERT_TRUE(list.ok()) << list.status().message();
  EXPECT_THAT(list->labels, ElementsAre("cat", "dog"));
  EXPECT_EQ(list->rows[0].line, 3);
}

TEST(Csv, ABadFirstRowIsNotTakenForAHeader) {
  expect_error("a.jpg,cat,x\nb.jpg,cat,0\n", "L.csv:1: the label number 'x' is not a number");
  expect_error("a.jpg,cat,0\nfile,label-name,label-number\n", "L.csv:2: ");
}

TEST(Csv, QuotedFields) {
  const auto list = parse("\"a,b.jpg\",\"the \"\"cat\"\"\",\"0\"\n");
  ASSERT_TRUE(list.ok()) << list.status().message();
  EXPECT_EQ(list->rows[0].file, "a,b.jpg");
  EXPECT_EQ(list->labels[0], "the \"cat\"");
  expect_error("\"a.jpg,cat,0\n", "L.csv:1: a quote is not closed");
  expect_error("\"a\"b.jpg,cat,0\n", "L.csv:1: text after a closing quote");
  expect_error("a\"b.jpg,cat,0\n", "L.csv:1: a quote inside a field");
}

TEST(Csv, WrongFieldsAreErrorsWithTheirLine) {
  expect_error("a.jpg,cat,0\nb.jpg,cat\n", "L.csv:2: 2 fields");
  expect_error("b.jpg\n", "L.csv:1: 1 field,");
  expect_error("a.jpg,cat,0,x\n", "L.csv:1: more than 3 fields");
  expect_error(",cat,0\n", "L.csv:1: the file name is empty");
  expect_error("a.jpg,,0\n", "L.csv:1: the class name is empty");
  expect_error("a.jpg,c\xff,0\n", "L.csv:1: the class name is not UTF-8");
  expect_error("a.jpg,\xed\xa0\x80,0\n", "L.csv:1: the class name is not UTF-8");
  expect_error("a.jpg,cat,-1\n", "L.csv:1: label number '-1'");
  expect_error("a.jpg,cat,65536\n", "L.csv:1: label number '65536'");
  expect_error("a.jpg,cat,99999999999\n", "L.csv:1: the label number '99999999999'");
  expect_error("a.jpg,cat,1.5\n", "L.csv:1: the label number '1.5'");
  EXPECT_TRUE(parse("a.jpg,\xc3\xa9t\xc3\xa9 \xf0\x9f\x90\x88,0\n").ok());
}

TEST(Csv, NulAndControlCharacters) {
  expect_error(std::string_view("a.jpg,cat,0\nb\0.jpg,cat,0\n", 25), "L.csv:2: NUL at byte 2");
  expect_error("a.jpg,cat,0\rb.jpg,cat,0\n", "L.csv:1: control character 13 at byte 12");
}

TEST(Csv, OverLongLine) {
  const std::string fits = std::string(65536 - 6, 'a') + ",cat,0";
  EXPECT_TRUE(parse(fits).ok());
  expect_error("x.jpg,cat,0\na" + fits + "\n", "L.csv:2: the line is longer than 65536 bytes");
}

TEST(Csv, DuplicateFiles) {
  expect_error("a.jpg,cat,0\nb.jpg,cat,0\n./a.jpg,cat,0\n", "L.csv:3: duplicate of line 1: './a.jpg'");
}

TEST(Csv, NamesAndNumbersGoOneToOne) {
  expect_error("a.jpg,cat,0\nb.jpg,cat,1\n", "L.csv:2: label 'cat' has number 1 here, but 0 in line 1");
  expect_error("a.jpg,cat,0\nb.jpg,dog,0\n", "L.csv:2: label number 0 is 'dog' here, but 'cat' in line 1");
  expect_error("a.jpg,cat,0\nb.jpg,dog,2\n", "L.csv: no line has label number 1, but one has 2");
}

TEST(Csv, GivenLabels) {
  EXPECT_TRUE(parse("a.jpg,dog,1\n", {"cat", "dog"}).ok());
  expect_error("a.jpg,dog,1\nb.jpg,cow,2\n", "L.csv:2: unknown label 'cow'", {"cat", "dog"});
  expect_error("a.jpg,dog,0\n", "L.csv:1: label 'dog' has number 0 here, but 1 in the given classes",
               {"cat", "dog"});
}

TEST(Csv, NothingListed) {
  expect_error("", "L.csv: no images are listed");
  expect_error("file,label-name,label-number\n", "L.csv: no images are listed");
}

TEST(Csv, BadRowsAreSkippedUpToTheirNumber) {
  const std::string text = "a.jpg,cat,0\nbroken\nb.jpg,cat,0\na.jpg,cat,0\n";
  BadRows two(2);
  const auto list = parse_csv(text, "L.csv", {}, two);
  ASSERT_TRUE(list.ok()) << list.status().message();
  EXPECT_THAT(files(*list), ElementsAre("a.jpg", "b.jpg"));
  EXPECT_THAT(two.messages(), ElementsAre(StartsWith("L.csv:2: 1 field"), StartsWith("L.csv:4: duplicate")));
  BadRows one(1);
  const auto refused = parse_csv(text, "L.csv", {}, one);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(),
              testing::AllOf(StartsWith("L.csv:4: "), HasSubstr(" (2 bad lines found, 1 may be left out)")));
  BadRows none(0, "line", "--skip-bad");
  EXPECT_THAT(parse_csv(text, "L.csv", {}, none).status().message(),
              testing::AllOf(StartsWith("L.csv:2: 1 field"),
                             testing::EndsWith(" (2 bad lines found; --skip-bad N leaves such lines out)")));
  BadRows many(9);
  const Status failing(StatusCode::kIo, "a.jpg: Input/output error");
  EXPECT_EQ(many.add(1, failing).code(), StatusCode::kIo);
  EXPECT_THAT(many.messages(), testing::IsEmpty());
}

TEST(Labels, OneALine) {
  const auto labels = parse_labels(
      "\xef\xbb\xbf"
      "T-shirt\r\nAnkle boot\n",
      "labels.txt");
  ASSERT_TRUE(labels.ok()) << labels.status().message();
  EXPECT_THAT(*labels, ElementsAre("T-shirt", "Ankle boot"));
  EXPECT_THAT(parse_labels("a\nb\na\n", "l").status().message(),
              StartsWith("l:3: class 'a' is also in line 1"));
  EXPECT_THAT(parse_labels("a\n\nb\n", "l").status().message(), StartsWith("l:2: the class name is empty"));
  EXPECT_FALSE(parse_labels("", "l").ok());
}

}  // namespace
}  // namespace nacre
