#include "serialize/tensorflow/checkpoint_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/serialize/test_files.h"

namespace nacre {
namespace {

using testing::HasSubstr;

CheckpointState parsed(const std::string& text) {
  const auto state = parse_checkpoint_state(text);
  EXPECT_TRUE(state.ok()) << text << ": " << state.status().message();
  return state.ok() ? *state : CheckpointState{};
}

TEST(CheckpointState, ReadsWhatTensorFlowWrites) {
  // Of Saver and of CheckpointManager.
  EXPECT_EQ(parsed("model_checkpoint_path: \"model.ckpt-100\"\n"
                   "all_model_checkpoint_paths: \"model.ckpt-0\"\n"
                   "all_model_checkpoint_paths: \"model.ckpt-100\"\n"),
            (CheckpointState{"model.ckpt-100", {"model.ckpt-0", "model.ckpt-100"}}));
  EXPECT_EQ(parsed("model_checkpoint_path: \"/data/ckpt-1\"\n"
                   "all_model_checkpoint_paths: \"/data/ckpt-1\"\n"
                   "all_model_checkpoint_timestamps: 1795695044.8834362\n"
                   "last_preserved_timestamp: 1.795695e+09\n"),
            (CheckpointState{"/data/ckpt-1", {"/data/ckpt-1"}}));
}

TEST(CheckpointState, TextFormat) {
  EXPECT_EQ(parsed("# a comment\n\n  model_checkpoint_path :\t'a' # another\n\"b\"; x: true, y: 'z'").latest,
            "ab");
  EXPECT_EQ(parsed(R"(model_checkpoint_path: "\"\\\n\t\303\244\x41\7")").latest, "\"\\\n\tä\x41\x07");
  EXPECT_EQ(parsed("model_checkpoint_path: \"a\"\r\nmodel_checkpoint_path: \"b\"\r\n").latest, "b");
}

TEST(CheckpointState, WhatItWritesItReads) {
  std::string all_bytes;
  for (int c = 1; c < 256; ++c) all_bytes += static_cast<char>(c);
  const CheckpointState state{all_bytes, {"a b", "\"", "\\", all_bytes}};
  EXPECT_EQ(parsed(checkpoint_state_text(state)), state);
  EXPECT_EQ(
      checkpoint_state_text({"a", {"b", "a"}}),
      "model_checkpoint_path: \"a\"\nall_model_checkpoint_paths: \"b\"\nall_model_checkpoint_paths: \"a\"\n");
}

TEST(CheckpointState, WhatIsNoneIsRefusedWithItsLine) {
  const auto refused = [](const std::string& text, const std::string& message) {
    const auto state = parse_checkpoint_state(text);
    EXPECT_EQ(state.status().code(), StatusCode::kCorrupt) << text;
    EXPECT_THAT(state.status().message(), HasSubstr(message)) << text;
  };
  refused("", "line 1: has no model_checkpoint_path");
  refused("all_model_checkpoint_paths: \"a\"\n\n", "line 3: has no model_checkpoint_path");
  refused("\nmodel_checkpoint_path \"a\"", "line 2: expected NAME: VALUE");
  refused("{\"json\": 1}", "expected NAME: VALUE");
  refused("\x89NCK\r\n", "expected NAME: VALUE");
  refused("model_checkpoint_path: a", "model_checkpoint_path: expected a text in quotes");
  refused("model_checkpoint_path: \"\"", "no path");
  refused(R"(model_checkpoint_path: "a\0b")", "no path");
  refused("x: {}", "x: expected a number, a word or a text");
  refused("x:", "x: expected a number, a word or a text");
  for (const char* text : {"model_checkpoint_path: \"a", "model_checkpoint_path: \"a\n\"", "x: 'a\"",
                           "model_checkpoint_path: \"a\" \"b"}) {
    refused(text, "a text without end");
  }
  for (const char* escape : {"\\", "\\q", "\\xg", "\\777", "\\9"}) {
    refused(std::string("model_checkpoint_path: \"") + escape, "an escape that is not known");
  }
}

TEST(CheckpointState, EveryByteChangedIsReadOrRefused) {
  const std::string good =
      "model_checkpoint_path: \"a\\303\\244\"\nx: 'y' # z\nall_model_checkpoint_paths: \"a\"\n";
  size_t refused = 0;
  for (size_t i = 0; i < good.size(); ++i) {
    for (int c = 0; c < 256; ++c) {
      std::string text = good;
      text[i] = static_cast<char>(c);
      const auto state = parse_checkpoint_state(text);
      if (!state.ok()) {
        ++refused;
        EXPECT_EQ(state.status().code(), StatusCode::kCorrupt);
      }
    }
  }
  EXPECT_GT(refused, 1000U);
}

TEST(CheckpointState, LatestOfAFolder) {
  const TempFolder folder;
  EXPECT_EQ(latest_tf_checkpoint(folder.path()).status().code(), StatusCode::kIo);
  const auto latest = [&](const std::string& path) {
    write_text(folder.file("checkpoint"), checkpoint_state_text({path, {}}));
    const auto prefix = latest_tf_checkpoint(folder.path());
    EXPECT_TRUE(prefix.ok()) << prefix.status().message();
    return prefix.ok() ? *prefix : "";
  };
  EXPECT_EQ(latest("model.ckpt-7"), folder.file("model.ckpt-7"));
  EXPECT_EQ(latest("./sub/model"), folder.file("sub/model"));
  // Never out of the folder: it may have been moved, and others may have written the file.
  EXPECT_EQ(latest("/elsewhere/model.ckpt-7"), folder.file("model.ckpt-7"));
  EXPECT_EQ(latest("../other/model"), folder.file("model"));
  EXPECT_EQ(latest("sub/../../model"), folder.file("model"));
  write_text(folder.file("checkpoint"), "nonsense");
  EXPECT_EQ(latest_tf_checkpoint(folder.path()).status().message(),
            folder.file("checkpoint") + ": line 1: expected NAME: VALUE");
  write_text(folder.file("checkpoint"), std::string(kMaxCheckpointStateBytes + 1, ' '));
  EXPECT_EQ(latest_tf_checkpoint(folder.path()).status().code(), StatusCode::kLimit);
}

TEST(CheckpointState, NewOnesComeLast) {
  const TempFolder folder;
  for (const auto& [name, all] : std::vector<std::pair<std::string, std::vector<std::string>>>{
           {"a", {"a"}}, {"b", {"a", "b"}}, {"a", {"b", "a"}}}) {
    const auto state = state_with_checkpoint(folder.file(name));
    ASSERT_TRUE(state.ok()) << state.status().message();
    EXPECT_EQ(*state, (CheckpointState{name, all}));
    ASSERT_TRUE(write_checkpoint_state(folder.path(), *state).ok());
  }
  write_text(folder.file("checkpoint"), "something else");
  EXPECT_EQ(state_with_checkpoint(folder.file("a")).status().code(), StatusCode::kCorrupt);
}

}  // namespace
}  // namespace nacre
