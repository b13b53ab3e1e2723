#include "schemas/tensorflow/server_config.pb.h"
#include "serve/grpc/grpc_server.h"
#include "serve/text_proto.h"

namespace nacre {

Result<SslOptions> read_ssl_config(const std::string& path) {
  tensorflow::serving::SSLConfig config;
  NACRE_RETURN_IF_ERROR(read_text_proto(path, config));
  if (config.server_key().empty() || config.server_cert().empty())
    return Status(StatusCode::kBadData, path + ": expected server_key and server_cert");
  if (config.client_verify() && config.custom_ca().empty())
    return Status(StatusCode::kBadData,
                  path + ": client_verify needs custom_ca, which says whose certificates are good");
  return SslOptions{config.server_key(), config.server_cert(), config.custom_ca(), config.client_verify()};
}

}  // namespace nacre
