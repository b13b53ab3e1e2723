#include "serve/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>

namespace nacre {
namespace {

constexpr std::string_view kServing = ":tensorflow:serving:";
constexpr std::string_view kOwn = ":nacre:serving:";

std::vector<double> powers(double first, double factor, int count) {
  std::vector<double> limits;
  for (int i = 0; i < count; ++i) limits.push_back(first * std::pow(factor, i));
  return limits;
}

/// TensorFlow Serving's: microseconds, 10 * 1.8^i.
const std::vector<double>& latency_limits() {
  static const std::vector<double> limits = powers(10, 1.8, 33);
  return limits;
}

const std::vector<double>& count_limits() {
  static const std::vector<double> limits = powers(1, 2, 15);
  return limits;
}

struct Label {
  std::string_view name;
  std::string_view value;
};

/// `name="value",...`, until the thread's next call: nothing is allocated for a call that is counted.
std::string_view text_of(std::initializer_list<Label> labels) {
  thread_local std::string text;
  text.clear();
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ',';
    text += name;
    text += "=\"";
    for (const char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      if (c == '\n') {
        text += "\\n";
      } else {
        text += c;
      }
    }
    text += '"';
  }
  return text;
}

/// What is counted under `labels`, from 0 on.
template <typename Family>
typename Family::mapped_type& entry(Family& family, std::string_view labels) {
  const auto found = family.find(labels);
  return found != family.end() ? found->second : family[std::string(labels)];
}

}  // namespace

void ServeMetrics::count_call(const CallKind& kind, std::string_view model, std::string_view signature,
                              RpcCode code, std::chrono::microseconds latency) {
  const Label name{"model_name", model};
  const Label status{"status", rpc_code_name(code)};
  const std::lock_guard lock(mutex_);
  ++entry(requests_, text_of({name, status}));
  ++entry(signature_requests_, text_of({name, {"signature", signature}, status}));
  if (code == RpcCode::kOk) {
    observe(request_latency_, text_of({name, {"API", kind.api}, {"entrypoint", kind.entrypoint}}),
            latency_limits(), static_cast<double>(latency.count()));
  }
}

void ServeMetrics::count_refusal(std::string_view entrypoint, std::string_view reason) {
  const std::lock_guard lock(mutex_);
  ++entry(refusals_, text_of({{"entrypoint", entrypoint}, {"reason", reason}}));
}

void ServeMetrics::count_run(std::string_view model, size_t rows, std::chrono::microseconds latency) {
  const std::lock_guard lock(mutex_);
  entry(examples_total_, text_of({{"model", model}})) += rows;
  observe(examples_, text_of({{"model", model}}), count_limits(), static_cast<double>(rows));
  observe(runtime_latency_, text_of({{"model_name", model}, {"API", "Predict"}, {"runtime", "nacre"}}),
          latency_limits(), static_cast<double>(latency.count()));
}

void ServeMetrics::count_batch(size_t rows) {
  const std::lock_guard lock(mutex_);
  observe(batch_size_, "", count_limits(), static_cast<double>(rows));
}

void ServeMetrics::count_load(std::string_view model, bool loaded) {
  const std::lock_guard lock(mutex_);
  ++entry(loads_, text_of({{"model_name", model}, {"status", loaded ? "OK" : "FAILED"}}));
}

void ServeMetrics::count_warm_up(std::string_view model, std::chrono::microseconds latency) {
  const std::lock_guard lock(mutex_);
  observe(warm_up_latency_, text_of({{"model_name", model}}), latency_limits(),
          static_cast<double>(latency.count()));
}

void ServeMetrics::add_gauge(std::string name, std::function<double()> value) {
  const std::lock_guard lock(mutex_);
  gauges_[std::move(name)] = std::move(value);
}

std::string ServeMetrics::prometheus() const {
  std::string out;
  const std::lock_guard lock(mutex_);
  const auto name = [](std::string_view prefix, std::string_view rest) {
    return fmt::format("{}{}", prefix, rest);
  };
  show(out, name(kServing, "request_count"), requests_);
  show(out, name(kServing, "request_latency"), request_latency_, latency_limits());
  show(out, name(kServing, "runtime_latency"), runtime_latency_, latency_limits());
  show(out, name(kServing, "request_example_counts"), examples_, count_limits());
  show(out, name(kServing, "request_example_count_total"), examples_total_);
  show(out, name(kServing, "model_warmup_latency"), warm_up_latency_, latency_limits());
  show(out, name(kOwn, "signature_request_count"), signature_requests_);
  show(out, name(kOwn, "refused_request_count"), refusals_);
  show(out, name(kOwn, "model_load_count"), loads_);
  show(out, name(kOwn, "batch_size"), batch_size_, count_limits());
  for (const auto& [gauge, value] : gauges_) {
    out += fmt::format("# TYPE {0}{1} gauge\n{0}{1} {2}\n", kOwn, gauge, value());
  }
  return out;
}

void ServeMetrics::observe(Histograms& family, std::string_view labels, const std::vector<double>& limits,
                           double value) {
  Histogram& histogram = entry(family, labels);
  histogram.buckets.resize(limits.size() + 1);
  const auto bucket = std::ranges::lower_bound(limits, value) - limits.begin();
  ++histogram.buckets[static_cast<size_t>(bucket)];
  histogram.sum += value;
}

void ServeMetrics::show(std::string& out, std::string_view name, const Counters& family) {
  out += fmt::format("# TYPE {} counter\n", name);
  for (const auto& [labels, value] : family) out += fmt::format("{}{{{}}} {}\n", name, labels, value);
}

void ServeMetrics::show(std::string& out, std::string_view name, const Histograms& family,
                        const std::vector<double>& limits) {
  out += fmt::format("# TYPE {} histogram\n", name);
  for (const auto& [labels, histogram] : family) {
    const std::string_view comma = labels.empty() ? "" : ",";
    uint64_t count = 0;
    for (size_t i = 0; i < histogram.buckets.size(); ++i) {
      count += histogram.buckets[i];
      const std::string limit = i < limits.size() ? fmt::format("{:g}", limits[i]) : "+Inf";
      out += fmt::format("{}_bucket{{{}{}le=\"{}\"}} {}\n", name, labels, comma, limit, count);
    }
    out +=
        fmt::format("{}_sum{{{}}} {}\n{}_count{{{}}} {}\n", name, labels, histogram.sum, name, labels, count);
  }
}

}  // namespace nacre
