#include "serve/rest/rest_server.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <string>
#include <string_view>
#include <utility>

#include "serve/rest/json_reply.h"

namespace nacre {
namespace {

/// Why HttpServer refuses a request, for the counters.
std::string_view reason_of(int status) {
  switch (status) {
    case 408:
      return "too_slow";
    case 413:
      return "body_too_long";
    case 429:
      return "too_many_requests";
    case 431:
      return "header_too_long";
    case 503:
      return "too_many_bytes";
    default:
      return "malformed";
  }
}

std::string now_text() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

}  // namespace

Result<std::unique_ptr<RestServer>> RestServer::start(const RestOptions& options, ServeCore& core) {
  std::unique_ptr<RestServer> server(new RestServer(core, options));
  const RestService& service = server->service_;
  HttpServer::Handlers handlers;
  handlers.is_quick = &RestService::is_quick;
  handlers.handle = [&service](const HttpRequest& request, const CallContext& context) {
    return service.handle(request, context);
  };
  handlers.fail = [&service, &core](int status, const std::string& message) {
    core.metrics.count_refusal("REST", reason_of(status));
    return service.fail(status, message);
  };
  handlers.access = options.access;
  HttpServer::Options http = options.http;
  http.waiting = &core.waiting;
  NACRE_ASSIGN_OR_RETURN(server->http_, HttpServer::start(http, std::move(handlers)));
  return server;
}

std::string access_line(const AccessRecord& record, AccessLog format) {
  const std::string time = now_text();
  std::string request;
  append_json(request, record.method + " " + record.target);
  if (format == AccessLog::kText) {
    return fmt::format("{} {} {} {} {} {} {}us", time, record.peer, request, record.status,
                       record.request_bytes, record.reply_bytes, record.latency.count());
  }
  std::string method;
  std::string target;
  append_json(method, record.method);
  append_json(target, record.target);
  return fmt::format(R"({{"time": "{}", "peer": "{}", "method": {}, "target": {}, "status": {}, )"
                     R"("request_bytes": {}, "reply_bytes": {}, "latency_us": {}}})",
                     time, record.peer, method, target, record.status, record.request_bytes,
                     record.reply_bytes, record.latency.count());
}

std::string message_json(std::string_view message) {
  std::string text;
  append_json(text, message);
  return fmt::format(R"({{"time": "{}", "message": {}}})", now_text(), text);
}

std::string dropped_access_lines(uint64_t count, AccessLog format) {
  if (format == AccessLog::kText) return fmt::format("{} {} lines dropped", now_text(), count);
  return fmt::format(R"({{"time": "{}", "dropped": {}}})", now_text(), count);
}

}  // namespace nacre
