#include "cli/predict_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "cli/batch_input.h"
#include "cli/batch_instance.h"
#include "cli/command.h"
#include "cli/console.h"
#include "cli/output_file.h"
#include "cli/progress.h"
#include "cli/stop_signal.h"
#include "engine/file.h"
#include "serialize/append_file.h"
#include "serialize/atomic_file.h"

namespace nacre {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

/// Bad instances that are told of on stderr, too.
constexpr int64_t kMaxTold = 10;
constexpr std::string_view kErrorHead = "{\"error\":";

std::string_view as_text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

/// The answers so far: OUT.partial, whose first line says what they are answers to.
struct Partial {
  AppendFile file;
  size_t head = 0;      ///< bytes of the first line
  int64_t answers = 0;  ///< that it holds
  int64_t bad = 0;      ///< errors among them
};

Result<Partial> open_partial(const std::string& path, const std::string& head) {
  size_t kept = 0;
  int64_t answers = 0;
  int64_t bad = 0;
  std::error_code none;
  if (fs::exists(path, none)) {
    NACRE_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::open(path));
    const std::string_view text = as_text(*file);
    // A kill may have left a part of the head. All else is not ours to throw away.
    if (!head.starts_with(text.substr(0, head.size()))) {
      return Status(StatusCode::kBadData,
                    path +
                        ": was begun with another input, model, --top-k or instruction set, or by another "
                        "program; remove it to begin anew");
    }
    if (text.size() >= head.size()) kept = head.size();
    // What a kill or a power cut left half-written is computed again.
    while (kept > 0) {
      const size_t end = text.find('\n', kept);
      if (end == std::string_view::npos || text[kept] != '{' || text[end - 1] != '}') break;
      ++answers;
      if (text.substr(kept).starts_with(kErrorHead)) ++bad;
      kept = end + 1;
    }
  }
  NACRE_ASSIGN_OR_RETURN(AppendFile file, AppendFile::open(path, AppendFile::Open::kGoOn));
  NACRE_RETURN_IF_ERROR(file.truncate(static_cast<int64_t>(kept)));
  if (kept == 0) file.add(head);
  NACRE_RETURN_IF_ERROR(file.flush());
  return Partial{std::move(file), head.size(), answers, bad};
}

class BatchRun {
 public:
  BatchRun(const BatchOptions& options, const Model& model, BatchInput input, Partial partial)
      : options_(options),
        model_(model),
        input_(std::move(input)),
        partial_(std::move(partial)),
        progress_(LiveLine::possible()) {}

  Status run() {
    const StopSignal stop;
    for (int64_t i = 0; i < partial_.answers; ++i) NACRE_RETURN_IF_ERROR(input_.next().status());
    before_ = partial_.answers;
    share_before_ = input_.share();
    if (before_ > 0)
      print_message(fmt::format("{}: goes on after {}", options_.out, counted(before_, "instance")));
    for (bool more = true; more;) {
      std::vector<Instance> batch;
      while (batch.size() < options_.batch_size && more) {
        NACRE_ASSIGN_OR_RETURN(const std::optional<std::string> line, input_.next());
        more = line.has_value();
        if (more) batch.push_back(read_instance(*line, input_.line_number()));
      }
      if (Status same = input_.check_unchanged(); !same.ok()) {
        NACRE_RETURN_IF_ERROR(partial_.file.flush());
        progress_.clear();
        return same;
      }
      answer(batch);
      NACRE_RETURN_IF_ERROR(partial_.file.flush_when_due());
      if (more && progress_.due()) progress_.renew(progress_line(true), progress_line(false));
      if (const int signal = StopSignal::received(); signal != 0 && more) {
        NACRE_RETURN_IF_ERROR(partial_.file.flush());
        progress_.clear();
        return {signal == SIGINT ? StatusCode::kInterrupted : StatusCode::kTerminated,
                fmt::format("{}: stopped after {}; the same command goes on", options_.out,
                            counted(partial_.answers, "instance"))};
      }
    }
    progress_.clear();
    return partial_.file.flush();
  }
  [[nodiscard]] const Partial& partial() const { return partial_; }

