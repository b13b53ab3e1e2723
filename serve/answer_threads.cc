#include "serve/answer_threads.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "serve/cpu_seats.h"
#include "serve/warm_thread.h"

namespace nacre {
namespace {

/// How often a thread looks for more while all answer.
constexpr std::chrono::milliseconds kBusyPause{5};
/// Quick jobs that are answered before another has its turn.
constexpr size_t kQuickTurns = 4;
/// Quick jobs that a thread answers, each of which may bring the next one, before it looks for what else has
/// come.
constexpr size_t kQuickPerLook = 32;

}  // namespace

AnswerThreads::AnswerThreads(const Options& options) : options_(options) {
  options_.at_once = std::max<size_t>(options_.at_once, 1);
}

void AnswerThreads::start(Receive receive, std::function<void()> wake) {
  receive_ = std::move(receive);
  wake_ = std::move(wake);
  for (size_t i = 0; i < options_.at_once + 1; ++i) threads_.emplace_back([this] { serve(); });
}

void AnswerThreads::stop() {
  threads_.clear();
  while (!jobs_.empty()) take(jobs_, jobs_.begin());
  quick_.clear();
}

bool AnswerThreads::submit(Job&& job) {
  const std::lock_guard lock(mutex_);
  if (job.is_quick) {
    quick_.push_back(std::move(job));
    return true;
  }
  // One event may bring more than there are threads for, none of which has been taken yet.
  const size_t free = options_.at_once - std::min(answering_, options_.at_once);
  if (jobs_.size() >= options_.max_waiting + free) return false;
  jobs_.push_back(std::move(job));
  if (options_.waiting != nullptr) ++*options_.waiting;
  return true;
}

void AnswerThreads::submit_again(std::function<void()> answer) {
  const std::lock_guard lock(mutex_);
  jobs_.push_front({std::move(answer)});
  if (options_.waiting != nullptr) ++*options_.waiting;
}

bool AnswerThreads::answer_another(std::optional<size_t> kind) {
  Lock lock(mutex_);
  Job job = take_short(kind);
  bool busy = job.answer != nullptr;
  if (!busy && all_busy()) {
    lock.unlock();
    busy = receive_(false) == Received::kEvent;
    lock.lock();
    job = take_short(kind);
  }
  if (job.answer) {
    lock.unlock();
    job.answer();
    job.answer = nullptr;
    lock.lock();
  }
  // What has come, or what the answer has submitted, is not for this thread if another is idle.
  call_for_jobs();
  return busy;
}

/// Whether a quick job is to be taken, where there are `others` that may be taken in its place.
bool AnswerThreads::quick_is_next(bool others) const {
  return !quick_.empty() && (!others || quick_in_a_row_ < kQuickTurns);
}

/// Of what waits, while all answer; without an answer if there is none.
AnswerThreads::Job AnswerThreads::take_short(std::optional<size_t> kind) {
  if (!all_busy()) return {};
  // Those that wait for company leave to each other thread what it will answer next.
  if (kind.has_value() && jobs_.size() < options_.at_once) return {};
  const auto found = std::ranges::find_if(
      jobs_, [&](const Job& job) { return job.is_short && (!kind.has_value() || job.kind == *kind); });
  if (!kind.has_value() && quick_is_next(found != jobs_.end())) return take(quick_, quick_.begin());
  return found == jobs_.end() ? Job() : take(jobs_, found);
}

/// Answers what waits, or receives, as long as no more receive than may answer. While all answer, the thread
/// that is left would take the CPU from them if it waited for each event: they look themselves before they
/// take the next job, and it looks now and then in case that takes long.
void AnswerThreads::serve() {
  warm_thread();
  Lock lock(mutex_);
  bool calm = false;  // there was nothing when it looked last
  size_t quick = 0;   // answered since then
  while (!ended_) {
    const bool must_look = quick == kQuickPerLook;
    const Answered answered = must_look ? Answered::kNone : answer_next(lock);
    if (answered == Answered::kQuick) ++quick;
    if (answered != Answered::kNone) continue;
    quick = 0;
    const bool wait = !must_look && !all_busy();
    if (!must_look && (wait ? !wants_receiver() : calm)) {
      stand_by(lock);
      calm = false;
      continue;
    }
    if (wait) ++receiving_;
    lock.unlock();
    const Received received = wait ? wait_for_event() : receive_(false);
    lock.lock();
    if (wait) --receiving_;
    calm = received == Received::kNothing;
    if (received != Received::kEnd) continue;
    ended_ = true;
    called_.notify_all();
  }
}

AnswerThreads::Received AnswerThreads::wait_for_event() {
  const CpuSeats::Wait wait(CpuSeats::of_process(), this);
  return receive_(true);
}

/// Until it is called, or it is time to look. One thread looks now and then, while others answer.
void AnswerThreads::stand_by(Lock& lock) {
  if (!all_busy() && (wants_receiver() || ended_ || !nothing_waits())) return;
  if (answering_ == 0 || watching_ > 0) return called_.wait(lock);
  ++watching_;
  called_.wait_for(lock, kBusyPause);
  --watching_;
}

/// Has another thread come for what waits, if one is idle: that may receive, or stand by.
void AnswerThreads::call_for_jobs() {
  if (all_busy() || nothing_waits()) return;
  called_.notify_one();
  if (receiving_ > 0 && wake_) wake_();
}

/// kNone when no job waits that may be answered now.
AnswerThreads::Answered AnswerThreads::answer_next(Lock& lock) {
  const bool others = !jobs_.empty() && !all_busy();
  const bool quick = quick_is_next(others);
  if (!quick && !others) return Answered::kNone;
  Job job = quick ? take(quick_, quick_.begin()) : take(jobs_, jobs_.begin());
  if (!quick) ++answering_;
  // Somebody else must receive now, or look now and then, or answer the quick ones that had to let it pass.
  const bool lacks_receiver = all_busy() ? watching_ == 0 && receiving_ == 0 : wants_receiver();
  if (lacks_receiver || (!quick && !quick_.empty())) called_.notify_one();
  // One event may have brought several jobs, of which this is one.
  call_for_jobs();
  lock.unlock();
  {
    const CpuSeats::Seat seat(CpuSeats::of_process(), this);
    job.answer();
    job.answer = nullptr;  // what it holds goes without the lock
  }
  lock.lock();
  if (!quick) --answering_;
  return quick ? Answered::kQuick : Answered::kOther;
}

AnswerThreads::Job AnswerThreads::take(Jobs& jobs, Jobs::iterator place) {
  Job job = std::move(*place);
  jobs.erase(place);
  quick_in_a_row_ = &jobs == &quick_ ? quick_in_a_row_ + 1 : 0;
  if (&jobs == &jobs_ && options_.waiting != nullptr) --*options_.waiting;
  return job;
}

}  // namespace nacre
