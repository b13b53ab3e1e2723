#include "serve/answer_threads.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace nacre {
namespace {

using namespace std::chrono_literals;

/// A transport whose events are functions.
class Transport {
 public:
  void bring(std::function<void()> event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    changed_.notify_one();
  }
  void end() {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  AnswerThreads::Received receive(bool wait) {
    std::unique_lock lock(mutex_);
    if (wait) changed_.wait(lock, [this] { return ended_ || !events_.empty(); });
    if (!events_.empty()) {
      const std::function<void()> event = std::move(events_.front());
      events_.pop_front();
      lock.unlock();
      event();
      return AnswerThreads::Received::kEvent;
    }
    return ended_ ? AnswerThreads::Received::kEnd : AnswerThreads::Received::kNothing;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> events_;
  bool ended_ = false;
};

class AnswerThreadsTest : public testing::Test {
 protected:
  void start(const AnswerThreads::Options& options) {
    threads_.emplace(options);
    threads_->start([this](bool wait) { return transport_.receive(wait); });
  }
  ~AnswerThreadsTest() override { stop(); }
  void stop() {
    let_go();
    transport_.end();
    if (threads_.has_value()) threads_->stop();
  }

  /// A job comes, and says its name when it is answered.
  void request(int name, AnswerThreads::Job kind = {}) {
    kind.answer = [this, name] { say(name); };
    submit(kind);
  }
  /// The same, but its answer takes until `let_go`.
  void slow_request(int name) {
    submit({[this, name] {
      say(name);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return gone_; });
    }});
  }
  void submit(const AnswerThreads::Job& job) {
    transport_.bring([this, job] {
      AnswerThreads::Job mine = job;
      if (!threads_->submit(std::move(mine))) say(kRefused);
    });
  }
  void say(int name) {
    const std::lock_guard lock(mutex_);
    said_.push_back(name);
    changed_.notify_all();
  }
  bool has_said(int name) {
    const std::lock_guard lock(mutex_);
    return std::ranges::find(said_, name) != said_.end();
  }
  void let_go() {
    const std::lock_guard lock(mutex_);
    gone_ = true;
    changed_.notify_all();
  }
  /// What has been said, once it is as much as that or a while has passed.
  std::vector<int> said(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 10s, [&] { return said_.size() >= count; });
    return said_;
  }

  static constexpr int kRefused = -1;
  Transport transport_;
  std::optional<AnswerThreads> threads_;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int> said_;
  bool gone_ = false;
};

TEST_F(AnswerThreadsTest, AnswersEachOnce) {
  start({.at_once = 1, .max_waiting = 1000});
  std::vector<int> all;
  for (int i = 0; i < 500; ++i) {
    request(i);
    all.push_back(i);
  }
  // Two threads may receive at the same time, and submit in either order.
  EXPECT_THAT(said(all.size()), ::testing::UnorderedElementsAreArray(all));
}

TEST_F(AnswerThreadsTest, AnswersSoManyAtOnceAndGoesOnReceiving) {
  std::atomic<size_t> waiting{0};
  start({.at_once = 2, .max_waiting = 1, .waiting = &waiting});
  slow_request(1);
  slow_request(2);
  EXPECT_EQ(said(2).size(), 2U);
  request(3);
  request(4);  // one may wait
  EXPECT_EQ(said(3).back(), kRefused);
  EXPECT_EQ(waiting, 1U);
  request(5, {.is_quick = true});
  EXPECT_EQ(said(4).back(), 5);
  let_go();
  EXPECT_EQ(said(5).back(), 3);
  EXPECT_EQ(waiting, 0U);
}

TEST_F(AnswerThreadsTest, QuickOnesLeaveATurnToOthers) {
  start({.at_once = 1});
  transport_.bring([this] {
    for (int i = 0; i < 100; ++i) {
      threads_->submit({.answer = [this, i] { say(i); }, .is_quick = true});
      if (i == 10) threads_->submit({[this] { say(1000); }});
    }
  });
  const std::vector<int> order = said(101);
  ASSERT_EQ(order.size(), 101U);
  EXPECT_LT(std::ranges::find(order, 1000) - order.begin(), 30);
}