 private:
  void answer(const std::vector<Instance>& batch) {
    std::vector<std::span<const std::byte>> images;
    for (const Instance& instance : batch)
      if (instance.image.ok()) images.emplace_back(*instance.image);
    const std::vector<Model::Answer> answers = model_.classify(images);
    size_t at = 0;
    for (const Instance& instance : batch) {
      const Model::Answer answer = instance.image.ok() ? of_image(answers[at++]) : instance.image.status();
      OrderedJson line;
      if (answer.ok()) {
        line["prediction"] = *answer;
        if (options_.top_k > 0) line["top"] = prediction_json(model_.best(*answer, options_.top_k));
      } else {
        line["error"] = answer.status().message();
        ++partial_.bad;
        tell(instance, answer.status());
      }
      std::string text = line.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
      if (!instance.key.empty()) text.replace(text.size() - 1, 1, ",\"key\":" + instance.key + "}");
      partial_.file.add(text + "\n");
      ++partial_.answers;
    }
  }
  /// An error of decoding has no subject of its own.
  static Model::Answer of_image(const Model::Answer& answer) {
    if (answer.ok()) return answer;
    return answer.status().at("image");
  }
  void tell(const Instance& instance, const Status& error) {
    if (++told_ > kMaxTold) return;
    progress_.clear();
    print_message(fmt::format("{}:{}: {}", options_.in, instance.line, error.message()));
    if (told_ == kMaxTold)
      print_message(options_.in + ": further bad instances are told in the output alone");
  }
  [[nodiscard]] std::string progress_line(bool live) const {
    const double seconds = std::chrono::duration<double>(Clock::now() - begin_).count();
    const double share = input_.share();
    const auto rate = static_cast<double>(partial_.answers - before_) / seconds;
    const std::string text =
        fmt::format("{}, {} bad, {}/s, {:.1f}%, {} left", counted(partial_.answers, "instance"),
                    with_commas(partial_.bad), with_commas(static_cast<int64_t>(rate)), 100 * share,
                    readable_duration(seconds * (1 - share) / (share - share_before_)));
    return live ? with_bar(text, share, LiveLine::width()) : text;
  }

  const BatchOptions& options_;
  const Model& model_;
  BatchInput input_;
  Partial partial_;
  LiveLine progress_;
  Clock::time_point begin_ = Clock::now();
  int64_t before_ = 0;       ///< answers of an earlier call
  double share_before_ = 0;  ///< of the input
  int64_t told_ = 0;
};

}  // namespace

OrderedJson prediction_json(std::span<const Prediction> predictions) {
  OrderedJson list = OrderedJson::array();
  for (const Prediction& p : predictions)
    list.push_back({{"label", p.label}, {"index", p.index}, {"probability", p.probability}});
  return list;
}

Status predict_batch(const BatchOptions& options, const Model& model) {
  for (const auto& [option, file] : {std::pair{"--batch", options.in}, {"FILE", options.model_file}}) {
    std::error_code error;  // of what is not there
    if (!fs::equivalent(file, options.out, error) || error) continue;
    return {StatusCode::kUsage, "--out: " + options.out + " is " + option +
                                    ", too, which the answers would replace; give another file"};
  }
  if (!options.overwrite) NACRE_RETURN_IF_ERROR(check_not_there(options.out));
  NACRE_RETURN_IF_ERROR(make_parents(options.out));
  // It keeps a second process out from the first moment.
  NACRE_ASSIGN_OR_RETURN(AtomicFile out, AtomicFile::create(options.out, options.overwrite));
  NACRE_ASSIGN_OR_RETURN(BatchInput input, BatchInput::open(options.in));
  const OrderedJson head = {{"answers_to", fmt::format("{:016x}", input.digest())},
                            {"model", fmt::format("{:016x}", options.model_checksum)},
                            {"isa", options.isa},
                            {"top_k", options.top_k},
                            {"nacre", nacre_version()}};
  const std::string path = options.out + ".partial";
  NACRE_ASSIGN_OR_RETURN(Partial partial, open_partial(path, head.dump() + "\n"));
  BatchRun run(options, model, std::move(input), std::move(partial));
  NACRE_RETURN_IF_ERROR(run.run());
  {
    NACRE_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> answers, MappedFile::open(path));
    NACRE_RETURN_IF_ERROR(out.write(answers->bytes().subspan(run.partial().head)));
  }
  NACRE_RETURN_IF_ERROR(out.commit());
  std::error_code error;
  fs::remove(path, error);
  if (error) return {StatusCode::kIo, path + ": " + error.message()};
  NACRE_RETURN_IF_ERROR(
      print(fmt::format("Wrote {}: {}.\n", options.out, counted(run.partial().answers, "instance"))));
  if (run.partial().bad == 0) return {};
  return {StatusCode::kBadData,
          fmt::format("{}: {} of {} could not be classified", options.in, with_commas(run.partial().bad),
                      counted(run.partial().answers, "instance"))};
}

}  // namespace nacre
