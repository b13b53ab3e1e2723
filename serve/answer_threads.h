#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace nacre {

/// A transport's threads. Whoever receives a whole request answers it and sends the reply, so nothing is
/// handed from thread to thread. One thread more than may answer at the same time keeps receiving while all
/// of them do. Thread-safe.
class AnswerThreads {
 public:
  struct Job {
    std::function<void()> answer{};  ///< must not throw
    bool is_short = false;           ///< may be answered within another
    /// Is answered before others, beside those that are being answered; when there are many, others have a
    /// turn now and then.
    bool is_quick = false;
    size_t kind = 0;  ///< equal for those that ask the same of the same model
  };
  enum class Received : uint8_t { kEvent, kNothing, kEnd };
  /// Takes in the next thing that the transport brings, which may submit a job: the thread comes for it next.
  /// Waits for it, or says kNothing; kEnd once no more will come, to everybody.
  using Receive = std::function<Received(bool wait)>;

  struct Options {
    size_t at_once = 1;                      ///< jobs that are answered at the same time
    size_t max_waiting = 1024;               ///< jobs that wait for one of those
    std::atomic<size_t>* waiting = nullptr;  ///< counts the jobs that wait; may be null
  };

  explicit AnswerThreads(const Options& options);
  ~AnswerThreads() { stop(); }
  AnswerThreads(const AnswerThreads&) = delete;
  AnswerThreads& operator=(const AnswerThreads&) = delete;

  /// `wake`, which may be empty, has one thread that waits in `receive` return from it, if there is one.
  void start(Receive receive, std::function<void()> wake = {});
  /// Waits for the threads, to which `Receive` must say that it has ended. Jobs that wait are dropped.
  void stop();

  /// False, and the job stays as it is, when as many are being answered and wait as may be; a quick one is
  /// always taken. To be called within `Receive` or an answer.
  bool submit(Job&& job);
  /// Takes back a job that an answer has begun and postponed: it is the next one, and not short any more.
  void submit_again(std::function<void()> answer);
  /// CallContext::other_calls: answers a short job that waits (of that kind alone, if there is one, and while
  /// as many wait as there are other threads), or else takes in one event and answers what came of it;
  /// neither if a thread is idle, which does it sooner. False when there was nothing to do.
  bool answer_another(std::optional<size_t> kind = {});

 private:
  using Lock = std::unique_lock<std::mutex>;
  using Jobs = std::deque<Job>;

  [[nodiscard]] bool nothing_waits() const { return jobs_.empty() && quick_.empty(); }
  [[nodiscard]] bool quick_is_next(bool others) const;
  [[nodiscard]] bool all_busy() const { return answering_ >= options_.at_once; }
  [[nodiscard]] bool wants_receiver() const { return answering_ + receiving_ < options_.at_once; }
  void serve();
  Received wait_for_event();
  void stand_by(Lock& lock);
  void call_for_jobs();
  enum class Answered : uint8_t { kNone, kQuick, kOther };
  Answered answer_next(Lock& lock);
  Job take(Jobs& jobs, Jobs::iterator place);
  Job take_short(std::optional<size_t> kind);

  Options options_;
  Receive receive_;
  std::function<void()> wake_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable called_;
  Jobs quick_;
  Jobs jobs_;
  size_t quick_in_a_row_ = 0;  ///< that were taken since another was
  size_t answering_ = 0;
  size_t receiving_ = 0;  ///< threads that wait in receive_
  size_t watching_ = 0;   ///< threads that look now and then
  bool ended_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace nacre