TEST_F(AnswerThreadsTest, QuickOnesThatNeverEndDoNotKeepOthersOut) {
  start({.at_once = 1});
  std::atomic<bool> over{false};
  // As many as there are threads, each of which brings the next one: a client that sends one after the other.
  std::function<void()> again = [&] {
    if (!over) threads_->submit({.answer = again, .is_quick = true});
  };
  for (int i = 0; i < 2; ++i) transport_.bring(again);
  std::this_thread::sleep_for(5ms);
  request(1);
  EXPECT_EQ(said(1), std::vector{1});
  over = true;
  stop();
}

TEST_F(AnswerThreadsTest, AnAnswerMayLetAShortOnePass) {
  start({.at_once = 1});
  submit({[this] {
    say(1);
    while (!has_said(3)) threads_->answer_another();
    say(4);
  }});
  said(1);
  request(2);  // a long one
  request(3, {.is_short = true});
  EXPECT_EQ(said(4), (std::vector{1, 3, 4, 2}));
}

TEST_F(AnswerThreadsTest, AnAnswerMayLetThoseOfItsKindPassAlone) {
  start({.at_once = 1});
  submit({[this] {
    say(1);
    while (!has_said(3)) threads_->answer_another(7);
    say(4);
  }});
  said(1);
  request(2, {.is_short = true, .kind = 8});
  request(3, {.is_short = true, .kind = 7});
  EXPECT_EQ(said(4), (std::vector{1, 3, 4, 2}));
}

TEST_F(AnswerThreadsTest, WhoWaitsForCompanyLeavesOneToEachOtherThread) {
  std::atomic<size_t> waiting{0};
  std::atomic<bool> over{false};
  start({.at_once = 2, .waiting = &waiting});
  slow_request(1);
  submit({[&] {
    say(2);
    while (!over) threads_->answer_another(7);
  }});
  said(2);
  request(3, {.is_short = true, .kind = 7});
  while (waiting == 0) std::this_thread::yield();
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(has_said(3)) << "the other thread answers it next";
  request(4, {.is_short = true, .kind = 7});
  EXPECT_EQ(said(3).back(), 3);
  std::this_thread::sleep_for(20ms);
  EXPECT_FALSE(has_said(4));
  over = true;
  EXPECT_EQ(said(4).back(), 4);
}

TEST_F(AnswerThreadsTest, WhatIsPostponedComesNextAndNeverWithinAnother) {
  start({.at_once = 1});
  std::atomic<bool> postponed{false};
  submit({[&] {
    while (!postponed) threads_->answer_another();
    threads_->answer_another();
    say(1);
  }});
  submit({.answer =
              [&] {
                postponed = true;
                threads_->submit_again([this] { say(2); });
              },
          .is_short = true});
  request(3);
  EXPECT_EQ(said(3), (std::vector{1, 2, 3}));
}

TEST_F(AnswerThreadsTest, LetsNoneOtherPassWhileAThreadIsIdle) {
  start({.at_once = 2});
  std::atomic<bool> another{true};
  submit({[&] {
    another = threads_->answer_another();
    say(1);
  }});
  said(1);
  EXPECT_FALSE(another);
}

TEST_F(AnswerThreadsTest, TakesNoMoreThanMayWaitOfOneEvent) {
  start({.at_once = 1, .max_waiting = 2});
  std::atomic<int> refused{0};
  transport_.bring([&] {
    for (int i = 1; i <= 5; ++i)
      if (!threads_->submit({[this, i] { say(i); }})) ++refused;
  });
  EXPECT_EQ(said(3), (std::vector{1, 2, 3}));
  EXPECT_EQ(refused, 2);
}

TEST_F(AnswerThreadsTest, DropsWhatWaitsAtTheEnd) {
  std::atomic<size_t> waiting{0};
  const auto held = std::make_shared<int>();
  start({.at_once = 1, .waiting = &waiting});
  slow_request(1);
  said(1);
  submit({[this, held] { say(2); }});
  while (waiting == 0) std::this_thread::yield();
  transport_.end();
  std::this_thread::sleep_for(20ms);  // the thread that looks has seen it then
  stop();
  EXPECT_EQ(said(1), std::vector{1});
  EXPECT_EQ(waiting, 0U);
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace nacre
