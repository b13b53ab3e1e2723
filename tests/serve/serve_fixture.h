#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/bundle.h"
#include "runtime/model.h"
#include "serve/rest/rest_server.h"
#include "serve/serve_core.h"
#include "tests/serialize/test_files.h"

namespace nacre {

/// For what goes together however slow the machine is.
inline constexpr std::chrono::microseconds kUnhurried = std::chrono::minutes(1);

/// A small model: colour pictures of 6x6 pixels, `classes` named "a", "b", ... Another seed is another model.
Bundle make_small_bundle(uint64_t seed, int64_t classes = 3, bool labels = true);

/// An encoded PNG of any size; another number is another picture.
std::vector<std::byte> make_picture(int number, int64_t height = 8, int64_t width = 7);

/// A test with a folder of its own, version folders in it, and a server on them.
class ServeTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  [[nodiscard]] std::string path(const std::string& name) const { return folder_.file(name); }
  /// Writes FOLDER/model.nacre as `nacre export` does.
  void write_version(const std::string& folder, const Bundle& bundle) const;
  void write_file(const std::string& name, std::string_view bytes) const;

  /// Makes the core and has it serve `configs`.
  void serve(std::vector<ModelConfig> configs);
  void serve_rest();
  [[nodiscard]] std::shared_ptr<const Servable> found(const std::string& name,
                                                      std::optional<int64_t> version = std::nullopt) const;
  /// What the log said.
  [[nodiscard]] std::vector<std::string> lines() const;

  TempFolder folder_;
  ServeCore::Options options_;
  RestOptions rest_options_;
  std::unique_ptr<ServeCore> core_;
  std::unique_ptr<RestServer> rest_;

 private:
  mutable std::mutex lines_mutex_;
  std::vector<std::string> lines_;
};

/// A reply as it came over the wire.
struct WireReply {
  int status = 0;  ///< 0 when there was none
  std::string head;
  std::string body;
};

/// A connection to the server; every call waits for at most 10 seconds.
class Wire {
 public:
  explicit Wire(uint16_t port);
  ~Wire();
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  [[nodiscard]] bool connected() const { return socket_ >= 0; }
  /// False when the other end does not take it.
  bool send(std::string_view bytes) const;
  WireReply receive(bool without_body = false);
  /// So many bytes, or fewer when the other end closes before.
  std::string read(size_t bytes);
  WireReply ask(std::string_view method, std::string_view target, std::string_view body = "",
                std::string_view headers = "");
  /// True when the server closes within `time`, having sent nothing more.
  [[nodiscard]] bool closes_within(std::chrono::milliseconds time) const;
  void close();
  void finish_sending() const;

 private:
  bool fill();
  int socket_ = -1;
  std::string buffer_;
};

/// True when `condition` becomes true within 20 seconds.
bool eventually(const std::function<bool()>& condition);

}  // namespace nacre
