// The loader of bench/load, by which the server is measured: what it counts, and from when to when.
#include <gmock/gmock.h>

#include <algorithm>

#include "bench/load/load.h"
#include "bench/load/rest_target.h"
#include "tests/serve/http_server_fixture.h"

namespace nacre {
namespace {

using load::Plan;
using load::Report;

class Load : public HttpServerTest {
 protected:
  Report run(const Plan& plan, const std::string& path = "/", const std::string& body = "ok") {
    const auto report = load::run(load::rest_target("127.0.0.1", server_->port(), path, {body}), plan);
    EXPECT_TRUE(report.ok()) << report.status().message();
    return report.ok() ? *report : Report();
  }
};

TEST_F(Load, AnAnswerCountsUntilItArrivesNotUntilItIsRead) {
  start();
  // What is asked for at 20 a second is answered at once, and read when the next is to be sent.
  const Report report = run({.connections = 2, .seconds = 0.6, .warm_up_seconds = 0, .rate = 20});
  EXPECT_EQ(report.errors, 0U) << report.first_error;
  EXPECT_EQ(report.requests, 12U);
  EXPECT_LT(report.percentile(0.5), 25) << "ms";
}

TEST_F(Load, ARequestThatWaitsForAConnectionCountsFromWhenItWasDue) {
  start();
  std::jthread releaser([this] {
    EXPECT_TRUE(eventually([this] { return held() == 1; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    release();
  });
  const Report report = run({.connections = 1, .seconds = 0.25, .warm_up_seconds = 0, .rate = 20}, "/hold");
  EXPECT_EQ(report.errors, 0U) << report.first_error;
  ASSERT_EQ(report.requests, 5U);  // due after 0, 50, 100, 150 and 200 ms
  EXPECT_GT(report.latencies_ms.front(), 95);
  EXPECT_GT(report.latencies_ms.back(), 290);
  EXPECT_TRUE(std::ranges::is_sorted(report.latencies_ms));
}

TEST_F(Load, AsFastAsItGoesAllConnectionsAreBusy) {
  options_.threads = 4;
  start();
  std::jthread releaser([this] {
    EXPECT_TRUE(eventually([this] { return held() == 4; }));
    release();
  });
  const Report report = run({.connections = 4, .warm_up_seconds = 0, .requests = 500}, "/hold");
  EXPECT_EQ(report.errors, 0U) << report.first_error;
  EXPECT_EQ(report.requests, 500U);
}

TEST_F(Load, RefusalsAreErrorsAndSayWhatTheServerSaid) {
  options_.limits.max_body_bytes = 10;
  start();
  const Report report = run({.connections = 1, .warm_up_seconds = 0, .requests = 1}, "/", "more than that");
  EXPECT_EQ(report.errors, 1U);
  EXPECT_EQ(report.requests, 0U);
  EXPECT_THAT(report.first_error, ::testing::HasSubstr("413"));
}

}  // namespace
}  // namespace nacre
